"""The outbox: what waits to be committed, in memory, bounded. The task's thread only appends; the flusher takes.

Nothing here does I/O, so that the lock is only ever held for microseconds.
"""

from __future__ import annotations

import contextlib
import threading
import time
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable
from typing import Final

from ..progress import Event
from ..progress.events import MAX_LOG_BYTES
from ..runlog import Numbering
from .counts import Counts
from .overflow import Victims
from .pace import Pace
from .queues import Box, Entry, Flight, Ingress, coalesced, entry_bytes, event_of
from .scopes import TaskScope

__all__ = ["Counts", "Outbox"]

BATCH_EVENTS: Final = 500
BATCH_BYTES: Final = 1024 * 1024
CALL_RUNS: Final = 64
"""Runs whose batches go in one round trip."""
CALL_BYTES: Final = 4 * 1024 * 1024
INGRESS_EVENTS: Final = 256
IDLE_BOXES: Final = 10_000
RENUMBER_S: Final = 1800.0
"""The script forgets producers that were silent for an hour: one that was for half of it gets a new name."""
_RESERVE: Final = 16
"""One part in so many of the bound is kept for what is never dropped."""

_ROOM_S: Final = 0.5
_LOOK_EVERY_S: Final = 0.00002
_MAX_EARLY_S: Final = 1.0
"""Who publishes more seldom than that is woken like anybody else."""

_AWAKE: Final = 0
_ASLEEP: Final = 1
_UNSTARTED: Final = 2


class Outbox:
    """Events that wait, by run; at most one numbered batch of each run is in flight.

    What is published lands in `ingress`, without a lock: appending to a deque is atomic, cheap in a cold cache, and
    safe in signal handlers and finalizers. It is sorted into the runs' boxes by the flusher before it takes; or, if
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
        """What waits in boxes and flights; `ingress` is not counted, but small."""
        self.counts = Counts()
        self.ingress: deque[Ingress] = deque()
        # So few that even lines of the greatest length fit in the reserve.
        self.ingress_limit = max(1, min(INGRESS_EVENTS, bound_bytes // _RESERVE // MAX_LOG_BYTES))
        self.rest = _UNSTARTED
        """Not 0: somebody who appends must call `rouse`."""
        self.lock = threading.RLock()
        self._on_first = on_first
        self._on_full = on_full
        self._is_draining = is_draining
        self._room = threading.Event()
        self._soft_bytes = bound_bytes - bound_bytes // _RESERVE
        # what is in flight cannot be dropped: in a small outbox it must not take the place of all that is newer
        self._batch_bytes = min(BATCH_BYTES, bound_bytes // 8)
        self._boxes: dict[str, Box] = {}
        self._ready: deque[Box] = deque()
        self._victims: Victims | None = None
        self._sorting = False
        self._retired: list[tuple[str, str]] = []
        self._pace = Pace()
        # The flusher sleeps on a raw lock: releasing it is the cheapest way to wake a thread.
        self._wake = allocate_lock()
        self._wake.acquire()

    # the task's side (publish_progress does the same, in fewer steps)

    def append(self, run_id: str, event: Event, scope: TaskScope | None = None, follow: Event | None = None) -> None:
        """Take a checked event; `follow` is published after it if it is committed and not fenced."""
        self.ingress.append((run_id, event, scope, follow))
        if self.rest:
            self.rouse()
        if len(self.ingress) > self.ingress_limit:
            self.sort()

    def rouse(self) -> None:
        """Start or wake the flusher, which has nothing to do as yet."""
        if self.rest == _UNSTARTED:
            self.rest = _AWAKE
            self._on_first()
        else:
            self.rest = _AWAKE
            self.wake()

    def sort(self) -> None:
        """Put what has come in into the runs' boxes, and see that the bound holds."""
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
        """Put what has come in into the runs' boxes."""
        ingress = self.ingress
        with self.lock:
            if self._sorting:
                return  # a signal handler has interrupted the sorting: it goes on, in order, when the handler is done
            self._sorting = True
            try:
                while ingress:
                    self._box_up(*event_of(ingress.popleft()))
            finally:
                self._sorting = False

    def _box_up(self, run_id: str, event: Event, scope: TaskScope | None, follow: Event | None) -> None:
        box = self._boxes.get(run_id) or self._new_box(run_id)
        items = box.items
        self.counts.appended += 1
        if items and event.log is None:
            last = items[-1]
            merged = coalesced(last, event, scope)
            if merged is not None:
                last.event = merged
                self.counts.coalesced += 1
                return
        box.serial += 1
        entry = Entry(event, scope, entry_bytes(event), box.serial, follow)
        items.append(entry)
        self.bytes += entry.size_bytes
        if not box.queued:
            box.queued = True
            self._ready.append(box)
        if self._victims is not None:
            self._victims.add(box, entry)

    def _new_box(self, run_id: str) -> Box:
        if len(self._boxes) >= IDLE_BOXES:
            idle = sorted((box for box in self._boxes.values() if box.idle), key=lambda box: box.used_s)
            for box in idle[: IDLE_BOXES // 2]:
                self._retire(self._boxes.pop(box.run_id))
        box = self._boxes[run_id] = Box(run_id)
        return box

    def _drop(self) -> None:
        if self._victims is None:
            self._victims = Victims(self._boxes.values())
        victims = self._victims
        while self.bytes > self._soft_bytes:
            freed = victims.drop_one()
            if freed is None:
                break  # all that is left is never dropped
            self.bytes -= freed
        self.counts.dropped_updates += victims.dropped_updates
        self.counts.dropped_lines += victims.dropped_lines
        victims.dropped_updates = victims.dropped_lines = 0

    # the flusher's side

    def sleep(self, timeout_s: float | None = None) -> None:
        """Wait until something comes in, for `wake`, or for the timeout in seconds; it may return earlier than that.

        To wake a thread is a system call, and by far the dearest part of publishing. So about when the next event is
        due it is up, and looks: who publishes at a steady pace never pays for that, and is not waited for either.
        """
        pace, clock = self._pace, time.monotonic
        early_s = pace.from_s - clock()
        if 0 < early_s < _MAX_EARLY_S and self._lie_down(early_s):
            pace.note(clock())
            return
        while clock() < pace.until_s:
            if self.ingress or self._ready or self._wake.acquire(timeout=_LOOK_EVERY_S):
                pace.note(clock())
                return
        if self._lie_down(timeout_s):
            pace.note(clock())

    def _lie_down(self, timeout_s: float | None) -> bool:
        """Wait to be woken. Returns whether that has happened, or something is there already."""
        # Announced before the last look: who appends after that sees it. If both happen, the next sleep is cut short.
        self.rest = _ASLEEP
        news = bool(self.ingress or self._ready) or self._wake.acquire(timeout=-1 if timeout_s is None else timeout_s)
        self.rest = _AWAKE
        return news

    def doze(self, seconds: float) -> None:
        """Wait although something may have come in; only `wake` shortens it."""
        if seconds > 0:
            self._wake.acquire(timeout=seconds)

    def wake(self) -> None:
        """Wake the flusher, whatever it waits for."""
        with contextlib.suppress(RuntimeError):  # it is awake already
            self._wake.release()

    def flusher_ended(self) -> None:
        """There is no thread any more; the next event starts another."""
        self.rest = _UNSTARTED

    def take(self, now_s: float) -> list[Flight]:
        """Number the next batches, at most one per run, and put them in flight. `now_s` is monotonic."""
        self.sort_quietly()  # whoever empties the outbox need not wait for room in it
        flights: list[Flight] = []
        size = 0
        with self.lock:
            for _ in range(min(len(self._ready), CALL_RUNS)):
                if size > CALL_BYTES:
                    break
                box = self._ready.popleft()
                if box.on_disk:
                    box.queued = False  # what is on disk goes first; the spool queues it again
                    continue
                flight = self._fly(box, now_s)
                if flight is None:
                    box.queued = False
                else:
                    flights.append(flight)
                    size += flight.size_bytes
        return flights

    def _fly(self, box: Box, now_s: float) -> Flight | None:
        entries: list[Entry] = []
        size = 0
        items = box.items
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
        self._renumber(box, now_s)
        box.flight = Flight(box, entries)
        return box.flight

    def _renumber(self, box: Box, now_s: float) -> None:
        if now_s - box.used_s > RENUMBER_S and box.flight is None and not box.on_disk:
            self._retire(box)
        box.used_s = now_s

    def _retire(self, box: Box) -> None:
        """Nothing more will come under this box' numbers, and nothing is on its way: it begins anew under others."""
        if box.numbering.next > 1 and not box.numbering.in_doubt:
            self._retired.append((box.run_id, box.numbering.producer))
        box.numbering = Numbering.fresh()

    def retired(self, *, all_idle: bool = False) -> list[tuple[str, str]]:
        """Producers (run id, name) whose marks can be taken away: each is given once.

        With `all_idle` also those of all runs of which nothing waits: what they say after that is another producer's.
        """
        if not all_idle and not self._retired:
            return []
        with self.lock:
            if all_idle:
                for box in self._boxes.values():
                    if box.idle:
                        self._retire(box)
            gone, self._retired = self._retired, []
        return gone

    def settle(self, flight: Flight) -> None:
        """A flight has landed, or was given up. Its run's next batch may go."""
        with self.lock:
            box = flight.box
            box.flight = None
            self.bytes -= flight.size_bytes
            self._room.set()
            if box.items:
                self._ready.append(box)  # it is still `queued`
            else:
                box.queued = False
            if self._victims is not None and self.bytes < self.bound_bytes // 2:
                self._victims = None

    def flights(self) -> list[Flight]:
        """All that is in flight."""
        with self.lock:
            return [box.flight for box in self._boxes.values() if box.flight is not None]

    # the spool's side

    def detach(self, now_s: float) -> tuple[list[Flight], list[Flight]]:
        """Number all that waits and give it to the spool. Returns that, and what is in flight (which stays).

        From then on a run's new events wait in memory for those on disk.
        """
        self.sort_quietly()
        moved: list[Flight] = []
        flying: list[Flight] = []
        with self.lock:
            for box in self._boxes.values():
                if box.flight is not None and not box.flight.written:
                    flying.append(box.flight)
                entries = [entry for entry in box.items if entry.event is not None]
                box.items.clear()
                if entries:
                    self._renumber(box, now_s)
                    flight = Flight(box, entries)
                    box.on_disk += len(entries)
                    box.lines_on_disk += flight.lines
                    box.end_on_disk = entries[-1] if entries[-1].ends_run else None
                    self.bytes -= flight.size_bytes
                    moved.append(flight)
                if box.on_disk or box.flight is not None:
                    box.numbering.in_doubt = True  # whoever adopts the spool may send them again
            self._victims = None
        return moved, flying

    def reattach(self, moved: list[Flight]) -> None:
        """The disk has failed: what was detached waits in memory again, before what has come since."""
        with self.lock:
            for flight in moved:
                box = flight.box
                box.items.extendleft(reversed(flight.entries))
                box.numbering.next = flight.first
                self.bytes += flight.size_bytes
                self._landed(box, len(flight.entries), flight.lines)
                box.end_on_disk = None

    def landed(self, run_id: str, count: int, lines: int) -> None:
        """So many of this run's events on disk (and lines) are committed. After the last, those in memory may go."""
        with self.lock:
            box = self._boxes.get(run_id)
            if box is not None:
                self._landed(box, count, lines)

    def _landed(self, box: Box, count: int, lines: int) -> None:
        box.on_disk = max(0, box.on_disk - count)
        box.lines_on_disk = max(0, box.lines_on_disk - lines) if box.on_disk else 0
        if not box.on_disk:
            box.end_on_disk = None
        if not box.on_disk and box.items and not box.queued and box.flight is None:
            box.queued = True
            self._ready.append(box)

    def disk_is_gone(self) -> None:
        """What is on disk is no longer this process' to commit."""
        with self.lock:
            for box in self._boxes.values():
                if box.on_disk:
                    box.numbering = Numbering.fresh()
                    self._landed(box, box.on_disk, box.lines_on_disk)

    def disk_is_lost(self) -> int:
        """What is on disk cannot be read any more, and is given up. Returns how many events that is."""
        lost = 0
        with self.lock:
            for box in [box for box in self._boxes.values() if box.on_disk]:
                lost += box.on_disk
                lines, updates, size = box.lose_disk(time.time_ns() // 1_000_000)
                self.counts.dropped_lines += lines
                self.counts.dropped_updates += updates
                self.bytes += size
                self._landed(box, box.on_disk, lines)
            self._victims = None
        return lost

    def waiting(self) -> list[tuple[Box, int]]:
        """The runs of which something waits, each with the serial of its newest event."""
        self.sort()
        with self.lock:
            return [(box, box.serial) for box in self._boxes.values() if not box.idle]
