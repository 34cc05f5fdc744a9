"""For your own tests: what your code publishes is captured, and neither Redis nor a relay is needed.

    from runrelay.testing import capture_progress

    def test_my_task() -> None:
        with capture_progress() as progress:
            my_task("run-1")
        assert progress.states("run-1") == ["PLOT", "RENDERING", "END"]

With pytest, `pytest_plugins = ["runrelay.testing"]` in your conftest.py gives the fixture `captured_progress`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from .outbox.scopes import STARTS, TaskScope
from .progress import TERMINAL_STATES, Event, check_run_id
from .publisher.publish import use_sink
from .runlog import Committed

__all__ = ["CapturedEvent", "CapturedProgress", "capture_progress"]


class CapturedEvent(Event):
    """One event, as it was published: all fields of an event, `data` and `result` decoded, and its run's id."""

    run_id: str
    data: Any
    result: Any

    @staticmethod
    def of(run_id: str, event: Event, attempt: int | None) -> CapturedEvent:
        """An event of a run; `attempt` is that of the task's scope."""
        fields = event._asdict()
        for name in ("data", "result"):
            if fields[name] is not None:
                fields[name] = orjson.loads(fields[name])
        captured = CapturedEvent(**{**fields, "attempt": attempt})
        captured.run_id = run_id
        return captured


class CapturedProgress:
    """What was published within `capture_progress`, in order."""

    down = False

    def __init__(self) -> None:
        self.events: list[CapturedEvent] = []
        self._steps: dict[str, dict[str, str | None]] = {}
        """Per run its steps, and the terminal state of each that has ended."""
        self._errors: dict[str, str] = {}
        """Per run whose canvas will fail: why."""
        self._finished: set[str] = set()

    def of(self, run_id: str) -> list[CapturedEvent]:
        """The events of one run."""
        return [event for event in self.events if event.run_id == run_id]

    def states(self, run_id: str) -> list[str]:
        """The run's states, each change once. The end of a step is not one of them."""
        seen: list[str] = []
        for event in self.of(run_id):
            if event.state is None or (event.step is not None and event.state in TERMINAL_STATES):
                continue
            if not seen or seen[-1] != event.state:
                seen.append(event.state)
        return seen

    def logs(self, run_id: str) -> list[str]:
        """The lines of the run's log."""
        return [event.log for event in self.of(run_id) if event.log]

    def progress(self, run_id: str) -> float | None:
        """The run's progress 0..1: the highest so far, 1.0 after END. None if there is none."""
        values = [1.0 if event.state == "END" else event.progress for event in self.of(run_id) if event.step is None]
        return max((value for value in values if value is not None), default=None)

    def ended(self, run_id: str) -> CapturedEvent | None:
        """The event that ended the run, or None."""
        ends = (event for event in self.of(run_id) if event.step is None and event.state in TERMINAL_STATES)
        return next(ends, None)

    # the methods of a sink, in place of the process' publisher's

    def emit(self, run_id: str, event: Event, scope: TaskScope | None = None, follow: Event | None = None) -> None:
        """Keep an event. The end of a canvas is kept only if all of its steps have ended, as in the run log."""
        check_run_id(run_id)
        if event.kind == "finish":
            ended = self._finished_as(run_id, event)
            if ended is None:
                return
            event = ended
        else:
            self._note(run_id, event)
        attempt = event.attempt if scope is None or event.attempt is not None else scope.attempt
        self.events.append(CapturedEvent.of(run_id, event, attempt))
        if scope is not None and event.kind in STARTS:
            scope.begun(event, self._committed(event))
        if follow is not None:
            self.emit(run_id, follow)

    def _finished_as(self, run_id: str, event: Event) -> Event | None:
        """The event that ends a canvas, or None if it has ended already, or some of its steps have not."""
        steps = self._steps.setdefault(run_id, {})
        if event.error is not None:
            self._errors.setdefault(run_id, event.error)
        for name in _names(event.lost, steps):
            steps[name] = "END"
        if run_id in self._finished or not steps or not all(steps.values()):
            return None
        self._finished.add(run_id)
        bad = {"FAILED", "CANCELLED"}.intersection(filter(None, steps.values()))
        if not bad:
            return event if event.state == "END" else None
        state = "FAILED" if "FAILED" in bad else "CANCELLED"
        return event._replace(state=state, log=None, result=None, error=self._errors.get(run_id))

    def _note(self, run_id: str, event: Event) -> None:
        """Keep account of a run's steps."""
        steps = self._steps.setdefault(run_id, {})
        if event.kind in ("queue", "start"):
            self._finished.discard(run_id)
            self._errors.pop(run_id, None)
            steps.clear()
        for spec in event.steps or ():
            steps.setdefault(spec.name, None)
        if event.step is not None and (event.kind == "step_start" or not steps.get(event.step)):
            steps[event.step] = event.state if event.state in TERMINAL_STATES else None
            for name in _names(event.lost, steps):
                steps[name] = "END"  # it will not run: nothing waits for it

    def commit(self, run_id: str, event: Event) -> Committed:
        """Keep an event. Returns what an empty run log would."""
        self.emit(run_id, event)
        return self._committed(event)

    def flush(self, timeout_s: float, *, while_down: bool = True) -> bool:
        """Return True: no event waits."""
        del timeout_s, while_down
        return True

    def close(self) -> bool:
        """Return True: no event waits."""
        return True

    def _committed(self, event: Event) -> Committed:
        count, attempt = len(self.events), event.attempt or 1
        return Committed("captured0000", count - 1, count, "running", attempt, attempt, 1, False, False, 0, 0)


def _names(lost: bytes | None, steps: dict[str, str | None]) -> list[str]:
    """The names of the steps that will not run; see `Event.lost`."""
    names, found = list(steps), []
    for first, count in [] if lost is None else orjson.loads(lost):
        if first in steps:
            found += names[names.index(first) :][:count]
    return found


@contextmanager
def capture_progress() -> Iterator[CapturedProgress]:
    """Capture the events that this process publishes within the block, from all threads. None reaches Redis."""
    captured = CapturedProgress()
    before = use_sink(captured)
    try:
        yield captured
    finally:
        use_sink(before)


try:
    import pytest
except ModuleNotFoundError:  # pragma: no cover - without pytest there is no fixture
    pass
else:

    @pytest.fixture
    def captured_progress() -> Iterator[CapturedProgress]:
        """The events that the test's code publishes; see `capture_progress`."""
        with capture_progress() as captured:
            yield captured
