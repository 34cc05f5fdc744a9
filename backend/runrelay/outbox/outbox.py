"""The outbox: events that wait in memory to be committed, within a bound. Tasks append; the flusher takes batches.

Nothing here does I/O, so the lock is only held for microseconds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ..progress import Event
from ..progress.checks import MAX_LOG_BYTES
from ..runlog import ProducerSequence
from .counts import Counts, Statistics
from .overflow import DropPolicy
from .queues import InFlightBatch, QueuedEvent, RunQueue, coalesced, event_bytes
from .quick import Ingress, unpacked
from .scopes import TaskScope
from .wakeup import Wakeup

__all__ = ["Counts", "Outbox"]

BATCH_EVENTS: Final = 500
BATCH_BYTES: Final = 1024 * 1024
CALL_RUNS: Final = 64
"""The most runs whose batches go in one round trip."""
CALL_BYTES: Final = 4 * 1024 * 1024
INGRESS_EVENTS: Final = 256
IDLE_QUEUES: Final = 10_000
RENUMBER_S: Final = 1800.0
"""The commit script forgets a producer after an hour without events. After half of that, a run gets a new producer."""
_RESERVE: Final = 16
"""1/_RESERVE of the bound is kept for events that are never dropped."""

_ROOM_S: Final = 0.5
"""The longest that a full outbox holds a publishing thread up."""


class Outbox:
    """Waiting events, a queue for each run; of each run at most one numbered batch is in flight.

    A published event is first appended to `ingress`, without a lock: appending to a deque is atomic, cheap in a cold
    cache, and safe in signal handlers and finalizers. The flusher sorts `ingress` into the runs' queues before it takes
    batches. While the flusher is busy or waits for Redis, the publishing thread that finds `ingress` full sorts it.
    Only then is the bound checked.

    Args:
        bound_bytes: the bound of all queues and batches together.
        on_first: starts the flusher.
        on_full: called without the lock when the outbox is full; may move waiting events elsewhere. Returns whether
            there is room now. If not, the drop policy decides (overflow.py).
        is_draining: whether the flusher empties the outbox, only not as fast as it is filled. Then a publishing thread
            that finds the outbox full waits up to half a second for room, before `on_full` is called: backpressure.
    """

    def __init__(
        self,
        bound_bytes: int,
        *,
        on_first: Callable[[], None],
        on_full: Callable[[], bool] = lambda: False,
        is_draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self.bound_bytes = bound_bytes
        self.bytes = 0
        """Of all events in queues and batches. `ingress` is not counted: it is small."""
        self.counts = Counts()
        self.ingress: deque[Ingress] = deque()
        # so few that log lines of the greatest length fit in the reserve
        self.ingress_limit = max(1, min(INGRESS_EVENTS, bound_bytes // _RESERVE // MAX_LOG_BYTES))
        self.wakeup = Wakeup(self._has_work, on_first)
        self.lock = threading.RLock()
        self._on_full = on_full
        self._is_draining = is_draining
        self._room = threading.Event()
        self._soft_bytes = bound_bytes - bound_bytes // _RESERVE
        # Batches in flight cannot be dropped. In a small outbox they must leave room for newer events.
        self._batch_bytes = min(BATCH_BYTES, bound_bytes // 8)
        self._queues: dict[str, RunQueue] = {}
        self._ready: deque[RunQueue] = deque()
        self._drop_policy: DropPolicy | None = None
        self._sorting = False
        self._retired: list[tuple[str, str]] = []

    # the task's side (quick.py does the same, in fewer steps)

    def append(self, run_id: str, event: Event, scope: TaskScope | None = None, follow: Event | None = None) -> None:
        """Take a checked event. `follow` is published after it, if it is committed and not fenced."""
        self.ingress.append((run_id, event, scope, follow))
        if self.wakeup.needs_notify:
            self.wakeup.notify()
        if len(self.ingress) > self.ingress_limit:
            self.sort()

    def sort(self) -> None:
        """Sort `ingress` into the runs' queues, and keep the bound: by waiting, by the spool, or by dropping."""
        self.sort_quietly()
        if self.bytes <= self._soft_bytes or self._waited_for_room():
            return
        if not self._on_full():
            with self.lock:
                self._drop()

    def _waited_for_room(self) -> bool:
        """Wait up to `_ROOM_S` for the flusher to make room. Returns whether there is some."""
        deadline = time.monotonic() + _ROOM_S
        while self.bytes > self._soft_bytes:
            self._room.clear()
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._is_draining():
                return False
            self._room.wait(left_s)
        return True

    def sort_quietly(self) -> None:
        """Sort `ingress` into the runs' queues."""
        ingress = self.ingress
        with self.lock:
            if self._sorting:
                return  # A signal handler has interrupted the sorting, which goes on in order after the handler.
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
        policy = self._drop_policy
        while self.bytes > self._soft_bytes:
            freed = policy.drop_one()
            if freed is None:
                break  # the remaining events are never dropped
            self.bytes -= freed
        self.counts.dropped_updates += policy.dropped_updates
        self.counts.dropped_lines += policy.dropped_lines
        policy.dropped_updates = policy.dropped_lines = 0

    # the flusher's side

    def _has_work(self) -> bool:
        return bool(self.ingress or self._ready)

    def take(self, now_s: float) -> list[InFlightBatch]:
        """Number the next batches, at most one of each run, and put them in flight. `now_s` is monotonic."""
        self.sort_quietly()  # not `sort`: the thread that empties the outbox must not wait for room in it
        batches: list[InFlightBatch] = []
        size = 0
        with self.lock:
            for _ in range(min(len(self._ready), CALL_RUNS)):
                if size > CALL_BYTES:
                    break
                queue = self._ready.popleft()
                if queue.spooled:
                    queue.queued = False  # spooled events go first; after the last of them, it is queued again
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
        if now_s - queue.used_s > RENUMBER_S and queue.batch is None and not queue.spooled:
            self._retire(queue)
        queue.used_s = now_s

    def _retire(self, queue: RunQueue) -> None:
        """Give the queue a new producer. Nothing is in flight under the old one, whose mark in Redis can be deleted."""
        if queue.sequence.next > 1 and not queue.sequence.in_doubt:
            self._retired.append((queue.run_id, queue.sequence.producer))
        queue.sequence = ProducerSequence.fresh()

    def retired(self, *, all_idle: bool = False) -> list[tuple[str, str]]:
        """Producers (run id, name) whose marks in Redis can be deleted. Each is returned once.

        Args:
            all_idle: retire the producers of all idle runs first. Their next events come from new producers.
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
        """A batch was acknowledged, or is given up. Its run's next batch may go."""
        with self.lock:
            queue = batch.queue
            queue.batch = None
            self.bytes -= batch.size_bytes
            self._room.set()
            if queue.items:
                self._ready.append(queue)  # `queue.queued` is still true
            else:
                queue.queued = False
            if self._drop_policy is not None and self.bytes < self.bound_bytes // 2:
                self._drop_policy = None

    def batches(self) -> list[InFlightBatch]:
        """All batches in flight."""
        with self.lock:
            return [queue.batch for queue in self._queues.values() if queue.batch is not None]

    # the spool's side: events that wait elsewhere, with the numbers that they were given here

    def detach(self, now_s: float) -> tuple[list[InFlightBatch], list[InFlightBatch]]:
        """Number everything that waits in the queues and hand it over to the spool.

        From then on a run's new events wait in memory until the spooled ones are settled.

        Args:
            now_s: monotonic.

        Returns the batches that are handed over, and those in flight, which stay here as well.
        """
        self.sort_quietly()
        moved: list[InFlightBatch] = []
        in_flight: list[InFlightBatch] = []
        with self.lock:
            for queue in self._queues.values():
                if queue.batch is not None and not queue.batch.spooled:
                    in_flight.append(queue.batch)
                entries = [entry for entry in queue.items if entry.event is not None]
                queue.items.clear()
                if entries:
                    self._renumber(queue, now_s)
                    batch = InFlightBatch(queue, entries)
                    queue.spooled += len(entries)
                    queue.spooled_lines += batch.lines
                    queue.spooled_end = entries[-1] if entries[-1].ends_run else None
                    self.bytes -= batch.size_bytes
                    moved.append(batch)
                if queue.spooled or queue.batch is not None:
                    queue.sequence.in_doubt = True  # a process that adopts the spool may send them again
            self._drop_policy = None
        return moved, in_flight

    def reattach(self, moved: list[InFlightBatch]) -> None:
        """The spool could not take the batches: their events wait in memory again, before newer ones."""
        with self.lock:
            for batch in moved:
                queue = batch.queue
                queue.items.extendleft(reversed(batch.entries))
                queue.sequence.next = batch.first
                self.bytes += batch.size_bytes
                self._spooled_settled(queue, len(batch.entries), batch.lines)
                queue.spooled_end = None

    def spooled_settled(self, run_id: str, count: int, lines: int) -> None:
        """So many spooled events of this run, and log lines among them, are settled.

        After the last, the run's events in memory may go.
        """
        with self.lock:
            queue = self._queues.get(run_id)
            if queue is not None:
                self._spooled_settled(queue, count, lines)

    def _spooled_settled(self, queue: RunQueue, count: int, lines: int) -> None:
        queue.spooled = max(0, queue.spooled - count)
        queue.spooled_lines = max(0, queue.spooled_lines - lines) if queue.spooled else 0
        if not queue.spooled:
            queue.spooled_end = None
        if not queue.spooled and queue.items and not queue.queued and queue.batch is None:
            queue.queued = True
            self._ready.append(queue)

    def spool_closed(self) -> None:
        """The spooled events are left to another process, with their numbers."""
        with self.lock:
            for queue in self._queues.values():
                if queue.spooled:
                    queue.sequence = ProducerSequence.fresh()
                    self._spooled_settled(queue, queue.spooled, queue.spooled_lines)

    def spool_lost(self) -> int:
        """The spooled events cannot be read, and are given up. Returns how many there were."""
        lost = 0
        with self.lock:
            for queue in [queue for queue in self._queues.values() if queue.spooled]:
                lost += queue.spooled
                lines, updates, size = queue.lose_spooled(time.time_ns() // 1_000_000)
                self.counts.dropped_lines += lines
                self.counts.dropped_updates += updates
                self.bytes += size
                self._spooled_settled(queue, queue.spooled, lines)
            self._drop_policy = None
        return lost

    # for tests and for people

    def statistics(self) -> Statistics:
        """How much the outbox holds now. Nothing is sorted, dropped or waited for."""
        with self.lock:
            queues = list(self._queues.values())
            return Statistics(
                ingress=len(self.ingress),
                queues=len(queues),
                waiting=sum(entry.event is not None for queue in queues for entry in queue.items),
                in_flight=sum(len(queue.batch.events) for queue in queues if queue.batch is not None),
                spooled=sum(queue.spooled for queue in queues),
                bytes=self.bytes,
            )

    def waiting(self) -> list[tuple[RunQueue, int]]:
        """The runs with waiting events, each with the serial of its newest one."""
        self.sort()
        with self.lock:
            return [(queue, queue.serial) for queue in self._queues.values() if not queue.idle]
