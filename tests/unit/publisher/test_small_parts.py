"""Backoff, scopes, rows of the spool, and capturing in a user's own tests."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runrelay import flush, publish_progress
from runrelay.outbox.flusher import BACKOFF_MAX_S, backoff_s
from runrelay.outbox.scopes import TaskScope, active_scopes, current_run_id, entered, scope_of
from runrelay.outbox.spool.file import decode, encode
from runrelay.progress import Event, StepSpec, make_event
from runrelay.publisher.publish import use_sink
from runrelay.testing import capture_progress


def test_backoff_grows_has_jitter_and_a_bound() -> None:
    """Workers that all reconnect at the same moment, or wait for minutes."""
    assert backoff_s(1, 0.9) == 0.0
    assert backoff_s(2, 1.0) == 0.05
    assert backoff_s(2, 0.0) == 0.025
    assert [backoff_s(n, 1.0) for n in range(2, 6)] == [0.05, 0.1, 0.2, 0.4]
    assert backoff_s(1000, 1.0) == BACKOFF_MAX_S


def test_the_scope_is_the_context_s_or_the_only_one_of_the_run() -> None:
    """A thread of a task whose events are not fenced, or are fenced as another task's of the same run."""
    one, two = TaskScope("run"), TaskScope("run")
    found: list[TaskScope | None] = []

    def from_a_thread() -> None:
        thread = threading.Thread(target=lambda: found.append(scope_of("run")))
        thread.start()
        thread.join()

    with entered(one):
        assert scope_of("run") is one
        assert scope_of("other") is None
        assert current_run_id() == "run"
        from_a_thread()
        with entered(two):
            assert scope_of("run") is two
            from_a_thread()
        assert scope_of("run") is one
    assert scope_of("run") is None
    assert current_run_id() is None
    assert found == [one, None]
    assert active_scopes == {}


EVENTS = st.builds(
    Event,
    ts_ms=st.integers(0, 2**53),
    state=st.none() | st.text(min_size=1, max_size=10).filter(lambda s: s.isprintable()),
    progress=st.none() | st.floats(0, 1),
    log=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    level=st.sampled_from(["debug", "info", "warning", "error"]),
    step=st.none() | st.just("step"),
    data=st.none() | st.just(b'{"x":1}'),
    result=st.none() | st.just(b"[1,2]"),
    input=st.none() | st.just('{"prompt":"고양이"}'.encode()),
    error=st.none() | st.just("it broke"),
    attempt=st.none() | st.integers(0, 5),
    step_attempt=st.none() | st.integers(0, 5),
    kind=st.sampled_from(["event", "start", "step_start", "retrying", "finish"]),
    steps=st.none() | st.just((StepSpec("a", 2.0), StepSpec("b", 1.0))),
    base_attempt=st.none() | st.integers(1, 5),
    reopen=st.booleans(),
    only_if_not_superseded=st.booleans(),
    only_if_unbegun=st.booleans(),
    continues=st.none() | st.integers(1, 5),
    nesting=st.none() | st.integers(1, 5),
    stale_before_ms=st.none() | st.integers(0, 2**53),
    more_steps=st.none() | st.integers(1, 1000),
    more_step=st.none() | st.integers(0, 1000),
    lost=st.none() | st.just(b'[["a",2]]'),
)


@given(EVENTS)
def test_an_event_is_read_from_the_spool_as_it_was_written(event: Event) -> None:
    """A field that the spool loses."""
    assert decode(encode(event)) == event


def test_an_event_of_an_earlier_version_is_read_from_the_spool() -> None:
    """A worker that is upgraded while Redis is away, and cannot read its predecessor's file."""
    old = b'{"ts_ms":1,"kind":"start","late":true,"must":"absent","encoded":[]}'
    assert decode(old) == Event(1, kind="start", only_if_not_superseded=True, precondition="absent")


def test_captured_progress_has_what_was_published() -> None:
    """A user's test that needs Redis, or captures other events than Redis would get."""
    with capture_progress() as captured:
        publish_progress("run", "PLOT", 0.1, "one", data={"x": 1})
        publish_progress("run", "PLOT", 0.3)
        publish_progress("run", None, 0.9, step="part")
        publish_progress("run", "END", result={"y": 2})
        publish_progress("other", log="two")
        assert flush(0.0)
    assert captured.states("run") == ["PLOT", "END"]
    assert captured.logs("run") == ["one"]
    assert captured.progress("run") == 1.0
    assert captured.progress("other") is None
    assert captured.of("run")[0].data == {"x": 1}
    end = captured.ended("run")
    assert end is not None
    assert end.result == {"y": 2}
    assert captured.ended("other") is None


def test_after_a_capture_the_publisher_is_restored() -> None:
    """A capture that stays after its block, so that nothing is published."""
    marker = use_sink(None)
    try:
        with capture_progress() as outer:
            with capture_progress() as inner:
                publish_progress("run", log="inner")
            publish_progress("run", log="outer")
        assert (inner.logs("run"), outer.logs("run")) == (["inner"], ["outer"])
        assert use_sink(None) is None
    finally:
        use_sink(marker)


def test_wrong_arguments_raise_in_a_capture() -> None:
    """A test that passes with a run id that production refuses."""
    with capture_progress() as captured, pytest.raises(ValueError, match="must not contain"):
        publish_progress("a/b")
    assert captured.events == []


def test_an_event_with_an_explicit_attempt_keeps_it() -> None:
    """A scope that replaces the caller's attempt."""
    scope = TaskScope("run", attempt=2)
    assert scope.fence(make_event(attempt=5)).attempt == 5
    assert scope.fence(make_event()).attempt == 2


def test_data_of_an_older_version_that_is_too_deep_is_dropped() -> None:
    """A row that was written before depth was checked, and whose event cannot be read again."""
    deep = b"[" * 254 + b"]" * 254
    event = decode(encode(Event(1, state="END", data=b'{"x":%b}' % deep, result=deep)))
    assert event == Event(1, state="END")
