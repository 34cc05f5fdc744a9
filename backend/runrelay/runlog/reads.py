"""A read: the script's arguments, and its reply to a view of the run. Pure; both clients use it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ..errors import NotARun
from ..progress import START, STATUSES, Cursor, LogLine, Snapshot, Status, Step, check_run_id, parse_cursor
from ..progress.depth import shallow
from ..progress.fields import RUN_FIELDS, FieldType
from .keys import Keys

__all__ = [
    "LISTED_BY_SETTING", "LOG_BYTES", "LOG_LINES", "SUMMARY_FIELDS", "LogPage", "RunView", "names", "page_args",
    "parse_page", "parse_position", "parse_status", "parse_summary", "parse_view", "read_args", "run_ids",
]  # fmt: skip

MAX_WHOLE: Final = (1 << 53) - 1
"""The largest integer that a double holds exactly, and so Lua and a browser."""
LOG_LINES: Final = 1000
LOG_BYTES = 256 * 1024
"""Log lines, and their bytes, that a snapshot has at most: the newest lines."""

SUMMARY_FIELDS: Final = (
    "epoch",
    "seq",
    *(name for name, kept in RUN_FIELDS.items() if kept.summary == "always"),
    "heartbeat_at",
)
"""Fields of the hash that a list of runs needs."""
LISTED_BY_SETTING: Final = tuple(name for name, kept in RUN_FIELDS.items() if kept.summary == "by setting")
"""Fields of the hash that a list of runs shows if a setting says so."""

_SCRIPT_FIELDS: Final = ("epoch", "seq", "steps", "step_names", "lines_trimmed")
"""Fields of the hash whose values read.lua answers first. It reads them by itself, because it needs them."""
_FIELDS: Final = (*RUN_FIELDS, "seal_key", "input")
"""Fields of the hash that read.lua is asked for, in the order in which it answers their values."""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as of one moment: the snapshot, and the messages after the cursor that was asked for.

    `events` is None if none were asked for, or if some of them are gone or they are too many. Then only the snapshot is
    complete.
    """

    snapshot: Snapshot
    events: Sequence[bytes] | None
    seal_key: bytes = b""
    """The key of the MAC of this log's messages: see mac.py."""
    input: bytes | None = None
    """The input of the run's pipeline, as JSON."""


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
    return [*keys.run(run_id), epoch, seq, event_bytes, log_lines, log_bytes, *_FIELDS]


def parse_view(run_id: str, reply: Any) -> RunView:
    """Read the script's reply. An unknown run gives a snapshot that does not `exist`.

    Raises:
        NotARun: the key is not a run's, or something in it is damaged.
    """
    try:
        return _view(run_id, *reply)
    except Exception as error:  # the hash may hold anything, so any error may come
        raise NotARun(run_id, f"{type(error).__name__}: {error}") from error


def _view(
    run_id: str,
    values: list[bytes | None],
    events: list[bytes] | None,
    lines: list[bytes],
    kept: int,
    steps: list[bytes],
    trimmed: bytes | None,
) -> RunView:
    if not values:
        return RunView(Snapshot(run_id), None)
    fields = {name: value for name, value in zip((*_SCRIPT_FIELDS, *_FIELDS), values, strict=True) if value is not None}
    logs = [line for line in map(_log_line, reversed(lines)) if line is not None]
    before = _count(trimmed)
    in_order = sorted(map(orjson.loads, steps), key=lambda step: int(step["i"]))
    return RunView(
        _snapshot(
            run_id,
            fields,
            steps=tuple(map(_step, in_order)),
            steps_truncated=_steps_left_out(fields.get("steps")),
            logs=logs,
            logs_truncated=before + kept - len(logs),
            logs_trimmed=before,
        ),
        None if events is None else [bytes(event) for event in events],
        fields["seal_key"],
        fields.get("input"),
    )


@dataclass(frozen=True, slots=True)
class LogPage:
    """Consecutive lines of a run's log."""

    first: int
    """The number of the first of `lines` in its run, from 1; where it would be if there are no lines."""
    lines: Sequence[LogLine]
    trimmed: int
    """How many lines are no longer kept: line `trimmed + 1` is the oldest."""
    total: int
    """How many lines the run has logged."""


def page_args(keys: Keys, run_id: str, before: int | None, lines: int) -> list[str | int]:
    """The log page script's keys (two) and arguments: the `lines` lines before number `before`, or the newest."""
    hash_key, _, log_key = keys.run(run_id)
    return [hash_key, log_key, "" if before is None else before, lines, LOG_BYTES]


def parse_page(run_id: str, reply: Any) -> LogPage | None:
    """Read the log page script's reply. None: there is no such run.

    Raises:
        NotARun: the key is not a run's, or something in it is damaged.
    """
    try:
        if reply is None:
            return None
        trimmed, kept, first, raw = reply
        before = _count(trimmed)
        lines = [_log_line(line) or LogLine(0, 0, "info", None, "") for line in raw]  # each keeps its number
        return LogPage(before + first + 1, lines, before, before + kept)
    except Exception as error:  # other clients of Redis can write anything
        raise NotARun(run_id, f"{type(error).__name__}: {error}") from error


def names(raw: Iterable[bytes]) -> list[str]:
    """Names as text. Those that are not UTF-8 are left out: no run has such a name."""
    found = []
    for name in raw:
        with suppress(UnicodeDecodeError):
            found.append(name.decode())
    return found


def run_ids(raw: Iterable[bytes]) -> list[str]:
    """The names that can be run ids."""
    found = []
    for name in names(raw):
        with suppress(ValueError):
            found.append(check_run_id(name))
    return found


def parse_status(run_id: str, raw: bytes) -> Status:
    """Read a status as a script answers it.

    Raises:
        NotARun: it is not a status.
    """
    try:
        return _status(raw.decode())
    except ValueError as error:
        raise NotARun(run_id, error) from error


def parse_position(epoch: bytes | None, seq: bytes | None) -> Cursor | None:
    """Read these two fields of a run's hash. None if the run is gone, or the fields are not a run's."""
    try:
        return None if epoch is None or seq is None else _cursor(epoch, seq)
    except ValueError:
        return None


def parse_summary(
    run_id: str, values: Sequence[bytes | None], names: Sequence[str] = SUMMARY_FIELDS
) -> tuple[Snapshot | None, int | None]:
    """Read these fields of a run's hash: the snapshot, and the time of the last heartbeat (Unix ms).

    None if it is gone, or is not a run. No error is raised, because callers read many runs: one damaged key must not
    stop them.
    """
    fields = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    if "epoch" not in fields:
        return None, None
    try:
        beat = fields.get("heartbeat_at")
        return _snapshot(run_id, fields), None if beat is None else _whole(beat)
    except (KeyError, ValueError):
        return None, None


def _snapshot(run_id: str, fields: dict[str, bytes], **more: Any) -> Snapshot:
    if not {"status", "attempt"} <= fields.keys():
        raise KeyError("status, attempt")
    for name, kept in RUN_FIELDS.items():
        if name in fields:
            more[name] = _READERS[kept.type](fields[name])
    return Snapshot(run_id, _cursor(fields["epoch"], fields["seq"]), **more)


def _log_line(raw: bytes) -> LogLine | None:
    """A line of the log; None for a value that no commit has pushed."""
    try:
        seq, ts_ms, level, step, message = raw.decode().split("\t", 4)
        return LogLine(_whole(seq), _whole(ts_ms), level, step or None, message)
    except ValueError:
        return None


def _count(raw: bytes | None) -> int:
    count = 0 if raw is None else _whole(raw)
    if count < 0:
        raise ValueError(f"a count is not negative, got {count}")
    return count


def _steps_left_out(raw: bytes | None) -> int:
    sums: dict[str, Any] = {} if raw is None else orjson.loads(raw)
    return _whole(sums.get("more", 0)) + _whole(sums.get("dropped", 0))


def _step(fields: dict[str, Any]) -> Step:
    progress, started_at, finished_at = (fields.get(name) for name in ("progress", "started_at", "finished_at"))
    return Step(
        _text(fields["name"]),
        _status(fields["status"]),
        None if progress is None else _share(float(progress)),
        _whole(fields["attempt"]),
        float(fields["weight"]),
        None if started_at is None else _whole(started_at),
        None if finished_at is None else _whole(finished_at),
        None if fields.get("error") is None else _text(fields["error"]),
    )


# Other clients of Redis can write anything. These checks let only values through that can be shown as JSON.


def _whole(raw: bytes | str | float) -> int:
    number = int(raw)
    if abs(number) > MAX_WHOLE:
        raise ValueError(f"a whole number is within ±{MAX_WHOLE}, got one of {len(str(number))} digits")
    return number


def _share(number: float) -> float:
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"progress is within 0..1, got {number}")
    return number


def _share_or_none(raw: bytes) -> float | None:
    return _share(float(raw)) if raw else None


def _json(raw: bytes) -> Any:
    return shallow(orjson.loads(raw))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is a str, got {type(value).__name__}")
    return value


def _status(text: str) -> Status:
    for status in STATUSES:
        if status == text:
            return status
    raise ValueError(f"a status is one of {', '.join(STATUSES)}, got {str(text)[:80]!r}")


def _cursor(epoch: bytes, seq: bytes) -> Cursor:
    cursor = parse_cursor(f"{epoch.decode()}-{seq.decode()}")
    if cursor == START:
        raise ValueError("a log that has begun has a name")
    return cursor


_READERS: Final[dict[FieldType, Callable[[bytes], Any]]] = {
    "text": bytes.decode,
    "number": _share_or_none,
    "whole": _whole,
    "status": lambda raw: _status(raw.decode()),
    "json": _json,
    "object": _json,
}
"""How a field of a run's hash is read, by its type in the table."""
