"""The outbox: what waits to be committed, in memory, bounded. The task's thread only appends; the flusher takes.

Nothing here does I/O, so that the lock is only ever held for microseconds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ..progress import Event
from ..progress.events import MAX_LOG_BYTES
from ..runlog import ProducerSequence
from .counts import Counts
from .overflow import DropPolicy
from .queues import InFlightBatch, QueuedEvent, RunQueue, coalesced, event_bytes
from .quick import Ingress, unpacked
from .scopes import TaskScope
from .wakeup import Wakeup

__all__ = ["Counts", "Outbox"]

BATCH_EVENTS: Final = 500
BATCH_BYTES: Final = 1024 * 1024
CALL_RUNS: Final = 64
"""Runs whose batches go in one round trip."""
CALL_BYTES: Final = 4 * 1024 * 1024
INGRESS_EVENTS: Final = 256
IDLE_QUEUES: Final = 10_000
RENUMBER_S: Final = 1800.0
"""The script forgets producers that were silent for an hour: one that was for half of it gets a new name."""
_RESERVE: Final = 16
"""One part in so many of the bound is kept for what is never dropped."""

_ROOM_S: Final = 0.5


class Outbox:
    """Events that wait, by run; at most one numbered batch of each run is in flight.

    What is published lands in `ingress`, without a lock: appending to a deque is atomic, cheap in a cold cache, and
    safe in signal handlers and finalizers. It is sorted into the runs' queues by the flusher before it takes; or, if
    that is busy or waits for Redis, by whoever finds `ingress` full. Only then is the bound looked at.

    `on_first` starts the flusher. While `is_draining` (Redis is there, and takes what it is given, only not as fast),
    whoever finds the outbox full waits a moment for room. Otherwise `on_full` is called, without the lock: it may move
    what waits elsewhere, and returns whether it has. Or else the policy of `overflow` drops.
    """

    def __init__(
        self,
        bound_bytes: int,
        *,
        on_first: Callable[[], None],
        on_full: Callable[[], bool] | None = None,
        is_draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self.bound_bytes = bound_bytes
        self.bytes = 0
        """What waits in queues and batches; `ingress` is not counted, but small."""
        self.counts = Counts()
        self.ingress: deque[Ingress] = deque()
        # So few that even lines of the greatest length fit in the reserve.
        self.ingress_limit = max(1, min(INGRESS_EVENTS, bound_bytes // _RESERVE // MAX_LOG_BYTES))
        self.wakeup = Wakeup(self._has_work, on_first)
        self.lock = threading.RLock()
        self._on_full = on_full
        self._is_draining = is_draining
        self._room = threading.Event()
        self._soft_bytes = bound_bytes - bound_bytes // _RESERVE
        # what is in flight cannot be dropped: in a small outbox it must not take the place of all that is newer
        self._batch_bytes = min(BATCH_BYTES, bound_bytes // 8)
        self._queues: dict[str, RunQueue] = {}
        self._ready: deque[RunQueue] = deque()
        self._drop_policy: DropPolicy | None = None
        self._sorting = False
        self._retired: list[tuple[str, str]] = []

    # the task's side (quick.py does the same, in fewer steps)

    def append(self, run_id: str, event: Event, scope: TaskScope | None = None, follow: Event | None = None) -> None:
        """Take a checked event; `follow` is published after it if it is committed and not fenced."""
        self.ingress.append((run_id, event, scope, follow))
        if self.wakeup.needs_notify:
            self.wakeup.notify()
        if len(self.ingress) > self.ingress_limit:
            self.sort()

    def sort(self) -> None:
        """Put what has come in into the runs' queues, and see that the bound holds."""
        self.sort_quietly()
        if self.bytes <= self._soft_bytes or self._waited_for_room():
            return
        if self._on_full is None or not self._on_full():
            with self.lock:
                self._drop()

    def _waited_for_room(self) -> bool:
        """Wait a moment for the flusher to make room, at most once per full ingress. Returns whether there is some."""
        deadline = time.monotonic() + _ROOM_S
        while self.bytes > self._soft_bytes:
            self._room.clear()
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._is_draining():
                return False
            self._room.wait(left_s)
        return True

    def sort_quietly(self) -> None:
        """Put what has come in into the runs' queues."""
        ingress = self.ingress
        with self.lock:
            if self._sorting:
                return  # a signal handler has interrupted the sorting: it goes on, in order, when the handler is done
            self._sorting = True
            try:
                while ingress:
                    self._enqueue(*unpacked(ingress.popleft()))
            finally:
                self._sorting = False

    def _enqueue(self, run_id: str, event: Event, scope: TaskScope | None, follow: Event | None) -> None:
        queue = self._queues.get(run_id) or self._new_queue(run_id)
        items = queue.items
        self.counts.appended += 1
        if items and event.log is None:
            last = items[-1]
            merged = coalesced(last, event, scope)
            if merged is not None:
                last.event = merged
                self.counts.coalesced += 1
                return
        queue.serial += 1
        entry = QueuedEvent(event, scope, event_bytes(event), queue.serial, follow)
        items.append(entry)
        self.bytes += entry.size_bytes
        if not queue.queued:
            queue.queued = True
            self._ready.append(queue)
        if self._drop_policy is not None:
            self._drop_policy.add(queue, entry)

    def _new_queue(self, run_id: str) -> RunQueue:
        if len(self._queues) >= IDLE_QUEUES:
            idle = sorted((queue for queue in self._queues.values() if queue.idle), key=lambda queue: queue.used_s)
            for queue in idle[: IDLE_QUEUES // 2]:
                self._retire(self._queues.pop(queue.run_id))
        queue = self._queues[run_id] = RunQueue(run_id)
        return queue

    def _drop(self) -> None:
        if self._drop_policy is None:
            self._drop_policy = DropPolicy(self._queues.values())
        victims = self._drop_policy
        while self.bytes > self._soft_bytes:
            freed = victims.drop_one()
            if freed is None:
                break  # all that is left is never dropped
            self.bytes -= freed
        self.counts.dropped_updates += victims.dropped_updates
        self.counts.dropped_lines += victims.dropped_lines
        victims.dropped_updates = victims.dropped_lines = 0

    # the flusher's side

    def _has_work(self) -> bool:
        return bool(self.ingress or self._ready)

    def take(self, now_s: float) -> list[InFlightBatch]:
        """Number the next batches, at most one per run, and put them in flight. `now_s` is monotonic."""
        self.sort_quietly()  # whoever empties the outbox need not wait for room in it
        batches: list[InFlightBatch] = []
        size = 0
        with self.lock:
            for _ in range(min(len(self._ready), CALL_RUNS)):
                if size > CALL_BYTES:
                    break
                queue = self._ready.popleft()
                if queue.on_disk:
                    queue.queued = False  # what is on disk goes first; the spool queues it again
                    continue
                batch = self._number(queue, now_s)
                if batch is None:
                    queue.queued = False
                else:
                    batches.append(batch)
                    size += batch.size_bytes
        return batches

    def _number(self, queue: RunQueue, now_s: float) -> InFlightBatch | None:
        entries: list[QueuedEvent] = []
        size = 0
        items = queue.items
        while items and len(entries) < BATCH_EVENTS and size < self._batch_bytes:
            entry = items.popleft()
            if entry.event is None:
                continue
            entries.append(entry)
            size += entry.size_bytes
            if entry.ends_batch:
                break
        if not entries:
            return None
        self._renumber(queue, now_s)
        queue.batch = InFlightBatch(queue, entries)
        return queue.batch

    def _renumber(self, queue: RunQueue, now_s: float) -> None:
        if now_s - queue.used_s > RENUMBER_S and queue.batch is None and not queue.on_disk:
            self._retire(queue)
        queue.used_s = now_s

    def _retire(self, queue: RunQueue) -> None:
        """Nothing more will come under this queue' numbers, and nothing is on its way: it begins anew under others."""
        if queue.sequence.next > 1 and not queue.sequence.in_doubt:
            self._retired.append((queue.run_id, queue.sequence.producer))
        queue.sequence = ProducerSequence.fresh()

    def retired(self, *, all_idle: bool = False) -> list[tuple[str, str]]:
        """Producers (run id, name) whose marks can be taken away: each is given once.

        With `all_idle` also those of all runs of which nothing waits: what they say after that is another producer's.
        """
        if not all_idle and not self._retired:
            return []
        with self.lock:
            if all_idle:
                for queue in self._queues.values():
                    if queue.idle:
                        self._retire(queue)
            gone, self._retired = self._retired, []
        return gone

    def settle(self, batch: InFlightBatch) -> None:
        """A batch has acknowledged, or was given up. Its run's next batch may go."""
        with self.lock:
            queue = batch.queue
            queue.batch = None
            self.bytes -= batch.size_bytes
            self._room.set()
            if queue.items:
                self._ready.append(queue)  # it is still `queued`
            else:
                queue.queued = False
            if self._drop_policy is not None and self.bytes < self.bound_bytes // 2:
                self._drop_policy = None

    def batches(self) -> list[InFlightBatch]:
        """All that is in flight."""
        with self.lock:
            return [queue.batch for queue in self._queues.values() if queue.batch is not None]

    # the spool's side

    def detach(self, now_s: float) -> tuple[list[InFlightBatch], list[InFlightBatch]]:
        """Number all that waits and give it to the spool. Returns that, and what is in flight (which stays).

        From then on a run's new events wait in memory for those on disk.
        """
        self.sort_quietly()
        moved: list[InFlightBatch] = []
        flying: list[InFlightBatch] = []
        with self.lock:
            for queue in self._queues.values():
                if queue.batch is not None and not queue.batch.written:
                    flying.append(queue.batch)
                entries = [entry for entry in queue.items if entry.event is not None]
                queue.items.clear()
                if entries:
                    self._renumber(queue, now_s)
                    batch = InFlightBatch(queue, entries)
                    queue.on_disk += len(entries)
                    queue.lines_on_disk += batch.lines
                    queue.end_on_disk = entries[-1] if entries[-1].ends_run else None
                    self.bytes -= batch.size_bytes
                    moved.append(batch)
                if queue.on_disk or queue.batch is not None:
                    queue.sequence.in_doubt = True  # whoever adopts the spool may send them again
            self._drop_policy = None
        return moved, flying

    def reattach(self, moved: list[InFlightBatch]) -> None:
        """The disk has failed: what was detached waits in memory again, before what has come since."""
        with self.lock:
            for batch in moved:
                queue = batch.queue
                queue.items.extendleft(reversed(batch.entries))
                queue.sequence.next = batch.first
                self.bytes += batch.size_bytes
                self._acknowledged(queue, len(batch.entries), batch.lines)
                queue.end_on_disk = None

    def acknowledged(self, run_id: str, count: int, lines: int) -> None:
        """So many of this run's events on disk (and lines) are committed. After the last, those in memory may go."""
        with self.lock:
            queue = self._queues.get(run_id)
            if queue is not None:
                self._acknowledged(queue, count, lines)

    def _acknowledged(self, queue: RunQueue, count: int, lines: int) -> None:
        queue.on_disk = max(0, queue.on_disk - count)
        queue.lines_on_disk = max(0, queue.lines_on_disk - lines) if queue.on_disk else 0
        if not queue.on_disk:
            queue.end_on_disk = None
        if not queue.on_disk and queue.items and not queue.queued and queue.batch is None:
            queue.queued = True
            self._ready.append(queue)

    def disk_is_gone(self) -> None:
        """What is on disk is no longer this process' to commit."""
        with self.lock:
            for queue in self._queues.values():
                if queue.on_disk:
                    queue.sequence = ProducerSequence.fresh()
                    self._acknowledged(queue, queue.on_disk, queue.lines_on_disk)

    def disk_is_lost(self) -> int:
        """What is on disk cannot be read any more, and is given up. Returns how many events that is."""
        lost = 0
        with self.lock:
            for queue in [queue for queue in self._queues.values() if queue.on_disk]:
                lost += queue.on_disk
                lines, updates, size = queue.lose_disk(time.time_ns() // 1_000_000)
                self.counts.dropped_lines += lines
                self.counts.dropped_updates += updates
                self.bytes += size
                self._acknowledged(queue, queue.on_disk, lines)
            self._drop_policy = None
        return lost

    def waiting(self) -> list[tuple[RunQueue, int]]:
        """The runs of which something waits, each with the serial of its newest event."""
        self.sort()
        with self.lock:
            return [(queue, queue.serial) for queue in self._queues.values() if not queue.idle]
