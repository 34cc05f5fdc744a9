"""The spool: events that do not fit in memory while Redis is away wait on disk. Off by default.

__init__.py   the interface that the outbox, the flusher and the publisher use; a spool that is off; opening one
disk.py       a spool in a folder: one file per process, and the files of dead processes
replay.py     rows of a file as batches, and what became of them
file.py       one file: SQLite in WAL mode, and the lock of its owner
spool.sql     its tables
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from ...runlog import RunLog
    from ..outbox import Outbox
    from ..queues import InFlightBatch

__all__ = ["NoSpool", "Replayed", "Spool", "open_spool"]

_log = logging.getLogger("runrelay.publisher")

Replayed = Literal["idle", "looked", "sent", "away"]
"""What a replay has done.

idle:   nothing in the spool can be tried now
looked: nothing was sent, but the next replay may send something
sent:   Redis has answered for some of the events
away:   Redis could not be reached
"""


class Spool(Protocol):
    """Where events wait that the outbox cannot hold. No method raises an error of the disk.

    Any thread may call `put`. Only the flusher's thread calls `ack`, `replay` and `replay_again_s`.
    """

    @property
    def enabled(self) -> bool:
        """Whether `put` can ever take anything."""

    def put(self) -> bool:
        """Move everything that waits in memory to the spool. Returns whether there is room in memory now."""

    def ack(self, batch: InFlightBatch) -> None:
        """A batch from memory is committed, or given up: if it is in the spool too, it is no longer needed there."""

    def replay(self, runlog: RunLog) -> Replayed:
        """Commit some of the spooled events, in one round trip."""

    def replay_again_s(self) -> float | None:
        """Seconds after which `replay` may have something to do, unless `put` is called before. None: never."""

    def close(self) -> None:
        """Leave the spooled events to another process. The flusher has ended; called by the thread that closes."""

    def forked(self) -> None:
        """In a forked child, before anything else is done: the files are the parent's."""


class NoSpool:
    """A spool that is off: it takes nothing, and the outbox drops by its policy."""

    enabled = False

    def put(self) -> bool:
        """Take nothing."""
        return False

    def ack(self, batch: InFlightBatch) -> None:
        """Do nothing."""

    def replay(self, runlog: RunLog) -> Replayed:
        """Commit nothing."""
        return "idle"

    def replay_again_s(self) -> float | None:
        """Never."""
        return None

    def close(self) -> None:
        """Do nothing."""

    def forked(self) -> None:
        """Do nothing."""


def open_spool(folder: Path | None, outbox: Outbox, on_begun: Callable[[], None]) -> Spool:
    """The spool in `folder`; one that is off if `folder` is None.

    A folder that cannot be made is logged here, and not only in the outage that the spool is for.

    Args:
        folder: where the process' file goes, and where the files of dead processes are found.
        outbox: whose events are moved, and gets those that follow a replayed one.
        on_begun: called when the start of a scope of this process is committed from the spool.
    """
    if folder is None:
        return NoSpool()
    from .disk import DiskSpool  # imported only if a spool is wanted: SQLite and POSIX locks

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _log.error("the spool in %s cannot be used: %s", folder, error.strerror or error)
    return DiskSpool(folder, outbox, on_begun)
