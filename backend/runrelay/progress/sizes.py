"""Sizes: what is left out of a run's snapshot, and in which order, so that it is never larger than its limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from .text import cut_text

__all__ = ["MAX_SNAPSHOT_BYTES", "cut_as_json", "fitted"]

MAX_SNAPSHOT_BYTES: Final = 512 * 1024
"""Limit of an `initial_state`, over every transport, and of a polled snapshot."""

_STEP_ERRORS_BYTES: Final = 64 * 1024
_STEP_ERROR_BYTES: Final = 200
"""Limits of all steps' errors together, and of what is kept of each in any case."""
_RESULT_BYTES: Final = 64 * 1024
_ERROR_BYTES: Final = 32 * 1024
_LABEL_BYTES: Final = 4 * 1024
_UNCUT: Final = frozenset(("type", "run_id", "id", "epoch", "result"))
"""Texts that are never cut. The first four identify the message, and are short: a run id has at most 200 characters. A
result is complete or left out, because a client would take a part of it for the whole."""
_COUNT_BYTES: Final = 32
"""Bytes that a count needs at most, where it was 0 or absent."""


def fitted(fields: Mapping[str, Any], limit_bytes: int = MAX_SNAPSHOT_BYTES) -> bytes:
    """`Snapshot.initial_state` or `Snapshot.polled` as JSON of at most `limit_bytes` (256 KiB or more).

    If it is too large, these parts are left out, one after the other until the rest fits:

    1. the steps' errors are cut to 64 KiB together, but to no less than 200 bytes each: they would leave no room for
    the
       log;
    2. the oldest log lines, counted in `logs_truncated`;
    3. the run's error is cut to 32 KiB, each other text to 4 KiB;
    4. a result of more than 64 KiB, which no publisher sends, becomes null, and `result_truncated` true; data of more
       than 64 KiB, which no commit writes, becomes null;
    5. the last steps, counted in `steps_truncated`.

    The rest has less than 128 KiB. Texts are measured as JSON, in which a character can have six bytes.
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
    """Return `text` cut to at most `limit_bytes` (200 or more) of JSON, with the marker that says so."""
    cut = text
    for share in (1, 2, 6):  # a byte of text takes at most six bytes of JSON, as `\\u0001`; most take one
        cut = cut_text(text, (limit_bytes - 2) // share)
        if len(orjson.dumps(cut)) <= limit_bytes:
            break
    return cut
