"""run_progress, spans, steps and track: the events that a block of code publishes."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from runrelay import current_run, publish_progress, run_progress, track
from runrelay.outbox import Publisher
from runrelay.outbox.quick import unpacked
from runrelay.outbox.scopes import TaskScope, current_run_id, entered
from runrelay.publisher.publish import use_sink
from runrelay.publisher.run_progress import error_text
from runrelay.publisher.spans import current_span
from runrelay.settings import PublisherSettings
from runrelay.testing import CapturedProgress, capture_progress


@pytest.fixture
def captured() -> Iterator[CapturedProgress]:
    with capture_progress() as found:
        yield found


def progress_of(captured: CapturedProgress) -> list[float]:
    return [round(event.progress, 6) for event in captured.events if event.progress is not None]


def test_a_block_starts_and_ends_the_run(captured: CapturedProgress) -> None:
    """A run that never starts, or never ends."""
    with run_progress("run", title="A run", steps={"a": 1, "b": 3}, pipeline="films") as run:
        run.update(0.5, "WORK", "half")
        run.result = {"answer": 42}
    start, work, end = captured.events
    assert (start.kind, start.state, start.title) == ("start", "STARTED", "A run")
    assert (work.state, work.progress, work.log) == ("WORK", 0.5, "half")
    assert (end.state, end.result) == ("END", {"answer": 42})
    assert (work.attempt, end.attempt) == (1, 1)  # the attempt that the start was given


def test_a_nested_block_of_the_same_run_is_part_of_the_outer_one(captured: CapturedProgress) -> None:
    """A run that is started twice, or whose result is lost, because a function with a block is called in another
    block."""
    with run_progress("run"):
        with run_progress("run") as inner:
            inner.result = {"made": "inside"}
        assert captured.ended("run") is None
    assert captured.states("run") == ["STARTED", "END"]
    end = captured.ended("run")
    assert end is not None
    assert end.result == {"made": "inside"}


@pytest.mark.parametrize("quick", [False, True])
def test_what_is_published_in_the_block_of_a_step_is_of_that_step(quick: bool) -> None:
    """A log line beside the step that it was published in."""
    publisher = Publisher(PublisherSettings(redis_url="redis://localhost:1/0", quick_path=quick))
    outbox, before = publisher.outbox, use_sink(publisher)
    outbox.wakeup.needs_notify = False  # no flusher: the events stay where they are
    try:
        for _ in range(2):  # the second time, the run and the states are known, and the quick path takes them
            with run_progress("run", steps=["a", "b"]) as run:
                publish_progress("run", "WORK", 0.1, "before")
                with run.step("a"):
                    publish_progress("run", "WORK", 0.2, "inside")
                    publish_progress("run", log="of another", step="b")
                    with run_progress("run") as inner:
                        inner.result = {"made": "inside"}
                    publish_progress("run", "CANCELLED")
                publish_progress("run", "WORK", 0.3, "after")
        events = [unpacked(item) for item in outbox.ingress]
    finally:
        use_sink(before)
        outbox.ingress.clear()
    assert [(event.log, event.step) for _, event, _, _ in events if event.log] == [
        ("before", None), ("inside", "a"), ("of another", "b"), ("after", None),
    ] * 2  # fmt: skip
    assert [event.step for _, event, _, _ in events if event.state == "CANCELLED"] == [None] * 2
    scopes = {scope for _, event, scope, _ in events if event.log == "inside"}
    assert {scope.outer for scope in scopes if scope is not None} == {None}, "its fence is the run's"
    assert {scope.ended for scope in scopes if scope is not None} == {"CANCELLED"}


def test_an_exception_fails_the_run_and_is_raised(captured: CapturedProgress) -> None:
    """An exception that is swallowed, or a run that succeeds in spite of it."""
    with pytest.raises(ZeroDivisionError), run_progress("run"):
        _ = 1 / 0
    end = captured.ended("run")
    assert end is not None
    assert end.state == "FAILED"
    assert (end.error or "").splitlines()[0] == "ZeroDivisionError: division by zero"
    assert "_ = 1 / 0" in (end.error or "")


@pytest.mark.parametrize(
    ("error", "state", "first_line"),
    [
        (KeyboardInterrupt(), "FAILED", "KeyboardInterrupt"),
        (SystemExit(3), "FAILED", "SystemExit: 3"),
        (asyncio.CancelledError(), "CANCELLED", None),
    ],
)
def test_interruptions_end_the_run_too(
    captured: CapturedProgress, error: BaseException, state: str, first_line: str | None
) -> None:
    """A run that seems to go on after Ctrl-C."""
    with pytest.raises(type(error)), run_progress("run"):
        raise error
    end = captured.ended("run")
    assert end is not None
    assert (end.state, end.error and end.error.splitlines()[0]) == (state, first_line)


def test_a_long_error_is_cut() -> None:
    """A run that does not end because its error is too long to be committed."""
    text = error_text(ValueError("x" * 100_000))
    assert len(text.encode()) <= 64 * 1024
    assert text.startswith("ValueError: xxx")


def test_a_result_that_is_no_json_is_refused_when_it_is_set(captured: CapturedProgress) -> None:
    """A mistake that shows at the end of the run, and prevents the end."""
    with run_progress("run") as run:
        with pytest.raises(TypeError, match="result must be JSON"):
            run.result = object()
        run.result = [1]
    assert captured.ended("run") is not None


def test_a_run_that_the_block_has_ended_is_not_ended_again(captured: CapturedProgress) -> None:
    """END over a FAILED that the block itself has published."""
    with run_progress("run"):
        publish_progress("run", "FAILED", error="by hand")
    assert captured.states("run") == ["STARTED", "FAILED"]


def test_nested_spans_map_their_progress_into_the_run_s(captured: CapturedProgress) -> None:
    """Half of a part that is shown as half of the run."""
    with run_progress("run") as run:
        with run.span(0.2, 0.6, state="PART"):
            run.update(0.5)
            with run.span(0.5, 1.0):
                run.update(0.5)
                list(track(range(2), "run", span=(0.0, 0.5)))
        run.update(0.7)
    assert progress_of(captured) == [0.2, 0.4, 0.4, 0.5, 0.4, 0.45, 0.5, 0.5, 0.6, 0.6, 0.7]
    assert captured.states("run") == ["STARTED", "PART", "END"]


def test_a_span_that_fails_does_not_reach_its_end(captured: CapturedProgress) -> None:
    """A part that is shown as done because it was left."""
    with pytest.raises(KeyError), run_progress("run") as run, run.span(0.0, 0.5):
        raise KeyError("x")
    assert progress_of(captured) == [0.0]


def test_a_thread_reports_to_the_span_object(captured: CapturedProgress) -> None:
    """A thread's progress that is shown as the whole run's, because threads have no current span."""
    with run_progress("run") as run, run.span(0.4, 0.6) as part:
        thread = threading.Thread(target=lambda: part.update(0.5))
        thread.start()
        thread.join()
    assert 0.5 in progress_of(captured)
    assert {event.attempt for event in captured.events[1:]} == {1}  # the thread's events are fenced, too


def test_steps_are_blocks_of_a_run(captured: CapturedProgress) -> None:
    """A step that never ends, or succeeds although it raised."""

    def work() -> None:
        with run_progress("run", steps=["a", "b"]) as run:
            with run.step("a", state="A"):
                run.update(0.5)
                with run.span(0.5, 1.0):
                    run.update(0.5)
            with run.step("b"):
                raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        work()
    published = [(event.step, event.state, event.progress) for event in captured.events if event.step]
    assert published == [
        ("a", "A", 0.0), ("a", None, 0.5), ("a", None, 0.5), ("a", None, 0.75), ("a", None, 1.0), ("a", None, 1.0),
        ("a", "END", None), ("b", None, 0.0), ("b", "FAILED", None),
    ]  # fmt: skip
    end = captured.ended("run")
    assert end is not None
    assert end.state == "FAILED"


def test_a_block_inside_a_task_is_part_of_the_task(captured: CapturedProgress) -> None:
    """A block that starts the task's run again, or ends it before the task does."""
    scope = TaskScope("run", attempt=3)
    with entered(scope), run_progress("run", title="Inside") as run:
        run.result = {"x": 1}
        run.update(0.5)
    declared, update = captured.events
    assert (declared.kind, declared.title, declared.attempt) == ("event", "Inside", 3)
    assert (update.progress, update.attempt) == (0.5, 3)
    assert (scope.result, scope.failure) == ({"x": 1}, None)


def test_a_block_inside_a_canvas_member_belongs_to_its_step(captured: CapturedProgress) -> None:
    """A member that moves, or declares steps of, the whole run."""
    scope = TaskScope("run", "render", attempt=1)
    with entered(scope), run_progress("run", title="Inside", steps=["frames"]) as run:
        run.update(0.5)
        publish_progress("run", "RENDERING", 0.7)
        publish_progress("another", None, 0.1)
    assert [(event.run_id, event.step) for event in captured.events] == [
        ("run", "render"), ("run", "render"), ("run", "render"), ("another", None),
    ]  # fmt: skip


def test_a_block_that_fails_inside_a_task_does_not_end_the_run(captured: CapturedProgress) -> None:
    """FAILED shown for a task that will be retried."""
    scope = TaskScope("run", attempt=1)
    with entered(scope):
        with pytest.raises(ConnectionError), run_progress("run"):
            raise ConnectionError("no network")
        assert (scope.failure or "").splitlines()[0] == "ConnectionError: no network"
        with run_progress("run"):
            pass
        assert scope.failure is None  # the second try succeeded
    assert captured.ended("run") is None


def test_track_publishes_about_every_percent(captured: CapturedProgress) -> None:
    """A loop that publishes a million events, or not its end."""
    assert list(track(range(10_000), "run", state="LOOP")) == list(range(10_000))
    progress = progress_of(captured)
    assert 100 <= len(progress) <= 102
    assert (progress[0], progress[-1]) == (0.0, 1.0)
    assert progress == sorted(progress)
    assert captured.states("run") == ["LOOP"]


def test_track_without_a_total_publishes_no_progress(captured: CapturedProgress) -> None:
    """A progress that cannot be known."""
    assert list(track((i for i in range(5)), "run", state="LOOP")) == [0, 1, 2, 3, 4]
    assert progress_of(captured) == [1.0]
    assert list(track((i for i in range(4)), "run", total=4)) == [0, 1, 2, 3]
    assert progress_of(captured)[1:] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_second_loop_over_the_same_part_is_said(captured: CapturedProgress, caplog: pytest.LogCaptureFixture) -> None:
    """A loop whose progress never shows, because an earlier one has reported all of it, and nobody says why."""
    with run_progress("run") as run:
        list(track(range(3), "run"))
        with run.span(0.0, 0.5):
            list(track(range(3), "run", span=(0.0, 0.5)))
            list(track(range(3), "run", span=(0.5, 1.0)))
        with run.step("a"):
            list(track(range(3), "run"))
        assert not caplog.records
        for _ in range(3):
            track(range(3), "run")
    with run_progress("run"):
        list(track(range(3), "run"))
    (said,) = [record.getMessage() for record in caplog.records]
    assert "run 'run': a second loop reports the same part of the progress, 0..1" in said
    assert "span=(0.0, 0.5)" in said


def test_track_of_a_loop_that_is_left_does_not_reach_its_end(captured: CapturedProgress) -> None:
    """A loop that is shown as done because it was left early."""
    for item in track(range(10), "run"):
        if item == 5:
            break
    assert progress_of(captured)[-1] == 0.5


def test_track_of_more_items_than_the_total_stays_within_one(captured: CapturedProgress) -> None:
    """A ValueError in the middle of a loop because the total was a guess."""
    assert len(list(track(iter(range(10)), "run", total=5))) == 10
    assert max(progress_of(captured)) == 1.0


def _reading(run_id: str) -> Iterator[int]:
    with run_progress(run_id) as run, run.span(0.2, 0.4):
        yield from range(3)


def test_the_current_run_is_that_of_the_context_alone(captured: CapturedProgress) -> None:
    """Lines of a thread that works for somebody else, which go into the only run of the process."""
    found: list[str | None] = []
    assert current_run() is None
    with run_progress("run"):
        assert current_run() == "run"
        context = contextvars.copy_context()
        for work in (lambda: found.append(current_run()), lambda: context.run(lambda: found.append(current_run()))):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        with run_progress("inner"):
            assert current_run() == "inner"
    assert (found, current_run()) == ([None, "run"], None)


def test_blocks_in_generators_can_be_left_in_any_order(captured: CapturedProgress) -> None:
    """A block that was left and stays the current one, so that the run can never start or end again."""
    first, second = _reading("first"), _reading("second")
    next(first), next(second)
    assert (list(first), list(second)) == ([1, 2], [1, 2])
    assert current_run_id() is None
    assert current_span("first").high == 1.0
    before = len(captured.events)
    with run_progress("first") as run:
        run.update(0.5)
    again = captured.events[before:]
    assert [(event.kind, event.state, event.progress) for event in again] == [
        ("start", "STARTED", None), ("event", None, 0.5), ("event", "END", None),
    ]  # fmt: skip


def test_a_block_can_be_closed_in_another_context(captured: CapturedProgress) -> None:
    """An async generator that raises when another task closes it, or removes that task's own run."""

    async def reading() -> AsyncIterator[int]:
        with run_progress("read") as run, run.span(0.2, 0.4):
            yield 1

    async def close(rows: AsyncIterator[int]) -> str | None:
        with run_progress("closer"):
            await rows.aclose()  # type: ignore[attr-defined]
            return current_run_id()

    async def work() -> None:
        rows = reading()
        await anext(rows)
        assert await asyncio.create_task(close(rows)) == "closer"
        # this task's context still has the block
        assert current_run_id() is None
        assert current_span("read").high == 1.0
        with run_progress("read") as run:
            run.update(0.5)

    asyncio.run(work())
    published = [(event.kind, event.state, event.progress) for event in captured.of("read")]
    assert published[3:] == [("start", "STARTED", None), ("event", None, 0.5), ("event", "END", None)]
