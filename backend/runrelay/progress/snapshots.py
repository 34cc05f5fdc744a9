"""Snapshots: what is known of a run at one position of its log, and how the relay says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from .cursors import START, Cursor
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
        """The step as clients see it: one still running when its run failed or was cancelled is cancelled."""
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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run as of `cursor`. Times are Unix milliseconds, Redis' clock. `result` is decoded JSON."""

    run_id: str
    cursor: Cursor = START
    state: str | None = None
    status: Status = "unknown"
    progress: float | None = None
    attempt: int = 1
    title: str | None = None
    pipeline: str | None = None
    steps: tuple[Step, ...] = ()
    steps_truncated: int = 0
    """Steps that are not in `steps`, because a run's log keeps so many only."""
    result: Any = None
    error: str | None = None
    created_at: int | None = None
    started_at: int | None = None
    updated_at: int | None = None
    finished_at: int | None = None
    fenced: int = 0
    """Events that were counted and not delivered: of an older attempt, or after the end."""
    logs: Sequence[LogLine] = field(default=(), repr=False)
    logs_truncated: int = 0
    """Lines of the log that are not in `logs`, because they do not fit."""
    stale: bool = False
    """What is here may be old: the log cannot be read, or is gone."""

    @property
    def exists(self) -> bool:
        """Whether anybody has heard of this run."""
        return self.cursor != START

    def summary(self) -> dict[str, Any]:
        """The run as the list shows it, of a long error its beginning: a page has 200 runs."""
        return {
            "run_id": self.run_id,
            "state": self.state,
            "progress": self.progress,
            "status": self.status,
            "attempt": self.attempt,
            "seq": self.cursor.seq,
            "id": str(self.cursor),
            "title": self.title,
            "pipeline": self.pipeline,
            "error": self.error and _beginning(self.error),
            "created_at": self.created_at,
            "started_at": self.started_at,
            "updated_at": self.updated_at,
            "finished_at": self.finished_at,
            "stale": self.stale,
        }

    def initial_state(self, *, recovered: bool) -> dict[str, Any]:
        """The frame that begins a join, or takes the place of what cannot be caught up event by event. See `fitted`."""
        return {
            "type": "initial_state",
            "run_id": self.run_id,
            "state": self.state,
            "progress": self.progress,
            "logs": [line.message for line in self.logs],
            "logs_truncated": self.logs_truncated,
            "recovered": recovered,
            **{key: value for key, value in self.summary().items() if key not in ("run_id", "state", "progress")},
            "error": self.error,
            **self._steps(),
            "result": self.result,
        }

    def polled(self) -> dict[str, Any]:
        """The run as the polling endpoint answers it. See `fitted`."""
        return {
            **self.summary(),
            "error": self.error,
            "epoch": self.cursor.epoch,
            "logs": [line.message for line in self.logs],
            "log_lines": [line.to_json() for line in self.logs],
            "logs_truncated": self.logs_truncated,
            **self._steps(),
            "result": self.result,
            "fenced": self.fenced,
        }

    def _steps(self) -> dict[str, Any]:
        steps: dict[str, Any] = {"steps": [step.to_json(self.status) for step in self.steps]}
        return {**steps, "steps_truncated": self.steps_truncated} if self.steps_truncated else steps
