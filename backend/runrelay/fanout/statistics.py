"""Statistics of the hub and its topics: what tests and operators may look at, instead of private attributes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HubStatistics", "ListenerStatistics", "TopicStatistics"]


@dataclass(frozen=True, slots=True)
class TopicStatistics:
    """One topic at one moment."""

    live: int
    """Subscribers that have been sent the log up to the topic's position."""
    ahead: int
    """Subscribers whose read ended after that position."""
    joining: int
    waiters: int
    """Held polling requests."""
    backlog: int
    """Messages that wait for a repair or for the end of a delivery."""
    is_delivering: bool
    is_repairing: bool
    ends_soon: bool
    """The run has ended, and its subscribers are told so in some seconds."""

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is being read or delivered."""
        return not self.is_repairing and not self.is_delivering


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """The hub at one moment."""

    topics: dict[str, TopicStatistics]
    """By run id."""
    connections: int
    joins_waiting: int
    joins_under_way: int


@dataclass(frozen=True, slots=True)
class ListenerStatistics:
    """The listener at one moment."""

    probes: int
    """Sent so far."""
    pushes: int
    """Reads that brought something from Redis, so far."""
