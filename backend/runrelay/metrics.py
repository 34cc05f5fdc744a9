"""Counters of a relay: plain integers, written by the fan-out, read by /metrics and /api/stats."""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["RelayMetrics"]


@dataclass(slots=True)
class RelayMetrics:
    """Counters of one relay process since it started."""

    messages: int = 0
    """Messages received on the channel."""
    deliveries: int = 0
    """Frames sent to clients: one event to a thousand clients counts a thousand."""
    forged: int = 0
    """Messages with a `seq` that were never committed: discarded."""
    foreign: int = 0
    """Messages of a log that is not in our database, counted once relays of another database were noticed."""
    foreign_databases: int = 0
    """Other databases of this server whose relays use our channels: each application needs its own prefix."""
    malformed: int = 0
    """Messages that are not JSON objects with a usable run id: discarded."""
    adopted: int = 0
    """Raw messages (without `seq`) that this relay committed."""
    adoption_refused: int = 0
    """Raw messages that were wrong, or for which the queue was full: discarded."""
    joins: int = 0
    resumes: int = 0
    unrecovered: int = 0
    """Cursors whose following events were not all there: the client got a new initial_state."""
    repairs: int = 0
    """Reads of the stream after a jump, a reconnect or a periodic check."""
    too_slow: int = 0
    """Clients cut off because more than their bound waited for them."""
    too_many: int = 0
    """Clients closed with 4429 after they were accepted: for what they sent, or for their run's limit."""
    refused: int = 0
    """Refused connections and requests: limits, origin, tokens."""
    half_open_closed: int = 0
    """Connections closed without a whole request: too late, or too many."""
    reconnects: int = 0
    """How often the listener lost its connection and has another."""
    deaf: int = 0
    """How often the listener replaced its connection because its probes did not come back."""
    contained: int = 0
    """Failures of one run, one client or one message, contained there: see the log."""
    stalled: int = 0
    """Runs that this relay marked as stalled."""

    def to_json(self) -> dict[str, int]:
        """All counters by name."""
        return asdict(self)
