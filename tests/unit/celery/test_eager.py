"""An application's own tests: tasks executed eagerly (`task_always_eager`), with their events captured."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import Celery, chain, group, signals
from celery.exceptions import Ignore
from celery.local import Proxy

from runrelay import publish_progress, run_progress
from runrelay.celery import install, run_headers, send
from runrelay.celery.header import info_of
from runrelay.testing import capture_progress

app = Celery("eager-test", broker="memory://", backend="cache+memory://", set_as_current=False)
app.conf.task_always_eager = True
install(Proxy(lambda: app))  # as `install(celery.current_app)`


@app.task  # type: ignore[untyped-decorator]
def work(run_id: str) -> str:
    publish_progress(run_id, "WORK", 0.5, "half")
    return "made"


@app.task  # type: ignore[untyped-decorator]
def breaks(run_id: str) -> None:
    raise OSError("no disk")


def test_install_accepts_the_proxy_of_an_application() -> None:
    """`install(celery.current_app)` that connects to no task, without an error."""
    with capture_progress() as captured:
        send(work.s("run"), "run", closing="done")
    assert captured.states("run") == ["QUEUED", "STARTED", "WORK", "END"]
    assert captured.logs("run") == ["half", "done"]
    end = captured.ended("run")
    assert end is not None
    assert end.result == "made"


@pytest.mark.parametrize("again", [False, True])
def test_a_captured_canvas_ends_once_with_its_last_member(again: bool) -> None:
    """A user's test in which the run ends after the first member, which it would not in Redis."""
    with capture_progress() as captured:
        for _ in range(1 + again):
            made = chain(work.si("run"), group(work.si("run"), work.si("run")), work.si("run"), app=app)
            send(made, "run", closing="done")
    assert captured.states("run") == ["QUEUED", "STARTED", "WORK", "END"] * (1 + again)
    assert [event.log for event in captured.of("run") if event.kind == "finish"] == ["done"] * (1 + again)


def test_a_captured_canvas_that_fails_does_not_succeed() -> None:
    """END in a user's test of a canvas whose last member has failed."""
    with capture_progress() as captured:
        send(chain(work.si("run"), breaks.si("run"), app=app), "run")
    assert captured.states("run") == ["QUEUED", "STARTED", "WORK", "FAILED"]
    end: Any = captured.ended("run")
    assert end.error.startswith("breaks: OSError: no disk")


def test_the_end_of_a_step_is_not_a_state_of_the_run() -> None:
    """END in the middle of the states, where the first step ended."""
    with capture_progress() as captured, run_progress("run", steps=["a", "b"]) as run:
        for name in ("a", "b"):
            with run.step(name, state=name.upper()):
                pass
    assert captured.states("run") == ["STARTED", "A", "B", "END"]


def test_a_task_that_was_killed_fails_once() -> None:
    """A second failure, signalled when the killed process has ended, that is counted as fenced."""

    class Request:
        id = "of-the-killed"
        request_dict: ClassVar = {"headers": run_headers("run", attempt=1)}

    request = Request()
    request.app = app  # type: ignore[attr-defined]
    with capture_progress() as captured:
        signals.task_received.send(sender=None, request=request)
        for error in (TimeLimitExceeded(1), WorkerLostError("signal 9")):
            signals.task_failure.send(sender=app.tasks[work.name], task_id=request.id, exception=error)
    assert [event.state for event in captured.events] == ["FAILED"]
    assert captured.events[0].error == "TimeLimitExceeded: TimeLimitExceeded(1,)"


@pytest.mark.parametrize("attempt", [0, True, "1", 10**18])
def test_a_header_with_a_wrong_attempt_is_ignored(attempt: object, caplog: pytest.LogCaptureFixture) -> None:
    """A run that cannot be read again, because of an attempt of 10**18."""
    request = {"runrelay": {"run_id": "run", "attempt": attempt}}
    assert info_of(request) is None
    assert "cannot be used: attempt must be" in caplog.text


@pytest.mark.parametrize("propagates", [True, False])
def test_an_eager_task_that_fails_ends_its_run(propagates: bool) -> None:
    """A run that stays running in a user's test: with `task_eager_propagates` Celery signals no failure."""
    app.conf.task_eager_propagates = propagates
    try:
        for run_id, signature in (("alone", breaks.s("alone")), ("chained", work.si("chained") | breaks.si("chained"))):
            with capture_progress() as captured:
                if propagates:
                    with pytest.raises(OSError, match="no disk"):
                        send(signature, run_id)
                else:
                    send(signature, run_id)
            end = captured.ended(run_id)
            assert end is not None
            assert end.state == "FAILED"
            assert str(end.error).splitlines()[0].endswith("OSError: no disk")
    finally:
        app.conf.task_eager_propagates = False


@app.task(bind=True)  # type: ignore[untyped-decorator]
def ignored(self: Any, state: str | None) -> None:
    if state is not None:
        self.update_state(state=state, meta={"answer": 7} if state == "SUCCESS" else OSError("no disk"))
    raise Ignore


@pytest.mark.parametrize(("said", "state"), [(None, "CANCELLED"), ("FAILURE", "FAILED"), ("SUCCESS", "END")])
def test_a_task_that_ignores_itself_ends_its_run(said: str | None, state: str) -> None:
    """A run that stays running, because a task that raises `Ignore` has neither succeeded nor failed."""
    with capture_progress() as captured:
        send(ignored.s(said), "run")
    end = captured.ended("run")
    assert end is not None
    assert end.state == state
    assert end.error == {
        None: "the task has ended itself without a result (celery.exceptions.Ignore)",
        "FAILURE": "OSError: no disk",
        "SUCCESS": None,
    }.get(said)
    assert end.result == ({"answer": 7} if said == "SUCCESS" else None)


def test_a_task_without_a_run_may_end_as_it_likes() -> None:
    """Events of a run that does not exist, from a task that has none."""
    with capture_progress() as captured:
        ignored.delay("FAILURE")
    assert captured.events == []


def test_a_group_whose_error_is_passed_on_fails_its_run() -> None:
    """Celery executes no further member then, so no member ended the run: it was shown as running, and then stalled."""
    app.conf.task_eager_propagates = True
    try:
        with capture_progress() as captured, pytest.raises(OSError, match="no disk"):
            send(group(work.si("run"), breaks.si("run"), work.si("run"), app=app), "run")
    finally:
        app.conf.task_eager_propagates = False
    end = captured.ended("run")
    assert end is not None
    assert end.state == "FAILED"
    assert str(end.error).startswith("OSError: no disk")
