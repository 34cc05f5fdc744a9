"""A spool's file: SQLite in WAL mode, and beside it a lock that its owner holds as long as it lives."""

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
"""Nobody else has to do with the file while it has an owner; one who looks into it must not hold a task up."""
# Locks are a process': within one, a file is known to have an owner by its name. A forked child holds none.
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
"""What earlier versions wrote: a file may be left by a worker of one of them."""


def encode(event: Event) -> bytes:
    """An event as JSON, without what is left at its default."""
    fields = {name: value for name, value in event._asdict().items() if value != _DEFAULTS[name] or name == "ts_ms"}
    encoded = [name for name, value in fields.items() if isinstance(value, bytes)]  # JSON within JSON, as it is
    fields.update({name: fields[name].decode() for name in encoded}, encoded=encoded)
    if event.steps is not None:
        fields["steps"] = [list(spec) for spec in event.steps]
    return orjson.dumps(fields)


def decode(raw: bytes) -> Event:
    """The event that `encode` was given."""
    fields = {_RENAMED.get(name, name): value for name, value in orjson.loads(raw).items()}
    for name in fields.pop("encoded"):
        fields[name] = fields[name].encode()
    for name in ("data", "result"):  # a version that did not look may have written it
        if name in fields and not is_shallow(fields[name]):
            del fields[name]
    if "steps" in fields:
        fields["steps"] = tuple(StepSpec(*spec) for spec in fields["steps"])
    return Event(**fields)


class SpoolFile:
    """One process' spool, while this process owns it. Not for several threads at once.

    What is acknowledged is deleted; as long as the disk refuses that (SQLite needs room even to delete), it is
    remembered here, and not given out again. When nothing waits in a file any more, it can go: to delete a file takes
    no room.
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
        """A new file in `folder`, which is made if it isn't there.

        Raises:
            OSError, sqlite3.Error: the folder can't be written. Nothing is left in it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        # a process can leave several, one after the other: they are adopted in the order of their names
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
        """Delete the file; nothing waits in it any more.

        Returns False if the disk refuses that: then it stays this process', and can be tried again.
        """
        with suppress(sqlite3.Error):
            self._database.close()
        if not _unlink(self.path):
            return False
        _release(self.path, self._lock)
        return True

    def close(self) -> None:
        """Leave the file to whoever adopts it."""
        self._delete(now=True)
        with suppress(sqlite3.Error):
            self._database.close()
        _release(self.path, self._lock)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block, or nothing.

        Raises:
            sqlite3.Error: the disk does not take it, and nothing is changed.
        """
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            # SQLite has rolled back some failures itself. One that it cannot roll back ends with the connection.
            try:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
            except sqlite3.Error:
                self._database.close()
                self._database = _opened(self.path)
            raise

    def add_scope(self, key: int, run_id: str, step: str | None, attempt: int | None) -> None:
        """Note a scope whose start is not committed yet."""
        self._database.execute("INSERT INTO scope VALUES (?, ?, ?, ?, NULL)", (key, run_id, step, attempt))

    def scopes(self) -> dict[int, TaskScope]:
        """The scopes by their keys, as far as is known."""
        found = self._database.execute("SELECT key, run_id, step, attempt, step_attempt FROM scope")
        return {key: TaskScope(*fields) for key, *fields in found}

    def add(self, rows: Iterable[tuple[str, str, int, int | None, bytes, bytes | None]]) -> None:
        """Append events: run id, producer, number, scope, event, what follows."""
        self._database.executemany(
            "INSERT INTO event (run_id, producer, number, scope, event, follow) VALUES (?, ?, ?, ?, ?, ?)", rows
        )

    def head(self, limit: int) -> list[Row]:
        """The oldest events that are not acknowledged.

        Raises:
            sqlite3.Error: the disk fails.
            Exception: what is there is no event of this version.
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
        """Whether nothing waits in it. If that cannot be read, something may."""
        try:
            return not self.head(1)
        except Exception:
            return False

    @property
    def is_clean(self) -> bool:
        """Whether everything that is acknowledged is deleted, too."""
        return not (self._acknowledged or self._acknowledged_numbers or self._scopes_to_set)

    def acknowledge(self, ids: Iterable[int], scope: int | None = None, begun: TaskScope | None = None) -> None:
        """These events are committed, and with the last of them perhaps a scope's start."""
        self._acknowledged.update(ids)
        if scope is not None and begun is not None:
            self._scopes_to_set[scope] = (begun.attempt, begun.step_attempt)
        self._delete()

    def acknowledge_numbers(
        self, numbers: tuple[str, str, int, int], scope: int | None = None, begun: TaskScope | None = None
    ) -> None:
        """These numbers of a producer are committed: run id, producer, first, last."""
        self._acknowledged_numbers.append(numbers)
        if scope is not None and begun is not None:
            self._scopes_to_set[scope] = (begun.attempt, begun.step_attempt)
        self._delete()

    def _delete(self, *, now: bool = False) -> None:
        """Delete what is acknowledged, unless the disk has refused that a moment ago."""
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
                _log.error("what is committed cannot be deleted from the spool %s: %s", self.path, error)
            self._delete_from_s = time.monotonic() + DELETE_AGAIN_S
            return
        self._acknowledged.clear()
        self._acknowledged_numbers.clear()
        self._scopes_to_set.clear()


def abandoned(folder: Path, left_alone: dict[Path, float]) -> Iterator[SpoolFile]:
    """The spools in `folder` whose owners are dead; each is owned by this process from then on.

    Args:
        left_alone: files that are not tried before a time (monotonic): what turns out to be no spool, for good; what
            the disk does not let be opened, for `OPEN_AGAIN_S`.
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
        # another process has adopted and finished it in between, or nobody can
        _release(path, lock)


def _opened(path: Path) -> sqlite3.Connection:
    try:
        return _connected(path)
    except sqlite3.OperationalError:
        # The index of the journal lies in a file of its own, which a full disk has no room for; or in this process'
        # memory, if no other may look.
        return _connected(path, "PRAGMA locking_mode = EXCLUSIVE")


def _connected(path: Path, *first: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_LOCKED_S, isolation_level=None, check_same_thread=False)
    try:
        for statement in first:
            database.execute(statement)
        database.execute("PRAGMA journal_mode = WAL")
        # Enough for a process that dies; a machine that does may lose the last moments.
        database.execute("PRAGMA synchronous = NORMAL")
        schema = resources.files(__package__).joinpath("spool.sql").read_text("utf-8")
        database.executescript(f"BEGIN; {schema} COMMIT;")
    except BaseException:
        database.close()
        raise
    return database


def _unlink(path: Path) -> bool:
    """Delete a spool and what belongs to it; the lock last, which says whose it is. Returns whether it is gone."""
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
    """Take a spool's lock, or None if another process has it. It ends with its process, and is not inherited."""
    try:
        lock = _lock_path(path).open("ab")
    except OSError:  # another user's
        return None
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    _owned.add((os.getpid(), path.name))
    return lock
