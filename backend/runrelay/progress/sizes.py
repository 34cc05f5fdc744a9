"""Sizes: what of a run is left out, and in which order, so that a message about it is never larger than its limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from .text import cut_text

__all__ = ["MAX_SNAPSHOT_BYTES", "cut_as_json", "fitted"]

MAX_SNAPSHOT_BYTES: Final = 512 * 1024
"""Of an `initial_state`, in every transport's form, and of a polled snapshot."""

_STEP_ERRORS_BYTES: Final = 64 * 1024
_STEP_ERROR_BYTES: Final = 200
"""Of all steps' errors together, but at least so much of each."""
_RESULT_BYTES: Final = 64 * 1024
_ERROR_BYTES: Final = 32 * 1024
_LABEL_BYTES: Final = 4 * 1024
_UNCUT: Final = frozenset(("type", "run_id", "id", "epoch", "result"))
"""Without the first, nobody knows what a message is about; they are short, for a run id has at most 200 characters. A
result is whole or not there: who reads it takes it for what the run has made."""
_COUNT_BYTES: Final = 32
"""What a count that was 0, or not there, takes at most."""


def fitted(fields: Mapping[str, Any], limit_bytes: int = MAX_SNAPSHOT_BYTES) -> bytes:
    """`Snapshot.initial_state` or `Snapshot.polled` as JSON of at most `limit_bytes` (256 KiB or more).

    If it is too large, these go, one after the other until the rest fits:

    1. of the steps' errors what is more than 64 KiB together (but 200 bytes of each stay): they would leave no room
       for the log;
    2. the oldest log lines, counted in `logs_truncated`;
    3. of the run's error what is more than 32 KiB, and of each other text what is more than 4 KiB;
    4. a result of more than 64 KiB, which no publisher sends: it becomes null, and `result_truncated` true;
       data of more than that, which no commit writes, becomes null;
    5. the last steps, counted in `steps_truncated`.

    What is left after that is less than 128 KiB. Texts are measured as JSON, where a character can take six bytes.
    """
    body = orjson.dumps(fields)
    if len(body) <= limit_bytes:
        return body  # nearly always
    left = dict(fields)
    for leave_out in _IN_THIS_ORDER:
        leave_out(left, len(body) - limit_bytes)
        body = orjson.dumps(left)
        if len(body) <= limit_bytes:
            break
    return body


def _cut_step_errors(fields: dict[str, Any], over_bytes: int) -> None:
    del over_bytes
    steps = fields["steps"]
    failed = sum(step["error"] is not None for step in steps)
    if failed:
        most = max(_STEP_ERROR_BYTES, _STEP_ERRORS_BYTES // failed)
        fields["steps"] = [
            step if step["error"] is None else {**step, "error": cut_as_json(step["error"], most)} for step in steps
        ]


def _drop_oldest_lines(fields: dict[str, Any], over_bytes: int) -> None:
    lines, again = fields["logs"], fields.get("log_lines")
    over_bytes += _COUNT_BYTES
    dropped = 0
    while over_bytes > 0 and dropped < len(lines):
        over_bytes -= len(orjson.dumps(lines[dropped])) + 1
        if again is not None:
            over_bytes -= len(orjson.dumps(again[dropped])) + 1
        dropped += 1
    fields["logs"] = lines[dropped:]
    if again is not None:
        fields["log_lines"] = again[dropped:]
    fields["logs_truncated"] += dropped


def _cut_texts(fields: dict[str, Any], over_bytes: int) -> None:
    del over_bytes
    for name, value in fields.items():
        if isinstance(value, str) and name not in _UNCUT:
            fields[name] = cut_as_json(value, _ERROR_BYTES if name == "error" else _LABEL_BYTES)


def _drop_result(fields: dict[str, Any], over_bytes: int) -> None:
    del over_bytes
    if len(orjson.dumps(fields["result"])) > _RESULT_BYTES:
        fields |= {"result": None, "result_truncated": True}
    if len(orjson.dumps(fields["data"])) > _RESULT_BYTES:
        fields["data"] = None


def _drop_last_steps(fields: dict[str, Any], over_bytes: int) -> None:
    steps = fields["steps"]
    over_bytes += _COUNT_BYTES
    kept = len(steps)
    while over_bytes > 0 and kept:
        kept -= 1
        over_bytes -= len(orjson.dumps(steps[kept])) + 1
    fields["steps"] = steps[:kept]
    fields["steps_truncated"] = fields.get("steps_truncated", 0) + len(steps) - kept


_IN_THIS_ORDER: Final[tuple[Callable[[dict[str, Any], int], None], ...]] = (
    _cut_step_errors,
    _drop_oldest_lines,
    _cut_texts,
    _drop_result,
    _drop_last_steps,
)


def cut_as_json(text: str, limit_bytes: int) -> str:
    """Return `text` cut to at most `limit_bytes` (200 or more) of JSON, the marker that says so included."""
    cut = text
    for share in (1, 2, 6):  # a byte of text takes at most six, as `\\u0001`; most take one
        cut = cut_text(text, (limit_bytes - 2) // share)
        if len(orjson.dumps(cut)) <= limit_bytes:
            break
    return cut
