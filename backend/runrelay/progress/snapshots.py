"""Snapshots: a run at one position of its log, and the forms in which the relay sends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, NamedTuple

from .cursors import START, Cursor
from .fields import RUN_FIELDS, RunFields
from .sizes import cut_as_json
from .states import Status, is_ended

__all__ = ["LogLine", "Snapshot", "Step"]

_SUMMARY_ERROR_BYTES: Final = 2 * 1024


class LogLine(NamedTuple):
    """A line of a run's log; `ts_ms` is the producer's clock."""

    seq: int
    ts_ms: int
    level: str
    step: str | None
    message: str

    def to_json(self) -> dict[str, Any]:
        """The line as the polled snapshot shows it."""
        return {
            "seq": self.seq,
            "ts": self.ts_ms,
            "level": self.level,
            "step": self.step,
            "message": self.message,
        }


def _beginning(error: str) -> str:
    return error if len(error) * 6 < _SUMMARY_ERROR_BYTES else cut_as_json(error, _SUMMARY_ERROR_BYTES)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a run; times in Unix milliseconds, Redis' clock."""

    name: str
    status: Status = "queued"
    progress: float | None = None
    attempt: int = 1
    weight: float = 1.0
    started_at: int | None = None
    finished_at: int | None = None
    error: str | None = None

    def to_json(self, run_status: Status) -> dict[str, Any]:
        """The step as clients see it. One that still ran when its run failed or was cancelled is shown as cancelled."""
        status = self.status
        if is_ended(run_status) and run_status != "succeeded" and not is_ended(status) and status != "queued":
            status = "cancelled"
        return {
            "name": self.name,
            "status": status,
            "progress": self.progress,
            "attempt": self.attempt,
            "weight": self.weight,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "error": self.error,
        }


def _names(*summary: str, polled: bool = False) -> tuple[str, ...]:
    return tuple(name for name, kept in RUN_FIELDS.items() if kept.summary in summary and kept.polled is polled)


_SUMMARY: Final = _names("always")
_SUMMARY_BY_SETTING: Final = _names("by setting")
_NOT_IN_SUMMARY: Final = _names("by setting", "never")
_POLLED: Final = _names("by setting", "never", polled=True)
_summary_values: Final = attrgetter(*_SUMMARY)


@dataclass(frozen=True, slots=True)
class Snapshot(RunFields):
    """A run as of `cursor`: the fields of the table, its steps and the newest lines of its log. `result` and `data` are
    decoded JSON.
    """

    run_id: str
    cursor: Cursor = START
    steps: tuple[Step, ...] = ()
    steps_truncated: int = 0
    """Steps that are not in `steps`, because a run's log keeps only so many."""
    logs: Sequence[LogLine] = field(default=(), repr=False)
    logs_truncated: int = 0
    """Lines of the run before those in `logs`: the first of them has the number `logs_truncated + 1`."""
    logs_trimmed: int = 0
    """How many of these are no longer kept."""
    stale: bool = False
    """The snapshot may be old: the log cannot be read, or is gone."""

    @property
    def exists(self) -> bool:
        """Whether the run has a log: something was committed, and it has not expired."""
        return self.cursor != START

    def summary(self) -> dict[str, Any]:
        """The run as the list shows it. Of a long error only the beginning, because a page has 200 runs. Fields that
        are listed by a setting are there if they were read.
        """
        fields = {
            "run_id": self.run_id,
            **dict(zip(_SUMMARY, _summary_values(self), strict=True)),
            "seq": self.cursor.seq,
            "id": str(self.cursor),
            "stale": self.stale,
        }
        if self.error:
            fields["error"] = _beginning(self.error)
        for name in _SUMMARY_BY_SETTING:
            if (value := getattr(self, name)) is not None:
                fields[name] = value
        return fields

    def initial_state(self, *, recovered: bool) -> dict[str, Any]:
        """The frame that begins a subscription, or replaces events that cannot be sent one by one. See `fitted`."""
        return {
            "type": "initial_state",
            "run_id": self.run_id,
            "state": self.state,
            "progress": self.progress,
            "logs": [line.message for line in self.logs],
            "logs_truncated": self.logs_truncated,
            "recovered": recovered,
            **self._whole(),
        }

    def polled(self) -> dict[str, Any]:
        """The run as the polling endpoint answers it. See `fitted`."""
        return {
            **self._whole(),
            "epoch": self.cursor.epoch,
            "logs": [line.message for line in self.logs],
            "log_lines": [line.to_json() for line in self.logs],
            "logs_truncated": self.logs_truncated,
            **{name: getattr(self, name) for name in _POLLED},
        }

    def _whole(self) -> dict[str, Any]:
        """The summary's fields and those that are too large for a list."""
        fields = {**self.summary(), "error": self.error, "steps": [step.to_json(self.status) for step in self.steps]}
        for name in ("steps_truncated", "logs_trimmed"):  # there only if there are some
            if count := getattr(self, name):
                fields[name] = count
        for name in _NOT_IN_SUMMARY:
            fields[name] = getattr(self, name)
        return fields
