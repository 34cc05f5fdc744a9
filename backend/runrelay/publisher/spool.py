"""The spool: what does not fit in memory while Redis is away waits on disk, and is committed in order when it is back.

What is on disk of a run is older than what is in memory, and goes first. Every event gets its number before it is
written, so that it is committed once, whoever sends it: this process, perhaps twice, or one that adopts the file after
its death.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..errors import RunlogError, RunlogUnavailable
from ..progress import Event
from ..runlog import Batch, Committed, RunLog
from .boxes import Entry, Flight
from .outbox import BATCH_EVENTS, Outbox
from .scopes import STARTS, TaskScope
from .spoolfile import Row, SpoolFile, abandoned, encode

__all__ = ["Spool"]

_log = logging.getLogger("runrelay.publisher")
DRAIN_ROWS: Final = 2000
TRY_AGAIN_S: Final = 10.0
"""After the disk has failed."""
_inherited: list[object] = []


class Spool:
    """A folder where this process has a file, as soon as it needs one, and where it looks for those of the dead."""

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
        self._unreadable: set[Path] = set()
        self._looked_s = float("-inf")
        self._broken_until_s = -1.0

    def forked(self) -> None:
        """In a forked child: the file is the parent's. Closing it could take its journal away, so it is kept open."""
        _inherited.append((self._file, self._adopted))

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
            for flight in flying:
                flight.written = True
            count = sum(len(flight.entries) for flight in moved)
            self._waiting += count
            outbox.counts.spooled += count
            self._broken_until_s = -1.0
            return bool(moved)
        finally:
            self._lock.release()

    def _write(self, moved: list[Flight], flying: list[Flight]) -> None:
        if self._file is None:
            self._file = SpoolFile.create(self.folder)
        file = self._file
        with file.transaction():
            # What is in flight is written first: should this process die, its numbers must not be missing.
            for flight in (*flying, *moved):
                file.add(
                    (
                        flight.box.run_id,
                        flight.producer,
                        number,
                        self._scope_key(file, entry),
                        encode(event),
                        None if entry.follow is None else encode(entry.follow),
                    )
                    for number, (entry, event) in enumerate(
                        zip(flight.entries, flight.events, strict=True), flight.first
                    )
                )

    def _scope_key(self, file: SpoolFile, entry: Entry) -> int | None:
        """The scope that will have to fence this event; None if all that it knows is in the event already."""
        scope = entry.scope
        if scope is None or (scope.attempt is not None and (scope.step is None or scope.step_attempt is not None)):
            return None
        key = self._keys.get(scope)
        if key is None:
            key = self._keys[scope] = next(self._numbers)
            self._scopes[key] = scope
            file.add_scope(key, scope.run_id, scope.step, scope.attempt)
        return key

    def settled(self, flight: Flight) -> None:
        """A flight has landed: if it is on disk too, it isn't needed there any more."""
        with self._lock:
            if flight.written and self._file is not None:
                last = flight.first + len(flight.events) - 1
                scope = flight.entries[-1].scope
                with self._file.transaction():
                    self._file.delete_numbers(flight.box.run_id, flight.producer, flight.first, last)
                    if scope in self._keys:
                        self._file.set_scope(self._keys[scope], scope.attempt, scope.step_attempt)

    def ready(self, now_s: float, every_s: float) -> bool:
        """Whether something on disk can be tried now; looks for the spools of the dead every so often."""
        if now_s - self._looked_s >= every_s:
            self._looked_s = now_s
            if self.folder.is_dir():
                self._adopted += abandoned(self.folder, self._unreadable)
        return self.pending

    def drain(self, runlog: RunLog, outbox: Outbox, on_begun: Callable[[], None]) -> bool:
        """Commit some of what is on disk, in one round trip. Returns False when Redis is away."""
        file = self._file
        if self._waiting and file is not None:
            with self._lock:
                batches = _batches(file.head(DRAIN_ROWS), adopted=False)
            reached, settled = _commit(file, batches, self._scopes, runlog, outbox, on_begun, self._lock)
            with self._lock:
                self._waiting -= sum(map(len, settled))
                if not self._waiting:
                    self._scopes.clear()
                    self._keys.clear()
            for rows in settled:
                outbox.landed(rows[0].run_id, len(rows))
            return reached
        adopted = self._adopted[0]
        try:
            return self._drain_adopted(adopted, runlog, outbox)
        except Exception as error:
            # Damaged, or written by a newer version: it must not keep this process from its own work.
            _log.error("the spool %s cannot be read, and is left as it is: %s", adopted.path, error)
            self._unreadable.add(adopted.path)
            self._adopted.pop(0)
            adopted.close()
            return True

    def _drain_adopted(self, adopted: SpoolFile, runlog: RunLog, outbox: Outbox) -> bool:
        batches = _batches(adopted.head(DRAIN_ROWS), adopted=True)
        if not batches:
            _log.info("what a dead process had left in %s is committed", adopted.path)
            adopted.remove()
            self._adopted.pop(0)
            return True
        return _commit(adopted, batches, adopted.scopes(), runlog, outbox, lambda: None, self._lock)[0]

    def close(self, outbox: Outbox) -> None:
        """Leave what waits to whoever adopts it, and nothing else."""
        with self._lock:
            for file in (*self._adopted, *(() if self._file is None else (self._file,))):
                if file.empty:
                    file.remove()
                else:
                    file.close()
            self._adopted, self._file, self._waiting = [], None, 0
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
        batch.append(row._replace(event=row.event._replace(late=True)) if adopted and starts else row)
        if starts or row.follow is not None or len(batch) >= BATCH_EVENTS:
            complete.add(row.run_id)
    return list(batches.values())


def _commit(
    file: SpoolFile,
    batches: list[list[Row]],
    scopes: dict[int, TaskScope],
    runlog: RunLog,
    outbox: Outbox,
    on_begun: Callable[[], None],
    lock: threading.RLock,
) -> tuple[bool, list[list[Row]]]:
    """Commit batches of rows and delete them. Returns whether Redis was there, and the batches that are settled."""
    results = runlog.commit_many(
        [
            Batch(rows[0].run_id, rows[0].producer, rows[0].number, [_fenced(row, scopes) for row in rows])
            for rows in batches
        ]
    )
    settled = []
    for rows, result in zip(batches, results, strict=True):
        if isinstance(result, RunlogUnavailable):
            continue
        settled.append(rows)
        _count(outbox, rows, result)
        last = rows[-1]
        scope = None if last.scope is None else scopes.get(last.scope)
        if scope is not None and last.event.kind in STARTS and isinstance(result, Committed):
            scope.begun(last.event, result)
            on_begun()
        with lock, file.transaction():
            file.delete(row.id for row in rows)
            if scope is not None and last.scope is not None:
                file.set_scope(last.scope, scope.attempt, scope.step_attempt)
        if last.follow is not None and isinstance(result, Committed) and not result.fenced:
            outbox.append(last.run_id, last.follow)
    return len(settled) == len(batches), settled


def _fenced(row: Row, scopes: dict[int, TaskScope]) -> Event:
    scope = None if row.scope is None else scopes.get(row.scope)
    return row.event if scope is None else scope.fence(row.event)


def _count(outbox: Outbox, rows: list[Row], result: Committed | RunlogError) -> None:
    if isinstance(result, Committed):
        outbox.counts.committed += len(rows)
        outbox.counts.fenced += result.fenced
    else:
        outbox.counts.poisoned += len(rows)
        _log.error("run %r: %d events are given up: %s", rows[0].run_id, len(rows), result)
