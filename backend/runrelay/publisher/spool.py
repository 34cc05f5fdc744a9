"""The spool: what does not fit in memory waits on disk."""

from __future__ import annotations

from typing import Protocol

from ..runlog import RunLog
from .boxes import Flight
from .outbox import Outbox

__all__ = ["Spool"]


class Spool(Protocol):
    """What the flusher asks of it."""

    def ready(self, now_s: float, every_s: float) -> bool:
        """Whether something on disk can be tried now."""

    def drain(self, runlog: RunLog, outbox: Outbox) -> bool:
        """Commit what is on disk. Returns False when Redis is away."""

    def settled(self, flight: Flight) -> None:
        """What flew is committed."""
