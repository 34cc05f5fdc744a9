"""Boxes: what waits of one run, and the numbers that its next events will get. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

from ..progress import TERMINAL_STATES, Event
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
"""What an event without text takes in memory: the tuple, its numbers, its entry, their places in the queues."""


class QueuedEvent:
    """An event that waits, with what the flusher must know beside it."""

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
        """None: it was dropped while it waited."""
        self.scope = scope
        self.size_bytes = size_bytes
        self.serial = serial
        """Its place among all events of its run in this process."""
        self.follow = follow
        """What is published next of this run if this event is committed and not fenced."""
        self.dropped_lines = 0
        """How many log lines this entry stands for, if it is the one that says so."""

    def fenced(self) -> Event:
        """The event as it is sent: with the attempts of its scope."""
        if self.event is None:
            raise ValueError("an entry that was dropped cannot be sent")
        return self.event if self.scope is None else self.scope.fence(self.event)

    @property
    def ends_batch(self) -> bool:
        """Whether what comes after this event depends on what becomes of it."""
        return self.follow is not None or (self.event is not None and self.event.kind in STARTS)

    @property
    def ends_run(self) -> bool:
        """Whether this is the end of its run."""
        return self.event is not None and self.event.step is None and self.event.state in TERMINAL_STATES


class InFlightBatch:
    """A numbered batch on its way. It is sent again, the same, until it is known what became of it."""

    __slots__ = ("entries", "events", "first", "producer", "queue", "size_bytes", "spooled")

    def __init__(self, queue: RunQueue, entries: list[QueuedEvent]) -> None:
        self.queue = queue
        self.entries = entries
        self.events = [entry.fenced() for entry in entries]
        self.producer = queue.sequence.producer
        self.first = queue.sequence.next
        self.size_bytes = sum(entry.size_bytes for entry in entries)
        self.spooled = False
        """It is in the spool too, in case that this process dies."""
        queue.sequence.next += len(entries)

    @property
    def lines(self) -> int:
        """How many of the events bring a log line."""
        return sum(event.log is not None for event in self.events)


class RunQueue:
    """What waits of one run."""

    __slots__ = (
        "batch",
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
        self.queued = False
        """It is among the queues that the flusher will take next, or will come back to them when its batch settles."""
        self.serial = 0
        self.used_s = 0.0
        """When the flusher last took from it (monotonic)."""
        self.indexed_s = float("-inf")
        """When the run was last entered in the list of runs (monotonic)."""
        self.rejected = False
        """A batch of this run was given up, and the log says so."""
        self.spooled = 0
        """Events of this run that wait in the spool. They are older than those in `items`."""
        self.spooled_lines = 0
        """Log lines among them."""
        self.spooled_end: QueuedEvent | None = None
        """The run's end, if it is the last of them: if the spool is lost, the run still ends."""

    @property
    def idle(self) -> bool:
        """Whether nothing of this run waits."""
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
        self.sequence = ProducerSequence.fresh()  # what became of the old numbers is not known
        return lines, self.spooled - lines - (end is not None), sum(entry.size_bytes for entry in instead)

    def settled_up_to(self, serial: int) -> bool:
        """Whether nothing with this serial or a lower one waits any more."""
        if self.batch is not None and self.batch.entries[0].serial <= serial:
            return False
        return not self.spooled and (not self.items or self.items[0].serial > serial)


def dropped_note(lines: int) -> str:
    """The line that a run's log has in place of those that were given up."""
    return f"… {lines} lines dropped"


def event_bytes(event: Event) -> int:
    """What an event takes in memory, roughly: for the outbox's bound."""
    size = EVENT_BYTES
    if event.log is not None:
        size += event.log.__sizeof__()
    if event.data is not None:
        size += len(event.data)
    if event.result is not None:
        size += len(event.result)
    if event.error is not None:
        size += event.error.__sizeof__()
    return size


def coalesced(last: QueuedEvent, event: Event, scope: TaskScope | None) -> Event | None:
    """The one event that can take the place of the waiting `last` and `event`, or None if both must be kept.

    Only adjacent progress-only updates with the same run, step, attempt, state and level collapse. The later one stays,
    with the higher progress: within an attempt a run's progress never goes down, so the earlier one's would have stood.
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
