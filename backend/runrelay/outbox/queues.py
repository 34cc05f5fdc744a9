"""The queue of one run: its waiting events, its batch in flight, and the numbers of its next events. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from ..progress import TERMINAL_STATES, Event
from ..progress.fields import LARGE, NOTHING_LARGE
from ..runlog import ProducerSequence
from .scopes import STARTS, TaskScope

__all__ = [
    "EVENT_BYTES",
    "InFlightBatch",
    "QueuedEvent",
    "RunQueue",
    "coalesced",
    "dropped_note",
    "event_bytes",
]

EVENT_BYTES: Final = 400
"""Memory that an event without text takes: the tuple, its numbers, its entry, their places in the queues."""


class QueuedEvent:
    """A waiting event, with what the flusher must know of it."""

    __slots__ = ("dropped_lines", "event", "follow", "scope", "serial", "size_bytes")

    def __init__(
        self,
        event: Event,
        scope: TaskScope | None,
        size_bytes: int,
        serial: int,
        follow: Event | None = None,
    ) -> None:
        self.event: Event | None = event
        """None: dropped while it waited."""
        self.scope = scope
        self.size_bytes = size_bytes
        self.serial = serial
        """Its number among all events of its run in this process, from 1; not the number that is committed."""
        self.follow = follow
        """Published next, if this event is committed and not fenced."""
        self.dropped_lines = 0
        """If the event is the line that says how many log lines were dropped: how many."""

    def fenced(self) -> Event:
        """The event as it is sent, with the attempts of its scope.

        Raises:
            ValueError: the event was dropped.
        """
        if self.event is None:
            raise ValueError("an event that was dropped cannot be sent")
        return self.event if self.scope is None else self.scope.fence(self.event)

    @property
    def ends_batch(self) -> bool:
        """Whether later events depend on what becomes of this one, so that it must be the last of its batch."""
        return self.follow is not None or (self.event is not None and self.event.kind in STARTS)

    @property
    def ends_run(self) -> bool:
        """Whether this is the end of its run."""
        return self.event is not None and self.event.step is None and self.event.state in TERMINAL_STATES


class InFlightBatch:
    """A numbered batch in flight. The same batch is sent again until it is known what became of it (idempotent)."""

    __slots__ = ("entries", "events", "first", "producer", "queue", "size_bytes", "spooled")

    def __init__(self, queue: RunQueue, entries: list[QueuedEvent]) -> None:
        self.queue = queue
        self.entries = entries
        self.events = [entry.fenced() for entry in entries]
        self.producer = queue.sequence.producer
        self.first = queue.sequence.next
        self.size_bytes = sum(entry.size_bytes for entry in entries)
        self.spooled = False
        """Also in the spool, in case this process dies."""
        queue.sequence.next += len(entries)

    @property
    def lines(self) -> int:
        """How many of the events have a log line."""
        return sum(event.log is not None for event in self.events)


class RunQueue:
    """The events of one run that are not settled yet. Guarded by the outbox's lock."""

    __slots__ = (
        "batch",
        "data_ignored",
        "indexed_s",
        "items",
        "queued",
        "rejected",
        "run_id",
        "sequence",
        "serial",
        "spooled",
        "spooled_end",
        "spooled_lines",
        "used_s",
    )  # fmt: skip

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.items: deque[QueuedEvent] = deque()
        self.sequence = ProducerSequence.fresh()
        self.batch: InFlightBatch | None = None
        self.data_ignored = False
        """It was logged that an event's data was not merged into the run's."""
        self.queued = False
        """In the list of queues that the flusher takes from, or will be again when its batch is settled."""
        self.serial = 0
        self.used_s = 0.0
        """When a batch was last taken from it (monotonic)."""
        self.indexed_s = float("-inf")
        """When the run was last entered in the list of runs (monotonic)."""
        self.rejected = False
        """A batch of this run was given up, and that was logged once."""
        self.spooled = 0
        """Events of this run that wait in the spool. They are older than those in `items`."""
        self.spooled_lines = 0
        """Log lines among them."""
        self.spooled_end: QueuedEvent | None = None
        """The run's end, if it is the last of them: if the spool is lost, the run still ends."""

    @property
    def idle(self) -> bool:
        """Whether no event of this run waits, anywhere."""
        return not self.items and self.batch is None and not self.spooled

    def lose_spooled(self, now_ms: int) -> tuple[int, int, int]:
        """Give up the spooled events: they cannot be read. One log line says how many lines are lost; the end stays.

        Returns how many lines are lost, how many events without a line, and the bytes that are in memory now instead.
        """
        end, lines, instead = self.spooled_end, self.spooled_lines, []
        if end is not None and end.event is not None and end.event.log is not None:
            lines -= 1
        if lines:
            note = Event(now_ms, log=dropped_note(lines), level="warning")
            instead.append(QueuedEvent(note, None, event_bytes(note), 0))
            instead[0].dropped_lines = lines
        if end is not None:
            instead.append(end)
        self.items.extendleft(reversed(instead))
        self.sequence = ProducerSequence.fresh()  # it is not known which of the old numbers were committed
        return lines, self.spooled - lines - (end is not None), sum(entry.size_bytes for entry in instead)

    def settled_up_to(self, serial: int) -> bool:
        """Whether no event with this serial or a lower one waits any more."""
        if self.batch is not None and self.batch.entries[0].serial <= serial:
            return False
        return not self.spooled and (not self.items or self.items[0].serial > serial)


def dropped_note(lines: int) -> str:
    """The line in a run's log that stands for lines that were given up."""
    return f"… {lines} lines dropped"


def event_bytes(event: Event) -> int:
    """About how much memory an event takes: for the outbox's bound."""
    size = EVENT_BYTES if event.log is None else EVENT_BYTES + event.log.__sizeof__()
    large: Any = event[LARGE]
    if large != NOTHING_LARGE:
        size += sum([value.__sizeof__() for value in large if value is not None])
    return size


def coalesced(last: QueuedEvent, event: Event, scope: TaskScope | None) -> Event | None:
    """Coalesce the waiting `last` and `event` into one event. Returns None if both must be kept.

    Only adjacent progress-only updates with the same run, step, attempt, state and level are coalesced. The result is
    the later event with the higher progress: within an attempt a run's progress never goes down, so that the commit
    script would have kept the earlier one's.
    """
    before = last.event
    if (
        before is None
        or before.state != event.state
        or before.step != event.step
        or before.attempt != event.attempt
        or before.level != event.level
        or last.scope is not scope
        or not before.is_progress_only
        or not event.is_progress_only
    ):
        return None
    if before.progress is not None and event.progress is not None and before.progress > event.progress:
        return event._replace(progress=before.progress)
    return event
