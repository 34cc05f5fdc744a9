"""What a relay counts. Plain integers, written in the fan-out, read by /metrics and /api/stats."""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["RelayMetrics"]


@dataclass(slots=True)
class RelayMetrics:
    """Counters of one relay process since it started."""

    messages: int = 0
    """Messages heard on the channel."""
    deliveries: int = 0
    """Frames handed to clients: one event to a thousand clients is a thousand."""
    forged: int = 0
    """Messages with a `seq` that no commit made: discarded."""
    foreign: int = 0
    """Messages of a log that is not in our database, since relays of another database are heard on our channels."""
    foreign_databases: int = 0
    """Other databases of the same server whose relays were heard: their applications need prefixes of their own."""
    malformed: int = 0
    """Messages that are not JSON objects with a usable run id: discarded."""
    adopted: int = 0
    """Raw messages (without `seq`) that this relay committed."""
    adoption_refused: int = 0
    """Raw messages that were wrong, or too many to hold: discarded."""
    joins: int = 0
    resumes: int = 0
    unrecovered: int = 0
    """Cursors that could not be honoured: the client got a new initial_state."""
    repairs: int = 0
    """Reads of the stream after a jump, a reconnect or a periodic check that found news."""
    too_slow: int = 0
    """Clients cut off over their byte bound."""
    too_many: int = 0
    """Clients closed with 4429 after they were let in: for what they sent, or for a limit of their run's."""
    refused: int = 0
    """Connections refused: limits, origin, tokens."""
    half_open_closed: int = 0
    """Connections closed without a whole request: too late, or too many."""
    reconnects: int = 0
    """Times the listener lost Redis and found it again."""
    deaf: int = 0
    """Times the listener's probe did not come back."""
    contained: int = 0
    """Failures of one run, one client or one message that were kept from everything else: see the log."""
    stalled: int = 0
    """Runs that this relay marked as stalled."""

    def to_json(self) -> dict[str, int]:
        """All counters by name."""
        return asdict(self)
