"""Counters of a process' events, and how much waits in its outbox."""

from __future__ import annotations

from dataclasses import dataclass

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
    """Given up: the run log will never accept them."""
    spooled: int = 0
    """Written to the spool."""


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
