"""What has happened to a process' events."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counts"]


@dataclass(slots=True)
class Counts:
    """What has happened to events since the process began."""

    appended: int = 0
    coalesced: int = 0
    committed: int = 0
    fenced: int = 0
    """Refused by the run log as of an older attempt, or after the end."""
    dropped_updates: int = 0
    dropped_lines: int = 0
    rejected: int = 0
    """Given up, because the run log will never accept them."""
    spooled: int = 0
