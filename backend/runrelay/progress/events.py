"""Events: what a producer says of a run, checked, before it is committed."""

from __future__ import annotations

import time
from typing import Any, Final, SupportsFloat

from .checks import (
    LEVELS,
    MAX_LOG_BYTES,
    MAX_STATE_CHARS,
    MAX_STEP_CHARS,
    check_level,
    check_log,
    check_progress,
)
from .fields import DEFAULTS, GIVEN, QUICK, Event
from .states import TERMINAL_STATES
from .text import check_label

__all__ = ["make_event"]

_new: Final[Any] = tuple.__new__
_REST: Final[Any] = tuple(DEFAULTS)[QUICK.stop :]
_CHECKS: Final = {name: (Event._fields.index(name), field.check) for name, field in GIVEN.items() if field.check}
"""Of each field that a publisher may give: its place in the event, and its check."""
_SHORT_CHARS: Final = MAX_LOG_BYTES // 4
_OF_AN_END: Final = ("result", "error")
_STATE: Final = Event._fields.index("state")


def make_event(
    state: str | None = None,
    progress: SupportsFloat | None = None,
    log: str | None = None,
    *,
    level: str = "info",
    step: str | None = None,
    ts_ms: int | None = None,
    **given: Any,
) -> Event:
    """Check what a caller gave and make an event of it. This decides what is legal, and is part of the hot path.

    Args:
        state: free text, 1 to 64 characters.
        progress: 0..1 with a tolerance of 1e-6; anything with `__float__` except bool.
        log: one line; over 16 KiB of UTF-8 it is cut, and its end says by how much.
        level: debug, info, warning or error.
        step: the step's name, 1 to 64 characters.
        ts_ms: the producer's clock in Unix milliseconds; now by default.
        given: further fields that the table lets a publisher give; None means that it is not given.

            - attempt: 1 to a thousand million
            - data: a JSON object, up to 4 KiB encoded and 100 levels deep
            - result: JSON, up to 64 KiB encoded and 100 levels deep; only with a terminal state, or of a step
            - error: text, cut over 64 KiB; only with a terminal state, or of a step

    Raises:
        TypeError, ValueError: an argument is wrong. The message has the value and the limit.
    """
    if progress is not None:
        progress = check_progress(progress)
    if state is not None:
        check_label("state", state, MAX_STATE_CHARS)
    if log is not None and (type(log) is not str or len(log) > _SHORT_CHARS or not log.isascii()):
        log = check_log(log)
    if level != "info" and level not in LEVELS:
        check_level(level)
    if step is not None:
        check_label("step", step, MAX_STEP_CHARS)
    if ts_ms is None:
        ts_ms = time.time_ns() // 1_000_000
    values: Any = (ts_ms, state, progress, log, level, step) + _REST  # noqa: RUF005 - takes a third of the time
    for name in given:
        if given[name] is not None:
            values = _with(values, given, step is not None or state in TERMINAL_STATES)
            break
    event: Event = _new(Event, values)
    return event


def _with(values: tuple[Any, ...], given: dict[str, Any], ends: bool) -> list[Any]:
    """An event's values with further fields, checked. `ends`: it may have a result and an error."""
    changed = list(values)
    for name, value in given.items():
        if value is None:
            continue
        if not ends and name in _OF_AN_END:
            of = ", ".join(TERMINAL_STATES)
            raise ValueError(f"{name} belongs to a terminal state ({of}), got state={values[_STATE]!r}")
        if name not in _CHECKS:
            raise TypeError(f"a publisher gives {', '.join(GIVEN)} of an event, got {name!r}")
        place, check = _CHECKS[name]
        changed[place] = check(value)
    return changed
