"""The spool: what does not fit in memory while Redis is away waits on disk, and is committed in order when it is back.

What is on disk of a run is older than what is in memory, and goes first. Every event gets its number before it is
written, so that it is committed once, whoever sends it: this process, perhaps twice, or one that adopts the file after
its death.

A disk that fails never stops commits. What can't be written stays in memory, under the outbox's policy; what is
committed and can't be deleted is remembered (spoolfile.py); a file in which nothing waits any more is deleted, and the
next outage begins another; what can't be read any more is given up after `READ_FOR_S`, and each run's log says so.
"""

from __future__ import annotations

import ctypes
import itertools
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ...errors import RunlogError, RunlogUnavailable
from ...progress import Event
from ...runlog import Batch, Committed, RunLog
from ..outbox import BATCH_EVENTS, Outbox
from ..queues import InFlightBatch, QueuedEvent
from ..scopes import STARTS, TaskScope
from .file import Row, SpoolFile, abandoned, encode

__all__ = ["Spool"]

_log = logging.getLogger("runrelay.publisher")
DRAIN_ROWS: Final = 2000
TRY_AGAIN_S: Final = 10.0
"""After the disk has failed to take something in."""
READ_AGAIN_S: Final = 1.0
READ_FOR_S: Final = 30.0
"""So long a file that cannot be read is tried again, before what is in it is given up."""


class Spool:
    """A folder where this process has a file, as soon as it needs one, and where it looks for those of the dead.

    No method raises an error of the disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # For the file: the task's thread writes, the flusher reads. Never held while something is sent.
        self._lock = threading.RLock()
        self._file: SpoolFile | None = None
        self._waiting = 0
        self._scopes: dict[int, TaskScope] = {}
        self._keys: dict[TaskScope, int] = {}
        self._numbers = itertools.count(1)
        self._adopted: list[SpoolFile] = []
        self._finished: list[SpoolFile] = []
        """Nothing waits in these, but the disk does not let them be deleted."""
        self._left_alone: dict[Path, float] = {}
        self._looked_s = float("-inf")
        self._broken_until_s = -1.0
        self._failed_since_s: float | None = None
        self._read_from_s = float("-inf")

    def forked(self) -> None:
        """In a forked child: the files are the parent's, and are never closed: that could take their journals away."""
        for file in (self._file, *self._adopted, *self._finished):
            if file is not None:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(file))

    @property
    def pending(self) -> bool:
        """Whether something on disk waits to be committed by this process."""
        return bool(self._waiting or self._adopted)

    def take_in(self, outbox: Outbox) -> bool:
        """Move everything that waits in memory to disk. Returns whether there is room in memory now.

        Usually the flusher does it. A task that is faster than the disk does it itself: it is slowed down then, because
        without a bound it would run out of memory, and with one it would lose what the spool is there to keep.
        """
        # Not waited for: whoever has it makes room already, and a signal handler must not wait for what it interrupts.
        if not self._lock.acquire(blocking=False):
            return True
        try:
            if time.monotonic() < self._broken_until_s:
                return False
            moved, flying = outbox.detach(time.monotonic())
            if not moved and not flying:
                return False
            try:
                self._write(moved, flying)
            except Exception as error:  # the disk, or what cannot be written: never the task's failure
                outbox.reattach(moved)
                if self._broken_until_s < 0:
                    _log.error("the spool in %s cannot be written: %s", self.folder, error)
                self._broken_until_s = time.monotonic() + TRY_AGAIN_S
                return False
            for batch in flying:
                batch.written = True
            count = sum(len(batch.entries) for batch in moved)
            self._waiting += count
            outbox.counts.spooled += count
            self._broken_until_s = -1.0
            return bool(moved)
        finally:
            self._lock.release()

    def _write(self, moved: list[InFlightBatch], flying: list[InFlightBatch]) -> None:
        if self._file is None:
            self._file = SpoolFile.create(self.folder)
        file, new = self._file, []
        try:
            with file.transaction():
                # What is in flight is written first: should this process die, its numbers must not be missing.
                for batch in (*flying, *moved):
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

        None if all that it knows is in the event already.
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

    def settled(self, batch: InFlightBatch) -> None:
        """A batch has acknowledged: if it is on disk too, it isn't needed there any more."""
        if not batch.written:
            return
        with self._lock:
            if self._file is not None:
                last = batch.first + len(batch.events) - 1
                scope = batch.entries[-1].scope
                key = None if scope is None else self._keys.get(scope)
                self._file.acknowledge_numbers((batch.queue.run_id, batch.producer, batch.first, last), key, scope)

    def ready(self, now_s: float, every_s: float) -> bool:
        """Whether something on disk can be tried now; looks for the spools of the dead every so often."""
        if now_s - self._looked_s >= every_s:
            self._looked_s = now_s
            with self._lock:
                self._finished = [file for file in self._finished if not file.remove()]
            try:
                if self.folder.is_dir():
                    self._adopted += abandoned(self.folder, self._left_alone)
            except OSError as error:
                _log.debug("the spool in %s cannot be looked into: %s", self.folder, error)
        return bool(self._adopted or (self._waiting and now_s >= self._read_from_s))

    def look_again_s(self, now_s: float, every_s: float) -> float:
        """Seconds after which `ready` may say otherwise."""
        return max(0.0, self._read_from_s - now_s) if self._waiting else every_s

    def drain(self, runlog: RunLog, outbox: Outbox, on_begun: Callable[[], None]) -> bool | None:
        """Commit some of what is on disk, in one round trip.

        Returns whether Redis was there; None if nothing was sent.
        """
        if self._waiting and time.monotonic() >= self._read_from_s:
            try:
                return self._drain_own(runlog, outbox, on_begun)
            except Exception as error:
                self._cannot_read(outbox, error)
                return None
        if not self._adopted:
            return None
        adopted = self._adopted[0]
        try:
            return self._drain_adopted(adopted, runlog, outbox)
        except Exception as error:
            # Damaged, or written by a newer version: it must not keep this process from its own work.
            _log.error("the spool %s cannot be read, and is left as it is: %s", adopted.path, error)
            self._left_alone[adopted.path] = float("inf")
            self._adopted.pop(0)
            adopted.close()
            return None

    def _drain_own(self, runlog: RunLog, outbox: Outbox, on_begun: Callable[[], None]) -> bool | None:
        with self._lock:
            file = self._file
            batches = [] if file is None else _batches(file.head(DRAIN_ROWS), adopted=False)
        if file is None or not batches:
            raise RuntimeError(f"{self._waiting} events are not in it")
        self._failed_since_s = None
        reached = True
        for rows, result in _committed(batches, self._scopes, runlog):
            if isinstance(result, RunlogUnavailable):
                reached = False
                continue
            last, scope = rows[-1], _scope_of(rows[-1], self._scopes)
            if scope is not None and last.event.kind in STARTS and isinstance(result, Committed):
                scope.begun(last.event, result)
                on_begun()
            _count(outbox, rows, result)
            with self._lock:
                file.acknowledge((row.id for row in rows), last.scope, scope)
                self._waiting -= len(rows)
                if self._waiting <= 0:
                    self._waiting = 0
                    self._nothing_waits(file)
            outbox.acknowledged(last.run_id, len(rows), sum(row.event.log is not None for row in rows))
            _follow(outbox, last, result)
        return reached

    def _nothing_waits(self, file: SpoolFile) -> None:
        self._scopes.clear()
        self._keys.clear()
        if file.is_clean or not file.is_empty:  # what is in flight may be in it, too
            return
        # The disk does not let anything be deleted from it. As a whole it can go, and make room.
        self._file = None
        self._broken_until_s = -1.0
        if not file.remove():
            self._finished.append(file)

    def _cannot_read(self, outbox: Outbox, error: Exception) -> None:
        """Try again for a while; then say in each run's log what is lost, so that what has come since can go."""
        now_s = time.monotonic()
        if self._failed_since_s is None:
            self._failed_since_s = now_s
            _log.error("the spool in %s cannot be read: %s", self.folder, error)
        if now_s - self._failed_since_s < READ_FOR_S:
            self._read_from_s = now_s + READ_AGAIN_S
            return
        with self._lock:
            lost = outbox.disk_is_lost()
            _log.error("the spool in %s cannot be read, %d events are given up: %s", self.folder, lost, error)
            if self._file is not None:
                self._left_alone[self._file.path] = float("inf")
                self._file.close()
            self._file, self._waiting, self._failed_since_s = None, 0, None
            self._scopes.clear()
            self._keys.clear()

    def _drain_adopted(self, adopted: SpoolFile, runlog: RunLog, outbox: Outbox) -> bool | None:
        batches = _batches(adopted.head(DRAIN_ROWS), adopted=True)
        if not batches:
            _log.info("what a dead process had left in %s is committed", adopted.path)
            self._adopted.pop(0)
            if not adopted.remove():
                self._finished.append(adopted)
            return None
        scopes, reached = adopted.scopes(), True
        for rows, result in _committed(batches, scopes, runlog):
            if isinstance(result, RunlogUnavailable):
                reached = False
                continue
            last, scope = rows[-1], _scope_of(rows[-1], scopes)
            if scope is not None and last.event.kind in STARTS and isinstance(result, Committed):
                scope.begun(last.event, result)
            _count(outbox, rows, result)
            adopted.acknowledge((row.id for row in rows), last.scope, scope)
            _follow(outbox, last, result)
        return reached

    def close(self, outbox: Outbox) -> None:
        """Leave what waits to whoever adopts it, and nothing else."""
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
            self._looked_s = float("-inf")
            outbox.disk_is_gone()


def _batches(rows: list[Row], *, adopted: bool) -> list[list[Row]]:
    """Per run the oldest rows that can be one batch: numbers without a gap, nothing after what the rest depends on."""
    batches: dict[str, list[Row]] = {}
    complete: set[str] = set()
    for row in rows:
        if row.run_id in complete:
            continue
        batch = batches.setdefault(row.run_id, [])
        starts = row.event.kind in STARTS
        follows = not batch or (batch[-1].producer == row.producer and batch[-1].number + 1 == row.number)
        if not follows:
            complete.add(row.run_id)
            continue
        # By now somebody else may execute what a dead process had begun.
        batch.append(row._replace(event=row.event._replace(only_if_not_superseded=True)) if adopted and starts else row)
        if starts or row.follow is not None or len(batch) >= BATCH_EVENTS:
            complete.add(row.run_id)
    return list(batches.values())


def _committed(
    batches: list[list[Row]], scopes: dict[int, TaskScope], runlog: RunLog
) -> list[tuple[list[Row], Committed | RunlogError]]:
    """Commit batches of rows in one round trip; each with what became of it."""
    sent = [
        Batch(rows[0].run_id, rows[0].producer, rows[0].number, [_fenced(row, scopes) for row in rows])
        for rows in batches
    ]
    try:
        return list(zip(batches, runlog.commit_many(sent), strict=True))
    except Exception as error:  # something in one of them cannot even be sent; the others must not wait for it
        runlog.close()
        if len(batches) == 1:
            return [(batches[0], RunlogError(f"cannot be sent: {error!r}"))]
        return [pair for rows in batches for pair in _committed([rows], scopes, runlog)]


def _scope_of(row: Row, scopes: dict[int, TaskScope]) -> TaskScope | None:
    return None if row.scope is None else scopes.get(row.scope)


def _fenced(row: Row, scopes: dict[int, TaskScope]) -> Event:
    scope = _scope_of(row, scopes)
    return row.event if scope is None else scope.fence(row.event)


def _follow(outbox: Outbox, last: Row, result: Committed | RunlogError) -> None:
    if last.follow is not None and isinstance(result, Committed) and not result.fenced:
        outbox.append(last.run_id, last.follow)


def _count(outbox: Outbox, rows: list[Row], result: Committed | RunlogError) -> None:
    if isinstance(result, Committed):
        outbox.counts.committed += len(rows)
        outbox.counts.fenced += result.fenced
    else:
        outbox.counts.rejected += len(rows)
        _log.error("run %r: %d events are given up: %s", rows[0].run_id, len(rows), result)
