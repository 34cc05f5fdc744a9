"""Events: what a producer says of a run, checked, before it is committed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, SupportsFloat

import orjson

from .depth import MAX_DEPTH, check_depth
from .states import TERMINAL_STATES, Level
from .text import check_label, check_text, cut_text

__all__ = [
    "MAX_ATTEMPT",
    "MAX_DATA_BYTES",
    "MAX_ERROR_BYTES",
    "MAX_LOG_BYTES",
    "MAX_RESULT_BYTES",
    "MAX_STATE_CHARS",
    "MAX_STEPS",
    "MAX_STEP_CHARS",
    "MAX_STEP_ERROR_BYTES",
    "Event",
    "Kind",
    "StepSpec",
    "check_attempt",
    "check_progress",
    "encode_json",
    "make_event",
    "step_specs",
]

MAX_ATTEMPT: Final = 1_000_000_000
"""Lua counts in doubles, and Redis writes those beyond 64 bits as `1.8e+19`: a run of such an attempt could not be read
again."""
MAX_STATE_CHARS: Final = 64
MAX_STEP_CHARS: Final = 64
MAX_STEPS: Final = 1000
"""Steps that a run's log keeps (commit.lua has the same number): each read of the run reads them all."""
MAX_STEP_ERROR_BYTES: Final = 4 * 1024
"""What the run's log keeps of a step's error. The event that tells it has the whole of it."""
MAX_LOG_BYTES: Final = 16 * 1024
MAX_ERROR_BYTES: Final = 64 * 1024
MAX_DATA_BYTES: Final = 4 * 1024
MAX_RESULT_BYTES: Final = 64 * 1024
PROGRESS_TOLERANCE: Final = 1e-6
_LEVELS: Final = frozenset(("debug", "info", "warning", "error"))

Kind = Literal["event", "queue", "unsent", "start", "step_start", "retrying", "stalled", "finish"]
"""What an event does beside carrying its fields.

event:      nothing more
queue:      the run (or a new attempt of it) waits for a worker
unsent:     the work of a queued attempt could not be sent; should it come to a worker all the same, it does not begin
start:      a single-task run begins; the commit allocates its attempt
step_start: a member of a canvas begins; the commit allocates the step's attempt
retrying:   the task failed and will be tried again
stalled:    the worker is gone; only if its heartbeat is older than `stale_before_ms`
finish:     the run ends, but only if every one of its steps has succeeded
"""


class StepSpec(NamedTuple):
    """A step as declared: its name (1 to 64 characters) and its share of the whole (any positive unit)."""

    name: str
    weight: float = 1.0


class Event(NamedTuple):
    """One event of one run, as its producer sees it. A tuple, because the worker's call makes one each time.

    `ts_ms` is the producer's clock (Unix milliseconds). `data` and `result` are encoded JSON. `attempt` and
    `step_attempt` are fences: an event of an older one is counted and not delivered. The fields from `title`
    on are control fields, seldom set.
    """

    ts_ms: int
    state: str | None = None
    progress: float | None = None
    log: str | None = None
    level: Level = "info"
    step: str | None = None
    data: bytes | None = None
    result: bytes | None = None
    error: str | None = None
    attempt: int | None = None
    step_attempt: int | None = None
    kind: Kind = "event"
    title: str | None = None
    pipeline: str | None = None
    steps: tuple[StepSpec, ...] | None = None
    precondition: Literal["absent", "ended", "unfinished", "unbegun"] | None = None
    """Refuse the commit unless the run is so."""
    base_attempt: int | None = None
    """Of a start: the attempt that its task was sent for. One that a retry has replaced is fenced."""
    reopen: bool = False
    """Of a start: begin a new attempt even after END (a program run again by hand, not a redelivery)."""
    only_if_not_superseded: bool = False
    """Of a start that another process tells, because its own died before: fenced if something has begun since."""
    stale_before_ms: int | None = None
    """Of a stalled: only if the worker's last heartbeat is older (Unix ms, Redis' clock)."""
    input: bytes | None = None
    """Of a queue: what the run was asked to do, as JSON; kept so that it can be asked for again."""
    more_steps: int | None = None
    """Beside `steps`: how many more there are, which are not kept, each of weight 1. `finish` waits for them too."""
    more_step: int | None = None
    """Of an event with `step`: which one it is of those beyond, from 1."""

    @property
    def is_progress_only(self) -> bool:
        """Whether a later one of the same run, step, attempt and state may take this one's place."""
        return (
            self.progress is not None
            and self.log is None
            and self.kind == "event"
            and self.data is None
            and self.result is None
            and self.error is None
            and self.title is None
            and self.pipeline is None
            and self.steps is None
            and self.precondition is None
            and self.state not in TERMINAL_STATES
        )


def make_event(
    state: str | None = None,
    progress: SupportsFloat | None = None,
    log: str | None = None,
    *,
    level: str = "info",
    step: str | None = None,
    data: Mapping[str, Any] | None = None,
    result: Any = None,
    error: str | None = None,
    attempt: int | None = None,
    ts_ms: int | None = None,
) -> Event:
    """Check what a caller gave and make an event of it: the part of the hot path that decides what is legal.

    Args:
        state: free text, 1 to 64 characters.
        progress: 0..1 with a tolerance of 1e-6; anything with `__float__` except bool.
        log: one line; over 16 KiB of UTF-8 it is cut and says how much is missing.
        level: debug, info, warning or error.
        step: the step's name, 1 to 64 characters.
        data: a JSON object, up to 4 KiB encoded and 100 levels deep.
        result: JSON up to 64 KiB encoded and 100 levels deep; only with a terminal state, or of a step.
        error: text; only with a terminal state, or of a step. Over 64 KiB it is cut.
        attempt: 1, 2, …, up to a thousand million.
        ts_ms: the producer's clock in Unix milliseconds; now by default.

    Raises:
        TypeError, ValueError: an argument is wrong; the message has the value and the limit.
    """
    if progress is not None:
        progress = check_progress(progress)
    if state is not None:
        check_label("state", state, MAX_STATE_CHARS)
    if log is not None:
        if type(log) is not str:
            log = check_text("log", log)
        if len(log) * 4 > MAX_LOG_BYTES or not log.isascii():
            log = cut_text(log, MAX_LOG_BYTES)
    if level != "info" and level not in _LEVELS:
        raise ValueError(f"level must be debug, info, warning or error, got {level!r}")
    if step is not None:
        check_label("step", step, MAX_STEP_CHARS)
    encoded_data = None
    if data is not None:
        if not isinstance(data, Mapping):
            raise TypeError(f"data must be a JSON object, got {type(data).__name__}")
        encoded_data = encode_json("data", dict(data), MAX_DATA_BYTES)
    encoded_result = None
    if result is not None or error is not None:
        if step is None and state not in TERMINAL_STATES:
            name = "error" if result is None else "result"
            raise ValueError(f"{name} belongs to a terminal state ({', '.join(TERMINAL_STATES)}), got state={state!r}")
        if result is not None:
            encoded_result = encode_json("result", result, MAX_RESULT_BYTES)
        if error is not None:
            error = cut_text(check_text("error", error), MAX_ERROR_BYTES)
    if attempt is not None:
        check_attempt(attempt)
    return Event(
        time.time_ns() // 1_000_000 if ts_ms is None else ts_ms,
        state,
        progress,
        log,
        level,  # type: ignore[arg-type]  # checked above
        step,
        encoded_data,
        encoded_result,
        error,
        attempt,
    )


def check_attempt(attempt: Any) -> int:
    """The number of an attempt.

    Raises:
        TypeError, ValueError: it is no int, or out of 1 to MAX_ATTEMPT.
    """
    if type(attempt) is not int:
        raise TypeError(f"attempt must be an int, got {type(attempt).__name__}")
    if attempt < 1:
        raise ValueError(f"attempt must be 1 or more, got {attempt}")
    if attempt > MAX_ATTEMPT:
        raise ValueError(f"attempt must be at most {MAX_ATTEMPT}, got {attempt}")
    return attempt


def check_progress(value: SupportsFloat) -> float:
    """Return `value` as a float within 0..1 (a tolerance of 1e-6 is cut off)."""
    if type(value) is not float:
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            raise TypeError(f"progress must be a number within 0..1, got {type(value).__name__}")
        try:
            value = float(value)
        except OverflowError:
            raise ValueError("progress must be within 0..1, got more than a float can hold") from None
    if 0.0 <= value <= 1.0:
        return value or 0.0  # not -0.0
    if -PROGRESS_TOLERANCE <= value <= 1.0 + PROGRESS_TOLERANCE:
        return min(1.0, max(0.0, value))
    raise ValueError(f"progress must be within 0..1, got {value!r}")


def encode_json(name: str, value: Any, limit_bytes: int) -> bytes:
    """Encode `value` as JSON of at most `limit_bytes` and MAX_DEPTH levels."""
    try:
        raw = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    except (TypeError, ValueError) as error:
        if "ecursion" in str(error):  # orjson's own limit: 254 levels
            raise ValueError(f"{name} must be at most {MAX_DEPTH} levels deep, got 255 or more, or a circle") from error
        raise TypeError(f"{name} must be JSON: {error}") from error
    if len(raw) > limit_bytes:
        raise ValueError(f"{name} must be at most {limit_bytes} bytes of JSON, got {len(raw)}")
    check_depth(name, raw)
    return raw


def step_specs(steps: Mapping[str, float] | Sequence[str]) -> tuple[StepSpec, ...]:
    """Steps as declared by a caller: names with weights, or names alone (equal weights).

    Raises:
        TypeError, ValueError: a name or a weight is wrong, a name comes twice, or there are more than MAX_STEPS.
    """
    pairs = list(steps.items()) if isinstance(steps, Mapping) else [(name, 1.0) for name in steps]
    if len(pairs) > MAX_STEPS:
        raise ValueError(f"a run has at most {MAX_STEPS} steps, got {len(pairs):,}")
    specs = []
    for name, weight in pairs:
        check_label("step", name, MAX_STEP_CHARS)
        if isinstance(weight, bool) or not 0.0 < float(weight) < 1e9:
            raise ValueError(f"the weight of step {name!r} must be positive and finite, got {weight!r}")
        specs.append(StepSpec(name, float(weight)))
    if len({spec.name for spec in specs}) != len(specs):
        raise ValueError(f"steps must have different names, got {[spec.name for spec in specs]}")
    return tuple(specs)
