"""States (a pipeline's own labels) and statuses (which follow from states and kinds of events)."""

from __future__ import annotations

from typing import Final, Literal, get_args

__all__ = ["ACTIVE", "ENDED", "STATUSES", "TERMINAL_STATES", "Level", "Status", "is_ended"]

Status = Literal["queued", "running", "retrying", "stalled", "succeeded", "failed", "cancelled", "unknown"]
Level = Literal["debug", "info", "warning", "error"]

STATUSES: Final[tuple[Status, ...]] = get_args(Status)
TERMINAL_STATES: Final[dict[str, Status]] = {"END": "succeeded", "FAILED": "failed", "CANCELLED": "cancelled"}
"""The three states that end a run, with the status that follows from each."""
ENDED: Final = frozenset(TERMINAL_STATES.values())
ACTIVE: Final = frozenset(STATUSES) - ENDED - {"unknown"}


def is_ended(status: str) -> bool:
    """Whether a run of this status has ended."""
    return status in ENDED
