"""A spool's file: SQLite in WAL mode, and beside it a lock that its owner holds as long as it lives."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import orjson

from ..progress import Event, StepSpec
from ..progress.depth import is_shallow
from .scopes import TaskScope

__all__ = ["Row", "SpoolFile", "abandoned", "decode", "encode"]

_log = logging.getLogger("runrelay.publisher")
_DEFAULTS: Final = Event(0)._asdict()
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
    fields = orjson.loads(raw)
    for name in fields.pop("encoded"):
        fields[name] = fields[name].encode()
    for name in ("data", "result"):  # a version that did not look may have written it
        if name in fields and not is_shallow(fields[name]):
            del fields[name]
    if "steps" in fields:
        fields["steps"] = tuple(StepSpec(*spec) for spec in fields["steps"])
    return Event(**fields)


class SpoolFile:
    """One process' spool, while this process owns it. Not for several threads at once."""

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        self.path = path
        self._lock = lock
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            # Enough for a process that dies; a machine that does may lose the last moments.
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(resources.files(__package__).joinpath("spool.sql").read_text("utf-8"))
        except BaseException:
            self._database.close()
            raise

    @staticmethod
    def create(folder: Path) -> SpoolFile:
        """A new file in `folder`, which is made if it isn't there.

        Raises:
            OSError, sqlite3.Error: the folder can't be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        # a process can leave several, one after the other: they are adopted in the order of their names
        path = folder / f"{os.getpid()}-{time.time_ns():016x}-{secrets.token_hex(4)}.sqlite"
        lock = _locked(path)
        if lock is None:
            raise OSError(f"cannot lock the new spool {path}")
        return SpoolFile(path, lock)

    def remove(self) -> None:
        """Delete the file; nothing is in it any more."""
        self._database.close()
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").unlink()
        with suppress(FileNotFoundError):
            _lock_path(self.path).unlink()
        self._release()

    def close(self) -> None:
        """Leave the file to whoever adopts it."""
        self._database.close()
        self._release()

    def _release(self) -> None:
        _owned.discard((os.getpid(), self.path.name))
        self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block, or nothing."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def add_scope(self, key: int, run_id: str, step: str | None, attempt: int | None) -> None:
        """Note a scope whose start is not committed yet."""
        self._database.execute("INSERT INTO scope VALUES (?, ?, ?, ?, NULL)", (key, run_id, step, attempt))

    def set_scope(self, key: int, attempt: int | None, step_attempt: int | None) -> None:
        """Its start is committed."""
        self._database.execute(
            "UPDATE scope SET attempt = ?, step_attempt = ? WHERE key = ?", (attempt, step_attempt, key)
        )

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
        """The oldest events."""
        found: Sequence[Any] = self._database.execute(
            "SELECT id, run_id, producer, number, scope, event, follow FROM event ORDER BY id LIMIT ?", (limit,)
        ).fetchall()
        return [
            Row(row_id, run_id, producer, number, scope, decode(event), None if follow is None else decode(follow))
            for row_id, run_id, producer, number, scope, event, follow in found
        ]

    def delete(self, ids: Iterable[int]) -> None:
        """These are committed."""
        self._database.executemany("DELETE FROM event WHERE id = ?", ((row_id,) for row_id in ids))

    def delete_numbers(self, run_id: str, producer: str, first: int, last: int) -> None:
        """These numbers of a producer are committed."""
        self._database.execute(
            "DELETE FROM event WHERE run_id = ? AND producer = ? AND number BETWEEN ? AND ?",
            (run_id, producer, first, last),
        )

    @property
    def empty(self) -> bool:
        """Whether nothing waits here."""
        return self._database.execute("SELECT 1 FROM event LIMIT 1").fetchone() is None


def abandoned(folder: Path, unreadable: set[Path]) -> Iterator[SpoolFile]:
    """The spools in `folder` whose owners are dead; each is owned by this process from then on.

    What turns out to be no spool is added to `unreadable`, and what is in there is left alone.
    """
    for path in sorted(folder.glob("*.sqlite")):
        if path in unreadable or (os.getpid(), path.name) in _owned:
            continue
        lock = _locked(path)
        if lock is None:
            continue
        if path.exists():
            try:
                yield SpoolFile(path, lock)
                continue
            except sqlite3.Error as error:
                _log.error("%s is not a spool that can be read, and is left as it is: %s", path, error)
                unreadable.add(path)
        # another process has adopted and finished it in between, or nobody can
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
