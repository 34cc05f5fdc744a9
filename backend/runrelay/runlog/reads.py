"""A read as Redis answers it: the reply to a view of the run. Pure; the two clients share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ..progress import Cursor, LogLine, Snapshot, Step
from ..progress.cursors import START
from .keys import Keys

__all__ = ["LOG_BYTES", "SUMMARY_FIELDS", "View", "parse_position", "parse_summary", "parse_view", "read_args"]

LOG_BYTES = 256 * 1024
"""How much of the log a snapshot holds at most: the newest."""

SUMMARY_FIELDS = (
    "epoch", "seq", "state", "status", "progress", "attempt", "title", "pipeline", "error",
    "created_at", "started_at", "updated_at", "finished_at", "heartbeat_at",
)  # fmt: skip
"""Fields of the hash that a list of runs needs."""


@dataclass(frozen=True, slots=True)
class View:
    """A run as of one moment: the snapshot, and the messages after the cursor that was asked for.

    `events` is None if none were asked for, or if they are not all there (or too many): then only the
    snapshot is whole.
    """

    snapshot: Snapshot
    events: Sequence[bytes] | None
    seal_key: bytes = b""
    """Verifies the seal of this log's messages: see seals.py."""
    input: bytes | None = None
    """What the run was asked to do, as JSON."""


def read_args(
    keys: Keys,
    run_id: str,
    after: Cursor | None,
    *,
    event_bytes: int,
    log_lines: int,
    log_bytes: int = LOG_BYTES,
) -> list[str | int]:
    """The read script's keys (three) and arguments."""
    epoch, seq = ("", 0) if after is None else (after.epoch, after.seq)
    return [*keys.run(run_id), epoch, seq, event_bytes, log_lines, log_bytes]


def parse_view(run_id: str, reply: Any) -> View:
    """Read the script's reply. A run that nobody has heard of gives a snapshot that does not `exist`."""
    flat, events, lines, length = reply
    fields = {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}
    if not fields:
        return View(Snapshot(run_id), None)
    logs = [_log_line(line) for line in reversed(lines)]
    steps = sorted(
        (orjson.loads(raw) for name, raw in fields.items() if name.startswith("s:")),
        key=lambda step: int(step["i"]),
    )
    return View(
        _snapshot(
            run_id,
            fields,
            steps=tuple(_step(step) for step in steps),
            result=orjson.loads(fields["result"]) if "result" in fields else None,
            fenced=int(fields.get("fenced", 0)),
            logs=logs,
            logs_truncated=length - len(lines),
        ),
        None if events is None else [bytes(event) for event in events],
        fields["seal_key"],
        fields.get("input"),
    )


def parse_position(epoch: bytes | None, seq: bytes | None) -> Cursor | None:
    """Read these two fields of a run's hash; None if it is gone or, as far as they tell, no run."""
    try:
        return None if epoch is None or seq is None else Cursor(epoch.decode(), int(seq))
    except ValueError:
        return None


def parse_summary(run_id: str, values: Sequence[bytes | None]) -> tuple[Snapshot | None, int | None]:
    """Read `SUMMARY_FIELDS` of a run's hash: the snapshot, and the time of the last heartbeat (Unix ms).

    None if it is gone, or no run: these are read by what looks after all runs, which must not end at one that
    somebody else has set.
    """
    fields = {name: value for name, value in zip(SUMMARY_FIELDS, values, strict=True) if value is not None}
    if "epoch" not in fields:
        return None, None
    try:
        beat = fields.get("heartbeat_at")
        return _snapshot(run_id, fields), None if beat is None else int(beat)
    except (KeyError, ValueError):
        return None, None


def _snapshot(run_id: str, fields: dict[str, bytes], **more: Any) -> Snapshot:
    def text(name: str) -> str | None:
        raw = fields.get(name)
        return None if raw is None else raw.decode()

    def whole(name: str) -> int | None:
        raw = fields.get(name)
        return None if raw is None else int(raw)

    return Snapshot(
        run_id,
        Cursor(fields["epoch"].decode(), int(fields["seq"])) if "epoch" in fields else START,
        state=text("state"),
        status=fields["status"].decode(),  # type: ignore[arg-type]  # what the script writes
        progress=float(fields["progress"]) if fields.get("progress") else None,
        attempt=int(fields["attempt"]),
        title=text("title"),
        pipeline=text("pipeline"),
        error=text("error"),
        created_at=whole("created_at"),
        started_at=whole("started_at"),
        updated_at=whole("updated_at"),
        finished_at=whole("finished_at"),
        **more,
    )


def _log_line(raw: bytes) -> LogLine:
    seq, ts_ms, level, step, message = raw.decode().split("\t", 4)
    return LogLine(int(seq), int(ts_ms), level, step or None, message)


def _step(fields: dict[str, Any]) -> Step:
    return Step(
        fields["name"],
        fields["status"],
        fields.get("progress"),
        int(fields["attempt"]),
        fields["weight"],
        fields.get("started_at"),
        fields.get("finished_at"),
        fields.get("error"),
    )
