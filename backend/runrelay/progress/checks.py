"""Checks of what a caller gives for the fields of an event, and their limits. The table in fields.py names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, SupportsFloat, get_args

import orjson

from .depth import MAX_DEPTH, check_depth
from .states import Level
from .text import check_label, check_text, cut_text

__all__ = [
    "LEVELS",
    "MAX_ATTEMPT",
    "MAX_DATA_BYTES",
    "MAX_ERROR_BYTES",
    "MAX_LOG_BYTES",
    "MAX_RESULT_BYTES",
    "MAX_STATE_CHARS",
    "MAX_STEPS",
    "MAX_STEP_CHARS",
    "MAX_STEP_ERROR_BYTES",
    "PROGRESS_TOLERANCE",
    "StepSpec",
    "check_attempt",
    "check_data",
    "check_error",
    "check_level",
    "check_log",
    "check_progress",
    "check_result",
    "check_state",
    "check_step",
    "encode_json",
    "step_specs",
]

MAX_ATTEMPT: Final = 1_000_000_000
"""Lua computes in doubles, and Redis writes those beyond 64 bits as `1.8e+19`. A run with such an attempt could not be
read again."""
MAX_STATE_CHARS: Final = 64
MAX_STEP_CHARS: Final = 64
MAX_STEPS: Final = 1000
"""Steps that a run's log keeps (read_run.lua has the same number). Each read of the run reads all of them."""
MAX_STEP_ERROR_BYTES: Final = 4 * 1024
"""What the run's log keeps of a step's error. The step's event carries up to MAX_ERROR_BYTES."""
MAX_LOG_BYTES: Final = 16 * 1024
MAX_ERROR_BYTES: Final = 64 * 1024
MAX_DATA_BYTES: Final = 4 * 1024
"""Of one event's `data`, and of the run's, which all of them are merged into (data.lua has the same number)."""
MAX_RESULT_BYTES: Final = 64 * 1024
PROGRESS_TOLERANCE: Final = 1e-6
LEVELS: Final = frozenset(get_args(Level))


class StepSpec(NamedTuple):
    """A step as declared: its name (1 to 64 characters) and its share of the whole (any positive unit)."""

    name: str
    weight: float = 1.0


def check_progress(value: SupportsFloat) -> float:
    """Return `value` as a float within 0..1; what is outside by at most 1e-6 is set to 0 or 1.

    Raises:
        TypeError: it is a bool, or has no `__float__`.
        ValueError: it is outside, or NaN.
    """
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


def check_state(state: object) -> str:
    """Return a state: free text of 1 to 64 characters without control characters."""
    return check_label("state", state, MAX_STATE_CHARS)


def check_step(step: object) -> str:
    """Return a step's name: 1 to 64 characters without control characters."""
    return check_label("step", step, MAX_STEP_CHARS)


def check_log(log: object) -> str:
    """Return a log line; over 16 KiB of UTF-8 it is cut, and its end says by how much."""
    text = log if type(log) is str else check_text("log", log)
    if len(text) * 4 > MAX_LOG_BYTES or not text.isascii():
        return cut_text(text, MAX_LOG_BYTES)
    return text


def check_level(level: Any) -> Level:
    """Return the level of a log line: debug, info, warning or error."""
    if level not in LEVELS:
        raise ValueError(f"level must be debug, info, warning or error, got {level!r}")
    found: Level = level
    return found


def check_data(data: object) -> bytes:
    """Encode `data`: a JSON object of up to 4 KiB and 100 levels."""
    if not isinstance(data, Mapping):
        raise TypeError(f"data must be a JSON object, got {type(data).__name__}")
    return encode_json("data", dict(data), MAX_DATA_BYTES)


def check_result(result: object) -> bytes:
    """Encode `result`: JSON of up to 64 KiB and 100 levels."""
    return encode_json("result", result, MAX_RESULT_BYTES)


def check_error(error: object) -> str:
    """Return an error's text; over 64 KiB of UTF-8 it is cut."""
    return cut_text(check_text("error", error), MAX_ERROR_BYTES)


def check_attempt(attempt: Any) -> int:
    """Return the number of an attempt.

    Raises:
        TypeError: it is no int.
        ValueError: it is not within 1 and MAX_ATTEMPT.
    """
    if type(attempt) is not int:
        raise TypeError(f"attempt must be an int, got {type(attempt).__name__}")
    if attempt < 1:
        raise ValueError(f"attempt must be 1 or more, got {attempt}")
    if attempt > MAX_ATTEMPT:
        raise ValueError(f"attempt must be at most {MAX_ATTEMPT}, got {attempt}")
    return attempt


def encode_json(name: str, value: Any, limit_bytes: int) -> bytes:
    """Encode `value` as JSON without spaces.

    Raises:
        TypeError: it is not JSON.
        ValueError: it has more than `limit_bytes`, or more than MAX_DEPTH levels.
    """
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
