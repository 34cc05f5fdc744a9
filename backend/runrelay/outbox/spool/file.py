"""A spool's file: SQLite in WAL mode, and beside it a lock file that the owning process keeps locked while it lives."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import IO, Final, NamedTuple

import orjson

from ...progress import Event, StepSpec
from ...progress.depth import is_shallow
from ..scopes import TaskScope

__all__ = ["Row", "SpoolFile", "abandoned", "decode", "encode"]

_log = logging.getLogger("runrelay.publisher")
_DEFAULTS: Final = Event(0)._asdict()
DELETE_AGAIN_S: Final = 10.0
OPEN_AGAIN_S: Final = 60.0
_LOCKED_S: Final = 0.5
"""How long SQLite waits for a lock. Only the owner works with the file. A person or a backup that reads it must not
hold a task up."""
# A POSIX lock belongs to a process, and does not exclude a second owner within it: hence the names of the files that
# this process owns. The process id is part of the key, because a forked child inherits the set but no lock.
_owned: set[tuple[int, str]] = set()


class Row(NamedTuple):
    """An event on disk."""

    id: int
    run_id: str
    producer: str
    number: int
    scope: int | None
    event: Event
    follow: Event | None


_RENAMED: Final = {"must": "precondition", "late": "only_if_not_superseded"}
"""Field names of earlier versions, whose workers may have left a file."""


def encode(event: Event) -> bytes:
    """An event as JSON, without the fields that have their default."""
    fields = {name: value for name, value in event._asdict().items() if value != _DEFAULTS[name] or name == "ts_ms"}
    encoded = [name for name, value in fields.items() if isinstance(value, bytes)]  # JSON that stays text
    fields.update({name: fields[name].decode() for name in encoded}, encoded=encoded)
    if event.steps is not None:
        fields["steps"] = [list(spec) for spec in event.steps]
    return orjson.dumps(fields)


def decode(raw: bytes) -> Event:
    """The event that `encode` was given.

    Raises:
        Exception: `raw` is no event of this version.
    """
    fields = {_RENAMED.get(name, name): value for name, value in orjson.loads(raw).items()}
    for name in fields.pop("encoded"):
        fields[name] = fields[name].encode()
    for name in ("data", "result"):  # an earlier version did not check how deep it was
        if name in fields and not is_shallow(fields[name]):
            del fields[name]
    if "steps" in fields:
        fields["steps"] = tuple(StepSpec(*spec) for spec in fields["steps"])
    return Event(**fields)


class SpoolFile:
    """A spool's file that this process owns. Not for several threads at once.

    Acknowledged rows are deleted. While the disk refuses that (SQLite needs room even to delete), they are remembered
    here, and `head` leaves them out. A file in which no row waits can be deleted as a whole: that needs no room.
    """

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        self.path = path
        self._lock = lock
        self._acknowledged: set[int] = set()
        self._acknowledged_numbers: list[tuple[str, str, int, int]] = []
        self._scopes_to_set: dict[int, tuple[int | None, int | None]] = {}
        self._after_id = 0
        """Everything up to this row is acknowledged."""
        self._delete_from_s = float("-inf")
        self._database = _opened(path)

    @staticmethod
    def create(folder: Path) -> SpoolFile:
        """A new file in `folder`, which is made if it is not there.

        Raises:
            OSError, sqlite3.Error: the folder cannot be written. Nothing is left in it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        # A process can leave several files, one for each outage. They are adopted in the order of their names.
        path = folder / f"{os.getpid()}-{time.time_ns():016x}-{secrets.token_hex(4)}.sqlite"
        lock = _locked(path)
        if lock is None:
            raise OSError(f"cannot lock the new spool {path}")
        try:
            return SpoolFile(path, lock)
        except BaseException:
            _unlink(path)
            _release(path, lock)
            raise

    def remove(self) -> bool:
        """Delete the file, in which no row waits. Returns False if the disk refuses that: it can be tried again."""
        with suppress(sqlite3.Error):
            self._database.close()
        if not _unlink(self.path):
            return False
        _release(self.path, self._lock)
        return True

    def close(self) -> None:
        """Leave the file to the process that adopts it."""
        self._delete(now=True)
        with suppress(sqlite3.Error):
            self._database.close()
        _release(self.path, self._lock)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write everything in the block, or nothing.

        Raises:
            sqlite3.Error: the disk did not take it. Nothing is changed.
        """
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            # SQLite rolls back after some failures itself. If it cannot roll back, a new connection does.
            try:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
            except sqlite3.Error:
                self._database.close()
                self._database = _opened(self.path)
            raise

    def add_scope(self, key: int, run_id: str, step: str | None, attempt: int | None) -> None:
        """Write a scope whose start is not committed yet."""
        self._database.execute("INSERT INTO scope VALUES (?, ?, ?, ?, NULL)", (key, run_id, step, attempt))

    def scopes(self) -> dict[int, TaskScope]:
        """The scopes by their keys, with the attempts that are known."""
        found = self._database.execute("SELECT key, run_id, step, attempt, step_attempt FROM scope")
        return {key: TaskScope(*fields) for key, *fields in found}

    def add(self, rows: Iterable[tuple[str, str, int, int | None, bytes, bytes | None]]) -> None:
        """Append events: run id, producer, number, scope, event, the event that follows it."""
        self._database.executemany(
            "INSERT INTO event (run_id, producer, number, scope, event, follow) VALUES (?, ?, ?, ?, ?, ?)", rows
        )

    def head(self, limit: int) -> list[Row]:
        """The oldest events that are not acknowledged, at most `limit`.

        Raises:
            sqlite3.Error: the disk fails.
            Exception: a row is no event of this version.
        """
        rows: list[Row] = []
        found = self._database.execute(
            "SELECT id, run_id, producer, number, scope, event, follow FROM event WHERE id > ? ORDER BY id",
            (self._after_id,),
        )
        with closing(found):
            for row_id, run_id, producer, number, scope, event, follow in found:
                if row_id in self._acknowledged or self._has_number(run_id, producer, number):
                    if not rows:
                        self._after_id = row_id
                    continue
                following = None if follow is None else decode(follow)
                rows.append(Row(row_id, run_id, producer, number, scope, decode(event), following))
                if len(rows) == limit:
                    break
        return rows

    def _has_number(self, run_id: str, producer: str, number: int) -> bool:
        return any(
            (run_id, producer) == (theirs, name) and first <= number <= last
            for theirs, name, first, last in self._acknowledged_numbers
        )

    @property
    def is_empty(self) -> bool:
        """Whether no row waits in it. False if that cannot be read."""
        try:
            return not self.head(1)
        except Exception:
            return False

    @property
    def is_clean(self) -> bool:
        """Whether all acknowledged rows are deleted."""
        return not (self._acknowledged or self._acknowledged_numbers or self._scopes_to_set)

    def acknowledge(self, ids: Iterable[int], scope: int | None = None, begun: TaskScope | None = None) -> None:
        """These rows are settled. `begun` is the scope, if the last of them is its start: its attempts are kept."""
        self._acknowledged.update(ids)
        if scope is not None and begun is not None:
            self._scopes_to_set[scope] = (begun.attempt, begun.step_attempt)
        self._delete()

    def acknowledge_numbers(
        self, numbers: tuple[str, str, int, int], scope: int | None = None, begun: TaskScope | None = None
    ) -> None:
        """These numbers of a producer are settled: run id, producer, first, last. `begun` as in `acknowledge`."""
        self._acknowledged_numbers.append(numbers)
        if scope is not None and begun is not None:
            self._scopes_to_set[scope] = (begun.attempt, begun.step_attempt)
        self._delete()

    def _delete(self, *, now: bool = False) -> None:
        """Delete the acknowledged rows, unless the disk has refused that within `DELETE_AGAIN_S`."""
        if self.is_clean:
            return
        if not now and time.monotonic() < self._delete_from_s:
            return
        try:
            with self.transaction():
                self._database.executemany(
                    "DELETE FROM event WHERE id = ?", ((row_id,) for row_id in self._acknowledged)
                )
                self._database.executemany(
                    "DELETE FROM event WHERE run_id = ? AND producer = ? AND number BETWEEN ? AND ?",
                    self._acknowledged_numbers,
                )
                self._database.executemany(
                    "UPDATE scope SET attempt = ?, step_attempt = ? WHERE key = ?",
                    ((*attempts, key) for key, attempts in self._scopes_to_set.items()),
                )
        except (sqlite3.Error, OSError) as error:
            if self._delete_from_s == float("-inf"):
                _log.error("committed events cannot be deleted from the spool %s: %s", self.path, error)
            self._delete_from_s = time.monotonic() + DELETE_AGAIN_S
            return
        self._acknowledged.clear()
        self._acknowledged_numbers.clear()
        self._scopes_to_set.clear()


def abandoned(folder: Path, left_alone: dict[Path, float]) -> Iterator[SpoolFile]:
    """The files in `folder` whose owners are dead. Each is owned by this process from then on.

    Args:
        folder: is read once.
        left_alone: files that are not tried before a time (monotonic). A file that is no spool is entered for good, one
            that the disk does not let be opened for `OPEN_AGAIN_S`.
    """
    for path in sorted(folder.glob("*.sqlite")):
        if (os.getpid(), path.name) in _owned or time.monotonic() < left_alone.get(path, float("-inf")):
            continue
        lock = _locked(path)
        if lock is None:
            continue
        if path.exists():
            try:
                file = SpoolFile(path, lock)
            except (sqlite3.Error, OSError) as error:
                if path not in left_alone:
                    _log.error("%s is not a spool that can be read, and is left as it is: %s", path, error)
                passing = isinstance(error, (sqlite3.OperationalError, OSError))
                left_alone[path] = time.monotonic() + OPEN_AGAIN_S if passing else float("inf")
            else:
                yield file
                continue
        # another process has adopted and deleted it in between, or it cannot be opened
        _release(path, lock)


def _opened(path: Path) -> sqlite3.Connection:
    try:
        return _connected(path)
    except sqlite3.OperationalError:
        # SQLite keeps the index of the WAL in a file of its own, for which a full disk has no room. In exclusive mode
        # it is kept in this process' memory.
        return _connected(path, "PRAGMA locking_mode = EXCLUSIVE")


def _connected(path: Path, *first: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_LOCKED_S, isolation_level=None, check_same_thread=False)
    try:
        for statement in first:
            database.execute(statement)
        database.execute("PRAGMA journal_mode = WAL")
        # Safe if the process dies. If the machine does, the last moments may be lost.
        database.execute("PRAGMA synchronous = NORMAL")
        schema = resources.files(__package__).joinpath("spool.sql").read_text("utf-8")
        database.executescript(f"BEGIN; {schema} COMMIT;")
    except BaseException:
        database.close()
        raise
    return database


def _unlink(path: Path) -> bool:
    """Delete a file with its journals, and last its lock, which says who owns it. Returns whether all is gone."""
    try:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        _lock_path(path).unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _release(path: Path, lock: IO[bytes]) -> None:
    _owned.discard((os.getpid(), path.name))
    lock.close()


def _lock_path(path: Path) -> Path:
    return path.with_suffix(".lock")


def _locked(path: Path) -> IO[bytes] | None:
    """Take a file's lock. None if another process has it. It ends with its process; a forked child does not have it."""
    try:
        lock = _lock_path(path).open("ab")
    except OSError:  # the file of another user
        return None
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    _owned.add((os.getpid(), path.name))
    return lock
