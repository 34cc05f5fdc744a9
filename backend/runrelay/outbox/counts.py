"""Counters of a process' events, and how much waits in its outbox."""

from __future__ import annotations

from dataclasses import dataclass

from ..runlog import GivenUp

__all__ = ["Counts", "Statistics"]


@dataclass(slots=True)
class Counts:
    """What became of events since the process began."""

    appended: int = 0
    coalesced: int = 0
    committed: int = 0
    fenced: int = 0
    """Committed without effect: of an older attempt, or after the run's end."""
    dropped_updates: int = 0
    dropped_lines: int = 0
    rejected: int = 0
    """Given up: they cannot be sent, or the run log will never accept them."""
    unreported: GivenUp | None = None
    """Of the rejected ones, what Redis does not know of yet."""
    spooled: int = 0
    """Written to the spool."""

    def reject(self, count: int, run_id: str, why: str) -> None:
        """Take note of events that are given up."""
        self.rejected += count
        before = 0 if self.unreported is None else self.unreported.events
        self.unreported = GivenUp(before + count, run_id, why)

    @property
    def lost(self) -> int:
        """Events that are not committed, and never will be."""
        return self.rejected + self.dropped_updates + self.dropped_lines


@dataclass(frozen=True, slots=True)
class Statistics:
    """How much an outbox holds at one moment."""

    ingress: int
    """Events that are not sorted into a queue yet."""
    queues: int
    """Runs that are remembered, idle ones included."""
    waiting: int
    """Events in queues, not in a batch yet."""
    in_flight: int
    """Events in batches that are not settled yet."""
    spooled: int
    """Events that wait in the spool."""
    bytes: int
    """Of queues and batches in memory."""
