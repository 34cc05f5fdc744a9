"""The drop policy: which events a full outbox gives up when Redis is away for long, and which it never does. Pure.

The oldest progress-only updates are dropped first, then the oldest log lines. One line per run says how many were
dropped. An event that changes the state, ends a run or a step, or controls it is never dropped; only its log line is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from ..progress import TERMINAL_STATES, Event
from ..progress.fields import CONTROLS, NO_CONTROLS
from .queues import QueuedEvent, RunQueue, dropped_note, event_bytes

__all__ = ["DropPolicy"]

_DEAD_KEPT: Final = 1000


class _Droppable(NamedTuple):
    queue: RunQueue
    entry: QueuedEvent
    brings_state: bool


class DropPolicy:
    """The waiting events that may be dropped, oldest first. Made when the outbox overflows, then kept up to date."""

    def __init__(self, queues: Iterable[RunQueue]) -> None:
        self._updates: deque[_Droppable] = deque()
        self._lines: deque[_Droppable] = deque()
        self._states: dict[str, str] = {}
        self._notes: dict[str, QueuedEvent] = {}
        self._dead: dict[str, int] = {}
        self.dropped_updates = 0
        self.dropped_lines = 0
        waiting = [(queue, entry) for queue in queues for entry in queue.items]
        waiting.sort(key=lambda pair: 0 if pair[1].event is None else pair[1].event.ts_ms)
        for queue, entry in waiting:
            self.add(queue, entry)

    def add(self, queue: RunQueue, entry: QueuedEvent) -> None:
        """Take note of an entry that was appended to its queue."""
        event = entry.event
        if event is None:
            return
        brings_state = event.state is not None and event.state != self._states.get(queue.run_id)
        if event.state is not None:
            self._states[queue.run_id] = event.state
        if entry.dropped_lines:
            self._notes[queue.run_id] = entry
            return
        if _is_control(event):
            return
        if not brings_state and event.log is None and event.data is None:
            self._updates.append(_Droppable(queue, entry, brings_state))
        elif not brings_state or event.log is not None:
            self._lines.append(_Droppable(queue, entry, brings_state))

    def drop_one(self) -> int | None:
        """Drop one update or one log line. Returns the bytes that this frees, or None if nothing may be dropped."""
        while self._updates:
            queue, entry, _ = self._updates.popleft()
            if entry.event is not None and _waits(queue, entry):
                self.dropped_updates += 1
                return self._drop(queue, entry)
        while self._lines:
            droppable = self._lines.popleft()
            event = droppable.entry.event
            if event is not None and _waits(droppable.queue, droppable.entry):
                if event.log is None:
                    self.dropped_updates += 1
                    return self._drop(droppable.queue, droppable.entry)
                self.dropped_lines += 1
                return self._drop_line(droppable, event)
        return None

    def _drop_line(self, droppable: _Droppable, event: Event) -> int:
        queue, entry, brings_state = droppable
        before = entry.size_bytes
        note = self._notes.get(queue.run_id)
        if note is None or note.event is None or not _waits(queue, note):
            # The first dropped line is replaced by the note. The event keeps its place and its other fields.
            entry.dropped_lines = 1
            entry.event = event._replace(log=dropped_note(1), level="warning", data=None)
            entry.size_bytes = event_bytes(entry.event)
            self._notes[queue.run_id] = entry
            return before - entry.size_bytes
        note.dropped_lines += 1
        note.event = note.event._replace(log=dropped_note(note.dropped_lines))
        if not brings_state:
            return self._drop(queue, entry)
        entry.event = event._replace(log=None)
        entry.size_bytes = event_bytes(entry.event)
        return before - entry.size_bytes

    def _drop(self, queue: RunQueue, entry: QueuedEvent) -> int:
        entry.event = None
        dead = self._dead[queue.run_id] = self._dead.get(queue.run_id, 0) + 1
        # A dropped entry stays in its queue, empty, until it is at the head, or half of a long queue is empty.
        while queue.items and queue.items[0].event is None:
            queue.items.popleft()
        if dead > _DEAD_KEPT and dead > len(queue.items) // 2:
            queue.items = deque(entry for entry in queue.items if entry.event is not None)
            self._dead[queue.run_id] = 0
        return entry.size_bytes


def _is_control(event: Event) -> bool:
    return event[CONTROLS] != NO_CONTROLS or event.state in TERMINAL_STATES


def _waits(queue: RunQueue, entry: QueuedEvent) -> bool:
    """Whether the entry is still in its queue, neither in flight nor committed."""
    return bool(queue.items) and entry.serial >= queue.items[0].serial
