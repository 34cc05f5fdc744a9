"""run_progress, spans, steps and track: what a block of code says of itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from runrelay import publish_progress, run_progress, track
from runrelay.outbox.scopes import TaskScope, current_run_id, entered
from runrelay.publisher.run_progress import error_text
from runrelay.publisher.spans import current_span
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
    assert (work.attempt, end.attempt) == (1, 1)  # what the start was given


def test_a_block_in_a_block_of_the_same_run_is_part_of_it(captured: CapturedProgress) -> None:
    """A function that is a run of its own, and called in another's block: begun twice, or its result lost."""
    with run_progress("run"):
        with run_progress("run") as inner:
            inner.result = {"made": "inside"}
        assert captured.ended("run") is None
    assert captured.states("run") == ["STARTED", "END"]
    end = captured.ended("run")
    assert end is not None
    assert end.result == {"made": "inside"}


def test_an_exception_fails_the_run_and_goes_on(captured: CapturedProgress) -> None:
    """An exception that is swallowed, or a run that ends well in spite of it."""
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
    """A run that looks as if it went on, although somebody has pressed Ctrl-C."""
    with pytest.raises(type(error)), run_progress("run"):
        raise error
    end = captured.ended("run")
    assert end is not None
    assert (end.state, end.error and end.error.splitlines()[0]) == (state, first_line)


def test_errors_are_cut_to_the_limit() -> None:
    """An error that is too long to be committed, so that the run does not end."""
    text = error_text(ValueError("x" * 100_000))
    assert len(text.encode()) <= 64 * 1024
    assert text.startswith("ValueError: xxx")


def test_a_result_that_is_not_json_is_refused_where_it_is_set(captured: CapturedProgress) -> None:
    """A mistake that only shows at the end, and takes the end with it."""
    with run_progress("run") as run:
        with pytest.raises(TypeError, match="result must be JSON"):
            run.result = object()
        run.result = [1]
    assert captured.ended("run") is not None


def test_a_run_that_was_ended_inside_is_not_ended_again(captured: CapturedProgress) -> None:
    """END over a FAILED that the block itself has published."""
    with run_progress("run"):
        publish_progress("run", "FAILED", error="by hand")
    assert captured.states("run") == ["STARTED", "FAILED"]


def test_spans_map_and_nest(captured: CapturedProgress) -> None:
    """A part whose half is shown as the run's half."""
    with run_progress("run") as run:
        with run.span(0.2, 0.6, state="PART"):
            run.update(0.5)
            with run.span(0.5, 1.0):
                run.update(0.5)
                list(track(range(2), "run", span=(0.0, 0.5)))
        run.update(0.7)
    assert progress_of(captured) == [0.2, 0.4, 0.4, 0.5, 0.4, 0.45, 0.5, 0.5, 0.6, 0.6, 0.7]
    assert captured.states("run") == ["STARTED", "PART", "END"]


def test_a_span_that_fails_does_not_arrive(captured: CapturedProgress) -> None:
    """A part that is shown as done because it was left."""
    with pytest.raises(KeyError), run_progress("run") as run, run.span(0.0, 0.5):
        raise KeyError("x")
    assert progress_of(captured) == [0.0]


def test_threads_use_the_span_itself(captured: CapturedProgress) -> None:
    """A thread that does not know in which span it was started, and reports as if it were the whole run."""
    with run_progress("run") as run, run.span(0.4, 0.6) as part:
        thread = threading.Thread(target=lambda: part.update(0.5))
        thread.start()
        thread.join()
    assert 0.5 in progress_of(captured)
    assert {event.attempt for event in captured.events[1:]} == {1}  # and yet it is fenced


def test_steps_are_blocks_of_a_run(captured: CapturedProgress) -> None:
    """A step that begins and never ends, or ends well although it raised."""

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
    told = [(event.step, event.state, event.progress) for event in captured.events if event.step]
    assert told == [
        ("a", "A", 0.0), ("a", None, 0.5), ("a", None, 0.5), ("a", None, 0.75), ("a", None, 1.0), ("a", None, 1.0),
        ("a", "END", None), ("b", None, 0.0), ("b", "FAILED", None),
    ]  # fmt: skip
    end = captured.ended("run")
    assert end is not None
    assert end.state == "FAILED"


def test_inside_a_task_the_block_is_part_of_it(captured: CapturedProgress) -> None:
    """A block that starts the task's run again, or ends it before the task is done."""
    scope = TaskScope("run", attempt=3)
    with entered(scope), run_progress("run", title="Inside") as run:
        run.result = {"x": 1}
        run.update(0.5)
    declared, update = captured.events
    assert (declared.kind, declared.title, declared.attempt) == ("event", "Inside", 3)
    assert (update.progress, update.attempt) == (0.5, 3)
    assert (scope.result, scope.failure) == ({"x": 1}, None)


def test_inside_a_canvas_member_everything_is_about_its_step(captured: CapturedProgress) -> None:
    """A member that moves, or declares steps of, the whole run."""
    scope = TaskScope("run", "render", attempt=1)
    with entered(scope), run_progress("run", title="Inside", steps=["frames"]) as run:
        run.update(0.5)
        publish_progress("run", "RENDERING", 0.7)
        publish_progress("another", None, 0.1)
    assert [(event.run_id, event.step) for event in captured.events] == [
        ("run", "render"), ("run", "render"), ("run", "render"), ("another", None),
    ]  # fmt: skip


def test_an_exception_inside_a_task_is_the_tasks_to_tell(captured: CapturedProgress) -> None:
    """FAILED shown for a task that will be retried."""
    scope = TaskScope("run", attempt=1)
    with entered(scope):
        with pytest.raises(ConnectionError), run_progress("run"):
            raise ConnectionError("no network")
        assert (scope.failure or "").splitlines()[0] == "ConnectionError: no network"
        with run_progress("run"):
            pass
        assert scope.failure is None  # the second try went well
    assert captured.ended("run") is None


def test_track_publishes_about_every_percent(captured: CapturedProgress) -> None:
    """A loop that publishes a million times, or not its end."""
    assert list(track(range(10_000), "run", state="LOOP")) == list(range(10_000))
    progress = progress_of(captured)
    assert 100 <= len(progress) <= 102
    assert (progress[0], progress[-1]) == (0.0, 1.0)
    assert progress == sorted(progress)
    assert captured.states("run") == ["LOOP"]


def test_track_of_nobody_knows_how_many(captured: CapturedProgress) -> None:
    """A progress that is invented."""
    assert list(track((i for i in range(5)), "run", state="LOOP")) == [0, 1, 2, 3, 4]
    assert progress_of(captured) == [1.0]
    assert list(track((i for i in range(4)), "run", total=4)) == [0, 1, 2, 3]
    assert progress_of(captured)[1:] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_loop_that_is_left_is_not_done(captured: CapturedProgress) -> None:
    """A loop that is shown as done because it was broken off."""
    for item in track(range(10), "run"):
        if item == 5:
            break
    assert progress_of(captured)[-1] == 0.5


def test_more_items_than_announced_stay_below_one(captured: CapturedProgress) -> None:
    """A ValueError in the middle of a loop because the total was a guess."""
    assert len(list(track(iter(range(10)), "run", total=5))) == 10
    assert max(progress_of(captured)) == 1.0


def _reading(run_id: str) -> Iterator[int]:
    with run_progress(run_id) as run, run.span(0.2, 0.4):
        yield from range(3)


def test_blocks_in_generators_may_be_left_in_any_order(captured: CapturedProgress) -> None:
    """A run that was left, and is the current one ever after: begun again, it never starts and never ends."""
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


def test_a_block_may_be_closed_in_another_context(captured: CapturedProgress) -> None:
    """An async generator, closed by another task, that raises; or leaves that task without its own run."""

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
        # this task's context has not heard of the end
        assert current_run_id() is None
        assert current_span("read").high == 1.0
        with run_progress("read") as run:
            run.update(0.5)

    asyncio.run(work())
    told = [(event.kind, event.state, event.progress) for event in captured.of("read")]
    assert told[3:] == [("start", "STARTED", None), ("event", None, 0.5), ("event", "END", None)]
