"""Events: the checks of what a producer publishes."""

import decimal
import math
from fractions import Fraction
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runrelay.progress import TERMINAL_STATES, Event, StepSpec, make_event, step_specs
from runrelay.progress.checks import (
    MAX_DATA_BYTES,
    MAX_ERROR_BYTES,
    MAX_LOG_BYTES,
    MAX_RESULT_BYTES,
    PROGRESS_TOLERANCE,
    check_progress,
    encode_json,
)

# No deadline: a test must not fail because the machine is busy.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_only_what_was_given_is_in_the_event() -> None:
    """A default value in an event would overwrite the run's own value."""
    event = make_event("RENDERING", 0.5, "렌더링 단계 시작", ts_ms=5)
    assert event == Event(5, "RENDERING", 0.5, "렌더링 단계 시작")
    assert make_event(ts_ms=5) == Event(5)


def test_the_clock_is_the_producer_s_in_milliseconds() -> None:
    """An event without a time gets the time of the call."""
    before = make_event().ts_ms
    assert make_event().ts_ms >= before > 1_700_000_000_000


def test_every_argument_arrives() -> None:
    """An argument that is checked and not kept would be lost silently."""
    event = make_event(
        "END", 1, "done", level="warning", step="render", data={"a": 1}, result=[1], error="e", attempt=3
    )
    assert event._replace(ts_ms=0) == Event(
        0, "END", 1.0, "done", "warning", "render", 3, data=b'{"a":1}', result=b"[1]", error="e"
    )


# Progress


@steady
@given(st.floats(min_value=0, max_value=1))
def test_progress_within_bounds_is_taken_as_it_is(value: float) -> None:
    """A value that is changed makes a progress bar jump."""
    assert check_progress(value) == value
    assert math.copysign(1, check_progress(value)) == 1


@steady
@given(st.floats(allow_nan=True, allow_infinity=True))
def test_progress_is_within_bounds_or_refused(value: float) -> None:
    """All accepted values can be drawn; the tolerance is for rounding errors only."""
    try:
        checked = check_progress(value)
    except ValueError:
        refused = True
    else:
        refused = False
        assert 0 <= checked <= 1
        assert abs(checked - value) <= PROGRESS_TOLERANCE
    assert refused != (-PROGRESS_TOLERANCE <= value <= 1 + PROGRESS_TOLERANCE)


class Numeric:
    """A number of another library, with `__float__`."""

    def __float__(self) -> float:
        return 0.25


@pytest.mark.parametrize(
    ("value", "checked"),
    [
        (0, 0.0),
        (1, 1.0),
        (Fraction(1, 4), 0.25),
        (decimal.Decimal("0.25"), 0.25),
        (Numeric(), 0.25),
        (1.0000009, 1.0),
        (-0.0000009, 0.0),
    ],
)
def test_progress_is_anything_that_is_a_number(value: Any, checked: float) -> None:
    """Callers have numpy scalars, fractions and integers."""
    result = check_progress(value)
    assert type(result) is float
    assert result == checked


@pytest.mark.parametrize("value", [1.7, -0.1, math.nan, math.inf, -math.inf, 50, 10**400, 1.00001])
def test_progress_out_of_bounds_is_a_value_error(value: Any) -> None:
    """A percentage instead of a fraction must be reported to the caller at once."""
    with pytest.raises(ValueError, match=r"progress must be within 0\.\.1, got"):
        make_event(progress=value)


@pytest.mark.parametrize("value", [True, False, "0.5", b"1", [], {}, object()])
def test_progress_of_another_type_is_a_type_error(value: Any) -> None:
    """`True` is 1.0 in Python, but as a progress it is a mistake of the caller."""
    with pytest.raises(TypeError, match=r"progress must be a number within 0\.\.1, got"):
        make_event(progress=value)


# Text


def test_a_log_line_over_its_limit_is_cut_and_says_so() -> None:
    """If a long line were refused, its whole event would be lost."""
    for text in ("x" * 20_000, "우" * 6_000, "🎬" * 5_000):
        log = make_event(log=text).log
        assert log is not None
        assert len(log.encode()) <= MAX_LOG_BYTES
        assert log.endswith(" bytes cut")
    for text in ("x" * MAX_LOG_BYTES, "우" * (MAX_LOG_BYTES // 3), "short"):
        assert make_event(log=text).log == text


@steady
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=2000).map(lambda text: text * 9))
def test_every_log_line_is_valid_utf_8_within_the_limit(text: str) -> None:
    """Redis, JSON and the browser all expect UTF-8."""
    log = make_event(log=text).log
    assert log is not None
    assert len(log.encode()) <= MAX_LOG_BYTES


def test_a_kind_of_string_is_a_string() -> None:
    """Celery and other libraries return subclasses of str."""

    class Label(str):
        __slots__ = ()

    assert make_event(Label("S"), log=Label("line"), step=Label("s"))._replace(ts_ms=0) == Event(
        0, "S", None, "line", step="s"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"state": ""}, "state must have 1 to 64 characters, got 0"),
        ({"state": "x" * 65}, "state must have 1 to 64 characters, got 65"),
        ({"state": "a\nb"}, "state must not contain"),
        ({"step": ""}, "step must have 1 to 64"),
        ({"step": "a\tb"}, "step must not contain"),
        ({"level": "fatal"}, "level must be debug, info, warning or error, got 'fatal'"),
        ({"attempt": 0}, "attempt must be 1 or more, got 0"),
        ({"attempt": 1_000_000_001}, "attempt must be at most 1000000000, got 1000000001"),
        ({"attempt": 10**30}, "attempt must be at most 1000000000, got 1000000"),
        ({"result": 1}, "result belongs to a terminal state"),
        ({"error": "e", "state": "RENDERING"}, "error belongs to a terminal state"),
        ({"data": {"x": "y" * MAX_DATA_BYTES}}, f"data must be at most {MAX_DATA_BYTES} bytes of JSON, got"),
        ({"state": "END", "result": "y" * MAX_RESULT_BYTES}, "result must be at most"),
    ],
)
def test_a_wrong_value_is_a_value_error_with_the_limit(arguments: dict[str, Any], words: str) -> None:
    """The message tells the caller the limit and the given value."""
    with pytest.raises(ValueError, match=words):
        make_event(**arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"state": 5}, "state must be a str, got int"),
        ({"log": b"bytes"}, "log must be a str, got bytes"),
        ({"step": 5}, "step must be a str, got int"),
        ({"data": [1]}, "data must be a JSON object, got list"),
        ({"data": {"x": object()}}, "data must be JSON"),
        ({"data": {"x": "\ud800"}}, "data must be JSON"),
        ({"state": "FAILED", "error": 5}, "error must be a str, got int"),
        ({"attempt": True}, "attempt must be an int, got bool"),
        ({"attempt": 1.0}, "attempt must be an int, got float"),
    ],
)
def test_a_wrong_type_is_a_type_error(arguments: dict[str, Any], words: str) -> None:
    """The error must be raised in the caller, not later in another thread."""
    with pytest.raises(TypeError, match=words):
        make_event(**arguments)


@pytest.mark.parametrize("state", [*TERMINAL_STATES, None, "RENDERING"])
def test_a_result_or_error_belongs_to_an_end_or_to_a_step(state: str | None) -> None:
    """A step's error is published while the run goes on."""
    assert make_event(state, step="s", result=1, error="e").error == "e"
    if state in TERMINAL_STATES:
        assert make_event(state, result=None, error="e").error == "e"
        assert make_event(state, result=0).result == b"0"


def test_a_long_error_is_cut() -> None:
    """A traceback of a megabyte must not keep a failed run from failing."""
    error = make_event("FAILED", error="x" * 100_000).error
    assert error is not None
    assert len(error.encode()) <= MAX_ERROR_BYTES


def test_json_is_bounded_in_bytes_not_characters() -> None:
    """Korean text is three bytes a character."""
    assert orjson.loads(encode_json("data", {"k": "가" * 10}, 64)) == {"k": "가" * 10}
    with pytest.raises(ValueError, match="data must be at most 64 bytes of JSON, got"):
        encode_json("data", {"k": "가" * 22}, 64)
    assert encode_json("data", {1: 2}, 64) == b'{"1":2}'


# Coalescing


def test_a_bare_progress_may_be_replaced_by_the_next() -> None:
    """A loop of a million items sends a million of these."""
    assert make_event(progress=0.5).is_progress_only
    assert make_event("RENDERING", 0.5, step="s", attempt=2).is_progress_only


@pytest.mark.parametrize(
    "event",
    [
        Event(0),
        Event(0, "RENDERING"),
        Event(0, progress=0.5, log="line"),
        Event(0, progress=0.5, data=b"{}"),
        Event(0, progress=0.5, result=b"1"),
        Event(0, progress=0.5, error="e"),
        Event(0, progress=0.5, title="t"),
        Event(0, progress=0.5, pipeline="p"),
        Event(0, progress=0.5, steps=(StepSpec("s"),)),
        Event(0, progress=0.5, precondition="absent"),
        Event(0, progress=0.5, kind="start"),
        *(Event(0, state, progress=0.5) for state in TERMINAL_STATES),
    ],
)
def test_an_event_that_says_more_is_never_replaced(event: Event) -> None:
    """Replacing it would lose a line, a state, a result or an end."""
    assert not event.is_progress_only


# the level is the log line's; base_attempt, reopen, stale_before_ms and input belong to kinds of their own
_OTHER_FIELDS = ("log", "data", "result", "error", "kind", "title", "pipeline", "steps", "precondition")


@steady
@given(
    st.builds(
        Event,
        ts_ms=st.integers(0, 10),
        state=st.sampled_from([None, "A", *TERMINAL_STATES]),
        progress=st.none() | st.floats(0, 1),
        log=st.none() | st.just("x"),
        step=st.none() | st.just("s"),
        data=st.none() | st.just(b"{}"),
        result=st.none() | st.just(b"1"),
        error=st.none() | st.just("e"),
        attempt=st.none() | st.just(1),
        kind=st.sampled_from(["event", "start", "stalled"]),
        title=st.none() | st.just("t"),
        pipeline=st.none() | st.just("p"),
        steps=st.none() | st.just((StepSpec("s"),)),
        precondition=st.none() | st.just("absent"),
    )
)
def test_what_may_be_replaced_carries_nothing_that_its_successor_does_not(event: Event) -> None:
    """Such an event has nothing but its run, step, attempt, state and progress."""
    if event.is_progress_only:
        assert event.state not in TERMINAL_STATES
        assert all(getattr(event, name) == Event._field_defaults[name] for name in _OTHER_FIELDS)


# Steps


def test_steps_are_names_or_names_with_weights() -> None:
    """Names without weights get equal weights."""
    assert step_specs(["plot", "render"]) == (StepSpec("plot", 1.0), StepSpec("render", 1.0))
    assert step_specs({"plot": 1, "render": 2.5}) == (StepSpec("plot", 1.0), StepSpec("render", 2.5))
    assert step_specs([]) == ()


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (["a", "a"], "steps must have different names"),
        ([""], "step must have 1 to 64 characters"),
        ({"a": 0}, "the weight of step 'a' must be positive and finite, got 0"),
        ({"a": -1}, "positive"),
        ({"a": math.nan}, "positive"),
        ({"a": math.inf}, "finite"),
        ({"a": True}, "got True"),
        ([f"s{n}" for n in range(1001)], r"^a run has at most 1000 steps, got 1,001$"),
        ({f"s{n}": 1.0 for n in range(20_000)}, r"^a run has at most 1000 steps, got 20,000$"),
    ],
)
def test_steps_that_cannot_be_rolled_up_are_refused(steps: Any, words: str) -> None:
    """A weight of 0 or less makes the run's progress a division by zero."""
    with pytest.raises(ValueError, match=words):
        step_specs(steps)


def _nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [100, 101, 253, 254, 255, 5000])
def test_what_goes_too_deep_is_refused(levels: int) -> None:
    """A frame of 254 levels cannot be written, and once it stopped every relay."""
    if levels <= 100:
        assert make_event("END", result=_nested(levels)).result == b"[" * 100 + b"]" * 100
        return
    got = f"got {levels}" if levels <= 254 else "got 255 or more, or a circle"
    with pytest.raises(ValueError, match=f"result must be at most 100 levels deep, {got}"):
        make_event("END", result=_nested(levels))
    with pytest.raises(ValueError, match="data must be at most 100 levels deep"):
        make_event(data={"x": _nested(levels)})


def test_brackets_in_texts_are_no_depth() -> None:
    """A log of brackets is shown as it is."""
    value = {"text": "[" * 1000, "rows": [[1]] * 200}
    assert orjson.loads(make_event(data=value).data or b"") == value
