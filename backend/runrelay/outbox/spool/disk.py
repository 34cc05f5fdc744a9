"""A spool in a folder: events that do not fit in memory while Redis is away are committed in order when it is back.

A run's events on disk are older than those in memory, and are committed first. Every event gets its number before it
is written, so that it is committed once, whichever process sends it: this one, perhaps twice, or another one that
adopts the file after this process has died.

A disk that fails never stops commits:

- Events that cannot be written stay in memory, under the outbox's drop policy.
- Rows that are committed and cannot be deleted are remembered (file.py). A file without waiting rows is deleted as a
  whole, and the next outage begins another file.
- Rows that cannot be read for `READ_FOR_S` are given up, and each run's log says so.
"""

from __future__ import annotations

import ctypes
import itertools
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...errors import RunlogUnavailable
from ...runlog import Committed
from ..outbox import Outbox
from ..queues import InFlightBatch, QueuedEvent
from ..scopes import STARTS, TaskScope
from . import Replayed
from .file import SpoolFile, abandoned, encode
from .replay import append_follow, batches_of, commit_rows, count, scope_of_row

if TYPE_CHECKING:
    from ...runlog import RunLog

__all__ = ["DiskSpool"]

_log = logging.getLogger("runrelay.publisher")

REPLAY_ROWS: Final = 2000
ADOPT_EVERY_S: Final = 30.0
"""Between two looks for the files of dead processes."""
WRITE_AGAIN_S: Final = 10.0
"""After the disk has failed to take events."""
READ_AGAIN_S: Final = 1.0
READ_FOR_S: Final = 30.0
"""How long a file that cannot be read is tried again, before the events in it are given up."""


class DiskSpool:
    """A `Spool` in a folder. This process has a file there once it needs one; files of dead processes are adopted."""

    enabled = True

    def __init__(self, folder: Path, outbox: Outbox, on_begun: Callable[[], None] = lambda: None) -> None:
        self.folder = folder
        self._outbox = outbox
        self._on_begun = on_begun
        # Guards the file: a task's thread writes, the flusher reads. Never held while something is sent.
        self._lock = threading.RLock()
        self._file: SpoolFile | None = None
        self._waiting = 0
        """Events in the own file."""
        self._scopes: dict[int, TaskScope] = {}
        self._keys: dict[TaskScope, int] = {}
        self._numbers = itertools.count(1)
        self._adopted: list[SpoolFile] = []
        self._finished: list[SpoolFile] = []
        """Files without waiting rows that the disk does not let be deleted."""
        self._left_alone: dict[Path, float] = {}
        """Files that are not opened before a time (monotonic); see `abandoned`."""
        self._adopted_s = float("-inf")
        self._write_from_s = -1.0
        """Nothing is written before this (monotonic), because the disk has failed. Negative: it has not."""
        self._failed_since_s: float | None = None
        self._read_from_s = float("-inf")

    def forked(self) -> None:
        """In a forked child: keep the parent's files open for ever. Closing one could delete its journal."""
        for file in (self._file, *self._adopted, *self._finished):
            if file is not None:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(file))

    def put(self) -> bool:
        """Move everything that waits in memory to disk. Returns whether there is room in memory now.

        Usually the flusher calls it. A task that publishes faster than the disk writes calls it itself, and is slowed
        down: without a bound it would run out of memory, and with one it would lose what the spool is there to keep.
        """
        # Do not wait for the lock: its holder makes room already, and a signal handler would wait for the thread that
        # it has interrupted.
        if not self._lock.acquire(blocking=False):
            return True
        try:
            if time.monotonic() < self._write_from_s:
                return False
            moved, in_flight = self._outbox.detach(time.monotonic())
            if not moved and not in_flight:
                return False
            try:
                self._write(moved, in_flight)
            except Exception as error:  # of the disk, or of an event that cannot be written: never the task's failure
                self._outbox.reattach(moved)
                if self._write_from_s < 0:
                    _log.error("the spool in %s cannot be written: %s", self.folder, error)
                self._write_from_s = time.monotonic() + WRITE_AGAIN_S
                return False
            for batch in in_flight:
                batch.spooled = True
            events = sum(len(batch.entries) for batch in moved)
            self._waiting += events
            self._outbox.counts.spooled += events
            self._write_from_s = -1.0
            return bool(moved)
        finally:
            self._lock.release()

    def _write(self, moved: list[InFlightBatch], in_flight: list[InFlightBatch]) -> None:
        if self._file is None:
            self._file = SpoolFile.create(self.folder)
        file, new = self._file, []
        try:
            with file.transaction():
                # Batches in flight first: if this process dies, their numbers must not be missing.
                for batch in (*in_flight, *moved):
                    rows = []
                    for number, (entry, event) in enumerate(zip(batch.entries, batch.events, strict=True), batch.first):
                        key, is_new = self._scope_key(entry)
                        if is_new and entry.scope is not None and key is not None:
                            new.append(entry.scope)
                            file.add_scope(key, entry.scope.run_id, entry.scope.step, entry.scope.attempt)
                        follow = None if entry.follow is None else encode(entry.follow)
                        rows.append((batch.queue.run_id, batch.producer, number, key, encode(event), follow))
                    file.add(rows)
        except BaseException:
            for scope in new:  # they are not on disk, and must be written with the next of their events
                self._scopes.pop(self._keys.pop(scope))
            raise

    def _scope_key(self, entry: QueuedEvent) -> tuple[int | None, bool]:
        """The scope that will have to fence this event, and whether it is new to the file.

        None if the event has all attempts that its scope knows.
        """
        scope = entry.scope
        if scope is None or (scope.attempt is not None and (scope.step is None or scope.step_attempt is not None)):
            return None, False
        key = self._keys.get(scope)
        if key is not None:
            return key, False
        key = self._keys[scope] = next(self._numbers)
        self._scopes[key] = scope
        return key, True

    def ack(self, batch: InFlightBatch) -> None:
        """A batch from memory is settled: if it is on disk too, it is no longer needed there."""
        if not batch.spooled:
            return
        try:
            with self._lock:
                if self._file is not None:
                    last = batch.first + len(batch.events) - 1
                    scope = batch.entries[-1].scope
                    key = None if scope is None else self._keys.get(scope)
                    self._file.acknowledge_numbers((batch.queue.run_id, batch.producer, batch.first, last), key, scope)
        except Exception:  # the batch is committed: that it was also on disk must not hold up the next ones
            _log.exception("the spool has failed")

    def replay(self, runlog: RunLog) -> Replayed:
        """Commit some of the events on disk, in one round trip: of the own file first, then of an adopted one."""
        now_s = time.monotonic()
        if now_s - self._adopted_s >= ADOPT_EVERY_S:
            self._adopted_s = now_s
            self._adopt()
        if self._waiting and now_s >= self._read_from_s:
            try:
                return self._replay_own(runlog)
            except Exception as error:
                self._cannot_read(error)
                return "looked"
        if not self._adopted:
            return "idle"
        adopted = self._adopted[0]
        try:
            return self._replay_adopted(adopted, runlog)
        except Exception as error:
            # Damaged, or written by a newer version: it must not keep this process from its own work.
            _log.error("the spool %s cannot be read, and is left as it is: %s", adopted.path, error)
            self._left_alone[adopted.path] = float("inf")
            self._adopted.pop(0)
            adopted.close()
            return "looked"

    def replay_again_s(self) -> float:
        """Seconds until a file that could not be read is tried again, or until the next look for adoptable files."""
        return max(0.0, self._read_from_s - time.monotonic()) if self._waiting else ADOPT_EVERY_S

    def _adopt(self) -> None:
        with self._lock:
            self._finished = [file for file in self._finished if not file.remove()]
        try:
            if self.folder.is_dir():
                self._adopted += abandoned(self.folder, self._left_alone)
        except OSError as error:
            _log.debug("the spool in %s cannot be looked into: %s", self.folder, error)

    def _replay_own(self, runlog: RunLog) -> Replayed:
        with self._lock:
            file = self._file
            batches = [] if file is None else batches_of(file.head(REPLAY_ROWS), adopted=False)
        if file is None or not batches:
            raise RuntimeError(f"{self._waiting} events are not in it")
        self._failed_since_s = None
        replayed: Replayed = "sent"
        for rows, result in commit_rows(batches, self._scopes, runlog):
            if isinstance(result, RunlogUnavailable):
                replayed = "away"
                continue
            last, scope = rows[-1], scope_of_row(rows[-1], self._scopes)
            if scope is not None and last.event.kind in STARTS and isinstance(result, Committed):
                scope.begun(last.event, result)
                self._on_begun()
            count(self._outbox, rows, result)
            with self._lock:
                file.acknowledge((row.id for row in rows), last.scope, scope)
                self._waiting -= len(rows)
                if self._waiting <= 0:
                    self._waiting = 0
                    self._nothing_waits(file)
            lines = sum(row.event.log is not None for row in rows)
            self._outbox.spooled_settled(last.run_id, len(rows), lines)
            append_follow(self._outbox, last, result)
        return replayed

    def _nothing_waits(self, file: SpoolFile) -> None:
        self._scopes.clear()
        self._keys.clear()
        if file.is_clean or not file.is_empty:  # it may also hold batches that are in flight
            return
        # The disk does not let rows be deleted. To delete the whole file needs no room, and makes some.
        self._file = None
        self._write_from_s = -1.0
        if not file.remove():
            self._finished.append(file)

    def _cannot_read(self, error: Exception) -> None:
        """Try again for a while; then say in each run's log what is lost, so that its later events can go."""
        now_s = time.monotonic()
        if self._failed_since_s is None:
            self._failed_since_s = now_s
            _log.error("the spool in %s cannot be read: %s", self.folder, error)
        if now_s - self._failed_since_s < READ_FOR_S:
            self._read_from_s = now_s + READ_AGAIN_S
            return
        with self._lock:
            lost = self._outbox.spool_lost()
            _log.error("the spool in %s cannot be read, %d events are given up: %s", self.folder, lost, error)
            if self._file is not None:
                self._left_alone[self._file.path] = float("inf")
                self._file.close()
            self._file, self._waiting, self._failed_since_s = None, 0, None
            self._scopes.clear()
            self._keys.clear()

    def _replay_adopted(self, adopted: SpoolFile, runlog: RunLog) -> Replayed:
        batches = batches_of(adopted.head(REPLAY_ROWS), adopted=True)
        if not batches:
            _log.info("the events that a dead process had left in %s are committed", adopted.path)
            self._adopted.pop(0)
            if not adopted.remove():
                self._finished.append(adopted)
            return "looked"
        scopes = adopted.scopes()
        replayed: Replayed = "sent"
        for rows, result in commit_rows(batches, scopes, runlog):
            if isinstance(result, RunlogUnavailable):
                replayed = "away"
                continue
            last, scope = rows[-1], scope_of_row(rows[-1], scopes)
            if scope is not None and last.event.kind in STARTS and isinstance(result, Committed):
                scope.begun(last.event, result)
            count(self._outbox, rows, result)
            adopted.acknowledge((row.id for row in rows), last.scope, scope)
            append_follow(self._outbox, last, result)
        return replayed

    def close(self) -> None:
        """Close all files. Rows that wait are left to the process that adopts them; files without any are deleted."""
        with self._lock:
            for file in (*self._adopted, *self._finished, *(() if self._file is None else (self._file,))):
                if file in self._finished or file.is_empty:
                    if not file.remove():
                        file.close()
                else:
                    file.close()
            self._adopted, self._finished, self._file, self._waiting = [], [], None, 0
            self._scopes.clear()
            self._keys.clear()
            self._adopted_s = float("-inf")
            self._outbox.spool_closed()
