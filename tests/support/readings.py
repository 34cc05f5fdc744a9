"""What an honest client knows of a run, held against the contract frame by frame.

The runs that are watched are told in numbered lines, `<generation> <number>…` (numbered_lines.py). A generation is one
life of a publisher. So a lost, doubled or overtaken line shows by itself, whatever the cursors say.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from runrelay.progress import is_ended
from tests.support.clients import Story

__all__ = ["Ledger", "Reading", "Wrong", "code_of", "holes_in"]

_GENERATION = 10_000_000
_LOG_LINES = 1_000
"""A snapshot has no more than so many."""


def code_of(line: str) -> int:
    """A numbered line as one number that grows from line to line."""
    generation, number = line.split(" ", 2)[:2]
    return int(generation) * _GENERATION + int(number)


def holes_in(codes: Iterable[int]) -> list[str]:
    """Where lines are missing, doubled or out of order. A new generation begins at 0, wherever the last one ended."""
    return [
        f"{b // _GENERATION}:{b % _GENERATION} came after {a // _GENERATION}:{a % _GENERATION}"
        for a, b in pairwise(codes)
        if b != a + 1 and not (b // _GENERATION > a // _GENERATION and b % _GENERATION == 0)
    ]


class Wrong(AssertionError):
    """What a client was told may not be. `kind`: lost, double, order or other."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind


class Ledger:
    """What was told under each cursor of each run, to whomever: one cursor has one content, for ever."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, tuple[Any, ...]]] = {}
        self.checked = 0

    def note(self, frame: dict[str, Any]) -> None:
        """Take a progress frame; AssertionError if its cursor had another content before."""
        self.checked += 1
        content = frame["message"], frame["state"], frame["progress"], frame["ts"]
        before = self._told.setdefault(frame["run_id"], {}).setdefault(frame["id"], content)
        assert before == content, f"{frame['run_id']} {frame['id']} was {before} and is now {content}"

    def forget(self, run_id: str) -> None:
        """Nobody watches the run any more."""
        self._told.pop(run_id, None)


class Reading(Story):
    """One client's picture of one run, across all of its connections.

    `lines` are the codes of the lines that the client shows. lossy: Redis loses data in this test, so a new
    initial_state may take back what was shown; without it, that is an error, and so is any hole.
    """

    def __init__(self, run_id: str, ledger: Ledger, *, lossy: bool = False) -> None:
        super().__init__()
        self.run_id = run_id
        self.lines: list[int] = []
        self.missed: list[tuple[int, int]] = []
        """Between which lines it was shown none: a snapshot holds the newest only."""
        self.unrecovered = 0
        self.stale = 0
        self.ended = False
        self.closed = False
        """The relay has said that nothing more comes."""
        self._ledger = ledger
        self._lossy = lossy

    def add(self, frame: dict[str, Any]) -> None:
        """Take the next frame; AssertionError if it may not follow, or shows a line too few, twice or out of order."""
        before = self.position
        try:
            super().add(frame)
        except AssertionError as error:
            raise Wrong(_kind_of(before, frame), f"{self.run_id}: {error}") from error
        del self.frames[:-1], self.seqs[:-1]
        kind = frame["type"]
        if kind == "initial_state":
            self.unrecovered += not frame["recovered"]
            logs = [code_of(line) for line in frame["logs"]]
            self._replace(logs, bool(frame["logs_truncated"]) or len(logs) >= _LOG_LINES)
        elif kind == "progress":
            self._ledger.note(frame)
            if frame["message"]:
                self._append(code_of(frame["message"]))
        elif kind == "stale":
            self.stale += 1
        if "status" in frame:
            self.ended = is_ended(frame["status"])

    def _append(self, code: int) -> None:
        if self.lines:
            self._check([self.lines[-1], code])
        self.lines.append(code)

    def _replace(self, logs: list[int], truncated: bool) -> None:
        self._check(logs)
        before = self.lines
        if truncated and logs:
            if not before or before[-1] < logs[0] - 1:
                self.missed.append((before[-1] if before else -1, logs[0]))
            logs = [code for code in before if code < logs[0]] + logs
        if not self._lossy and logs[: len(before)] != before:
            raise Wrong("lost", f"{self.run_id}: shown lines are gone: {_lost(before, logs)}")
        self.lines = logs

    def _check(self, codes: list[int]) -> None:
        if self._lossy:
            codes = [code for code, after in pairwise(codes) if after <= code]
            if codes:
                raise Wrong("order", f"{self.run_id}: doubled or out of order after {codes[:3]}")
        elif holes := holes_in(codes):
            a, b = next((a, b) for a, b in pairwise(codes) if holes_in([a, b]))
            raise Wrong("lost" if b > a else "double" if a == b else "order", f"{self.run_id}: {holes[:3]}")

    def differs_from(self, truth: list[int]) -> str:
        """How the client's lines differ from the log's at the end; empty if they do not."""
        mine = self.lines
        for last, first in self.missed:
            truth = [code for code in truth if not last < code < first]
        if mine == truth:
            return ""
        lost, made_up = _lost(truth, mine), _lost(mine, truth)
        return f"{self.run_id}: {len(mine)} lines of {len(truth)}; lost {lost}, made up {made_up}"


def _kind_of(before: str | None, frame: dict[str, Any]) -> str:
    if frame["type"] != "progress" or before is None:
        return "other"
    epoch, _, seq = before.partition("-")
    if frame["id"].partition("-")[0] != epoch:
        return "other"
    return "lost" if frame["seq"] > int(seq) + 1 else "double"


def _lost(whole: list[int], part: list[int]) -> list[int]:
    return sorted(set(whole) - set(part))[:10]
