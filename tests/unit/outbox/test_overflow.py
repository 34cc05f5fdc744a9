"""The drop policy: which events a full outbox drops, in which order, and which never."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from runrelay.outbox.outbox import Outbox
from runrelay.outbox.queues import EVENT_BYTES
from runrelay.progress import TERMINAL_STATES, make_event
from tests.support.outbox import outbox_of, publish, waiting

BOUND = 64 * 1024


def held(outbox: Outbox, run_id: str = "run") -> list[tuple[str | None, str | None, float | None]]:
    return [(event.state, event.log, event.progress) for event in waiting(outbox, run_id)]


def test_the_oldest_updates_go_before_any_line() -> None:
    """Log lines that are dropped while progress-only updates are kept."""
    outbox = outbox_of(BOUND)
    publish(outbox, "run", log="the first line")
    for i in range(120):
        publish(outbox, "run", None, i / 1000, level="info" if i % 2 else "debug")  # adjacent ones do not coalesce
    outbox.sort()
    assert outbox.counts.dropped_updates == 0
    for i in range(60):
        publish(outbox, "run", log=f"line {i}")
    logs = [log for _, log, _ in held(outbox) if log]
    kept = [progress for _, log, progress in held(outbox) if not log and progress is not None]
    assert logs == ["the first line", *(f"line {i}" for i in range(60))]
    assert 0 < len(kept) < 120
    assert kept == [i / 1000 for i in range(120 - len(kept), 120)]  # the newest
    assert outbox.counts.dropped_lines == 0


def test_the_oldest_lines_are_dropped_and_one_line_says_how_many() -> None:
    """Lines that are dropped without a notice, or with a notice for each of them."""
    outbox = outbox_of(BOUND)
    for i in range(1000):
        publish(outbox, "run", log=f"line {i}")
    logs = [log for _, log, _ in held(outbox)]
    dropped = outbox.counts.dropped_lines
    assert dropped > 800
    assert logs == [f"… {dropped} lines dropped", *(f"line {i}" for i in range(dropped, 1000))]
    assert outbox.bytes <= BOUND


def test_a_state_is_never_dropped_only_its_line() -> None:
    """A run that skips a state, or never ends, because Redis was away."""
    outbox = outbox_of(BOUND)
    states = [f"STATE {i}" for i in range(20)]
    for state in states:
        for i in range(100):
            publish(outbox, "run", state, None, f"line {i}")
    publish(outbox, "run", "FAILED", error="it broke", log="the last line")
    for i in range(1000):
        publish(outbox, "other", log=f"line {i}")
    found: list[str | None] = []
    for held_state, _, _ in held(outbox):
        if held_state is not None and (not found or found[-1] != held_state):
            found.append(held_state)
    assert found == [*states, "FAILED"]
    assert held(outbox)[-1] == ("FAILED", "the last line", None)
    assert [log for _, log, _ in held(outbox) if log and log.startswith("…")]


def test_states_may_exceed_the_bound() -> None:
    """An end that is dropped because the outbox is full."""
    outbox = outbox_of(BOUND)
    for i in range(400):
        publish(outbox, "run", f"STATE {i}")
    publish(outbox, "run", "END")
    assert [state for state, _, _ in held(outbox)] == [*(f"STATE {i}" for i in range(400)), "END"]
    assert outbox.bytes > BOUND


def test_starts_and_ends_of_steps_are_never_dropped() -> None:
    """A task whose attempt is never allocated, or a step that never ends."""
    outbox = outbox_of(BOUND)
    outbox.append("run", make_event("STARTED")._replace(kind="start"))
    publish(outbox, "run", "END", step="plan", result={"scenes": 3})
    for i in range(1000):
        publish(outbox, "run", log=f"line {i}")
    first, second = waiting(outbox, "run")[:2]
    assert (first.kind, second.state, second.step) == ("start", "END", "plan")


def test_the_oldest_lines_of_all_runs_are_dropped_first() -> None:
    """A run whose lines are dropped for another run's, although they are newer."""
    outbox = outbox_of(BOUND)
    for i in range(200):
        outbox.append("old", make_event(log=f"line {i}", ts_ms=i))
    outbox.sort()
    dropped = outbox.counts.dropped_lines
    for i in range(50):
        outbox.append("new", make_event(log=f"line {i}", ts_ms=1000 + i))
    assert [log for _, log, _ in held(outbox, "new")] == [f"line {i}" for i in range(50)]
    assert outbox.counts.dropped_lines >= dropped + 40


def test_events_in_flight_are_not_dropped() -> None:
    """A batch that changes while it is being sent."""
    outbox = outbox_of(BOUND)
    publish(outbox, "run", log="in flight")
    (batch,) = outbox.take(0.0)
    for i in range(1000):
        publish(outbox, "run", log=f"line {i}")
    outbox.sort()
    assert [event.log for event in batch.events] == ["in flight"]
    assert held(outbox)[0][1] == f"… {outbox.counts.dropped_lines} lines dropped"


def test_each_outage_has_a_notice_of_its_own() -> None:
    """One notice for two outages, at a place where no line is missing."""
    outbox = outbox_of(BOUND)
    notes = []
    for outage in range(2):
        for i in range(500):
            publish(outbox, "run", log=f"outage {outage} line {i}")
        outbox.sort()
        while batches := outbox.take(0.0):
            for batch in batches:
                notes += [event.log for event in batch.events if event.log and event.log.startswith("…")]
                outbox.settle(batch)
    assert len(notes) == 2
    assert sum(int(str(note).split()[1]) for note in notes) == outbox.counts.dropped_lines


def test_memory_stays_flat_however_long_redis_is_away() -> None:
    """Places of dropped events that stay in the queue for ever."""
    outbox = outbox_of(BOUND)
    publish(outbox, "run", "A")
    for i in range(50_000):
        publish(outbox, "run", "A", None, f"line {i}")
    outbox.sort()
    places = sum(len(queue.items) for queue, _ in outbox.waiting())
    assert places < 10 * BOUND // EVENT_BYTES + 1500
    assert outbox.bytes <= BOUND


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from([None, None, None, "S1", "S2", "S3"]),
        st.sampled_from([None, 0.5, 0.6]),
        st.sampled_from([None, "x" * 200, "y" * 2000]),
        st.integers(1, 40),
    ),
    max_size=40,
)


@given(ACTIONS)
@settings(deadline=None)
def test_states_and_ends_are_kept_and_every_line_is_kept_or_counted(
    actions: list[tuple[str, str | None, float | None, str | None, int]],
) -> None:
    """A state that is skipped, an order that changes, or a line that is neither kept nor counted."""
    outbox = outbox_of(BOUND)
    states: dict[str, list[str]] = {"a": [], "b": []}
    lines = {"a": 0, "b": 0}
    for run_id, state, progress, log, times in actions:
        for _ in range(times):
            publish(outbox, run_id, state, progress, log)
            lines[run_id] += log is not None
        if state is not None and (not states[run_id] or states[run_id][-1] != state):
            states[run_id].append(state)
    for run_id in states:
        publish(outbox, run_id, "END")
        states[run_id].append("END")
    for run_id, expected in states.items():
        found: list[str] = []
        kept = counted = 0
        for event in waiting(outbox, run_id):
            if event.state is not None and (not found or found[-1] != event.state):
                found.append(event.state)
            if event.log is not None and event.log.startswith("… "):
                counted += int(event.log.split()[1])
            else:
                kept += event.log is not None
        assert found == expected
        assert kept + counted == lines[run_id]
        assert waiting(outbox, run_id)[-1].state in TERMINAL_STATES
