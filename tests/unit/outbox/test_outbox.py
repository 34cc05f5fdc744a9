"""The outbox: which updates coalesce, how batches are made, and that numbers have no holes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runrelay.outbox import outbox as outbox_module
from runrelay.outbox.outbox import BATCH_EVENTS, CALL_RUNS, RENUMBER_S, Outbox
from runrelay.outbox.scopes import TaskScope
from runrelay.progress import Event, make_event
from runrelay.runlog import Committed
from tests.support.outbox import outbox_of, publish, waiting


def committed(given_attempt: int = 1, given_step_attempt: int = 0) -> Committed:
    return Committed("e" * 12, 0, 1, "running", 1, given_attempt, given_step_attempt, True, True, 0, 0)


def test_adjacent_progress_only_updates_coalesce_to_the_latest() -> None:
    """A queue that keeps every update of a loop of a million rounds."""
    outbox = outbox_of()
    for i in range(1000):
        publish(outbox, "run", "WORK", i / 1000)
    (event,) = waiting(outbox, "run")
    assert (event.state, event.progress) == ("WORK", 0.999)
    assert outbox.counts.coalesced == 999


def test_coalescing_keeps_the_higher_progress() -> None:
    """A progress that is lost because a lower one was published after it."""
    outbox = outbox_of()
    publish(outbox, "run", None, 0.7)
    publish(outbox, "run", None, 0.3)
    assert [event.progress for event in waiting(outbox, "run")] == [0.7]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"progress": 0.1, "log": "a line"}, {"progress": 0.2}),
        ({"progress": 0.1}, {"progress": 0.2, "log": "a line"}),
        ({"progress": 0.1, "state": "A"}, {"progress": 0.2, "state": "B"}),
        ({"progress": 0.1}, {"progress": 0.2, "state": "A"}),
        ({"progress": 0.1, "step": "a"}, {"progress": 0.2, "step": "b"}),
        ({"progress": 0.1, "attempt": 1}, {"progress": 0.2, "attempt": 2}),
        ({"progress": 0.1, "level": "debug"}, {"progress": 0.2}),
        ({"progress": 0.1, "data": {"x": 1}}, {"progress": 0.2}),
        ({"progress": 0.1}, {"progress": 0.2, "data": {"x": 1}}),
        ({"progress": 0.1}, {"progress": 1.0, "state": "END"}),
        ({"progress": 0.1}, {"state": "FAILED", "progress": 0.2, "error": "it broke"}),
        ({"state": "A"}, {"progress": 0.2, "state": "A"}),
    ],
)
def test_events_that_are_no_adjacent_updates_do_not_coalesce(
    first: dict[str, object], second: dict[str, object]
) -> None:
    """A line, a state or an end that a later update has replaced."""
    outbox = outbox_of()
    publish(outbox, "run", **first)
    publish(outbox, "run", **second)
    assert len(waiting(outbox, "run")) == 2


def test_an_update_in_flight_does_not_coalesce() -> None:
    """An update that replaces one in flight: lost, or numbered twice."""
    outbox = outbox_of()
    publish(outbox, "run", None, 0.1)
    (batch,) = outbox.take(0.0)
    publish(outbox, "run", None, 0.2)
    assert [event.progress for event in batch.events] == [0.1]
    assert [event.progress for event in waiting(outbox, "run")] == [0.2]


def test_updates_of_different_scopes_do_not_coalesce() -> None:
    """An update of a task that was replaced, committed as one of its successor."""
    outbox = outbox_of()
    for scope in (TaskScope("run"), TaskScope("run")):
        outbox.append("run", make_event(progress=0.5), scope)
    assert len(waiting(outbox, "run")) == 2


def test_one_batch_of_a_run_is_in_flight_at_a_time() -> None:
    """A batch that is committed before the one before it."""
    outbox = outbox_of()
    publish(outbox, "a", log="one")
    (first,) = outbox.take(0.0)
    publish(outbox, "a", log="two")
    publish(outbox, "b", log="other")
    assert [batch.queue.run_id for batch in outbox.take(0.0)] == ["b"]
    outbox.settle(first)
    (second,) = outbox.take(0.0)
    assert (second.producer, first.first, second.first) == (first.producer, 1, 2)


def test_batches_and_calls_are_bounded() -> None:
    """A batch that is too large for one script call, or runs that never get into a call."""
    outbox = outbox_of()
    for i in range(BATCH_EVENTS + 1):
        publish(outbox, "run-0", log=f"line {i}")
    for i in range(1, CALL_RUNS + 10):
        publish(outbox, f"run-{i}", log="line")
    batches = outbox.take(0.0)
    assert len(batches) == CALL_RUNS
    assert len(batches[0].events) == BATCH_EVENTS
    for batch in batches:
        outbox.settle(batch)
    rest = outbox.take(0.0)
    assert {batch.queue.run_id for batch in rest} == {*(f"run-{i}" for i in range(CALL_RUNS, CALL_RUNS + 10)), "run-0"}


def test_long_lines_make_smaller_batches() -> None:
    """A batch of more bytes than Redis or a proxy accepts."""
    outbox = outbox_of()
    for _ in range(200):
        publish(outbox, "run", log="x" * 16_000)
    (batch,) = outbox.take(0.0)
    assert 60 <= len(batch.events) <= 70


def test_a_start_is_the_last_of_its_batch_and_fences_later_events() -> None:
    """Events of a task that are sent before their attempt is known."""
    outbox = outbox_of()
    scope = TaskScope("run")
    publish(outbox, "run", log="before")
    start = make_event("STARTED")._replace(kind="start")
    outbox.append("run", start, scope)
    outbox.append("run", make_event(log="mine"), scope)
    outbox.append("run", make_event(log="explicit", attempt=7), scope)
    (first,) = outbox.take(0.0)
    assert [event.log or event.kind for event in first.events] == ["before", "start"]
    scope.begun(start, committed(given_attempt=3))
    outbox.settle(first)
    (second,) = outbox.take(0.0)
    assert [event.attempt for event in second.events] == [3, 7]


def test_the_start_of_a_step_fences_only_the_step() -> None:
    """A member of a canvas whose own attempt is taken for the run's, or fences another step."""
    outbox = outbox_of()
    scope = TaskScope("run", "render", attempt=2)
    start = make_event(step="render")._replace(kind="step_start", attempt=2)
    outbox.append("run", start, scope)
    outbox.append("run", make_event(progress=0.5, step="render"), scope)
    outbox.append("run", make_event(progress=0.5, step="other"), scope)
    (first,) = outbox.take(0.0)
    scope.begun(start, committed(given_attempt=9, given_step_attempt=4))
    outbox.settle(first)
    (second,) = outbox.take(0.0)
    assert [(event.attempt, event.step_attempt) for event in second.events] == [(2, 4), (2, None)]


def test_the_start_of_a_step_within_a_scope_is_fenced_and_fences_nothing() -> None:
    """A task that was replaced and starts a step of its successor, or a scope that takes the step's attempt as its
    own."""
    outbox = outbox_of()
    scope = TaskScope("run", attempt=2)
    inner = make_event(step="render")._replace(kind="step_start")
    outbox.append("run", inner, scope)
    outbox.append("run", make_event(progress=0.5, step="render"), scope)
    (first,) = outbox.take(0.0)
    assert [(event.attempt, event.step_attempt) for event in first.events] == [(2, None)]
    scope.begun(inner, committed(given_attempt=9, given_step_attempt=4))
    assert (scope.attempt, scope.step_attempt) == (2, None)


def test_an_event_with_a_follow_up_is_the_last_of_its_batch() -> None:
    """A follow-up in the same batch as the event that it depends on."""
    outbox = outbox_of()
    outbox.append("run", make_event("FAILED", step="a"), None, make_event("FAILED"))
    publish(outbox, "run", log="later")
    (batch,) = outbox.take(0.0)
    assert len(batch.events) == 1


def test_a_run_that_was_idle_for_long_gets_a_new_producer() -> None:
    """Numbers that go on after the script has forgotten the producer: a gap, and a new epoch for every client."""
    outbox = outbox_of()
    names = []
    for now_s in (10_000.0, 10_000.0 + RENUMBER_S - 1, 10_000.0 + 3 * RENUMBER_S):
        publish(outbox, "run", log="line")
        (batch,) = outbox.take(now_s)
        outbox.settle(batch)
        names.append((batch.producer, batch.first))
    assert names[0][0] == names[1][0]
    assert names[2][0] != names[0][0]
    assert [first for _, first in names] == [1, 2, 1]


def test_idle_runs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that remembers every run for ever, or forgets one with waiting events."""
    monkeypatch.setattr(outbox_module, "IDLE_QUEUES", 10)
    outbox = outbox_of()
    publish(outbox, "waits", log="line")
    (in_flight,) = outbox.take(0.0)
    for i in range(50):
        publish(outbox, f"run-{i}", log="line")
        for batch in outbox.take(float(i)):
            outbox.settle(batch)
    assert outbox.statistics().queues <= 11
    assert outbox.batches() == [in_flight]


def test_a_full_ingress_is_sorted_by_the_publishing_thread() -> None:
    """Ingress without a bound while the flusher waits for Redis."""
    outbox = outbox_of()
    for i in range(10_000):
        publish(outbox, "run", log=f"line {i}")
        assert len(outbox.ingress) <= outbox.ingress_limit
    assert [event.log for event in waiting(outbox, "run")] == [f"line {i}" for i in range(10_000)]


def test_a_signal_handler_during_the_sorting_keeps_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler that publishes during the sorting, and sorts later events first, or waits for its own thread."""
    outbox = outbox_of()
    enqueue = Outbox._enqueue

    def interrupted(self: Outbox, run_id: str, event: Event, *rest: object) -> None:
        if event.log == "line 1":
            publish(self, "run", log="from the handler")
            self.sort()
        enqueue(self, run_id, event, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Outbox, "_enqueue", interrupted)
    for i in range(3):
        publish(outbox, "run", log=f"line {i}")
    assert [event.log for event in waiting(outbox, "run")] == ["line 0", "line 1", "line 2", "from the handler"]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("progress"), st.integers(0, 2), st.floats(0, 1)),
            st.tuples(st.just("log"), st.integers(0, 2), st.just(0.0)),
            st.tuples(st.just("take"), st.just(0), st.just(0.0)),
            st.tuples(st.just("settle"), st.just(0), st.just(0.0)),
        ),
        max_size=80,
    )
)
@settings(deadline=None)
def test_numbers_have_no_holes_and_lines_keep_their_order(actions: list[tuple[str, int, float]]) -> None:
    """A line lost, doubled or out of order, or a number left out or given twice, in any interleaving."""
    outbox = outbox_of()
    published: dict[str, list[str]] = {}
    sent: dict[str, list[Event]] = {}
    numbers: dict[str, int] = {}
    flying = []

    def take() -> None:
        for batch in outbox.take(0.0):
            run_id = batch.queue.run_id
            assert batch.first == numbers.get(run_id, 1)
            numbers[run_id] = batch.first + len(batch.events)
            sent.setdefault(run_id, []).extend(batch.events)
            flying.append(batch)

    for count, (action, run, value) in enumerate(actions):
        if action == "progress":
            publish(outbox, f"run-{run}", None, value)
        elif action == "log":
            publish(outbox, f"run-{run}", log=f"{count}")
            published.setdefault(f"run-{run}", []).append(f"{count}")
        elif action == "take":
            take()
        elif flying:
            outbox.settle(flying.pop(0))
    while flying or outbox.waiting():
        while flying:
            outbox.settle(flying.pop(0))
        take()
    assert {run: [e.log for e in events if e.log] for run, events in sent.items() if run in published} == published
    assert outbox.bytes == 0
