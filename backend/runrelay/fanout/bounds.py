"""What one client may cost: how many bytes may wait for it (backpressure), and how much it may send.

What it sends is counted in two token buckets (rate limit), of frames and of bytes. Each holds what `burst_s` seconds
bring. A bucket is kept as the time at which it is full again (the generic cell rate algorithm, ITU-T I.371). This is
one number, it needs no timer, and a client that was silent for long enough needs no bucket at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..progress import MAX_SNAPSHOT_BYTES

__all__ = ["CATCHUPS_AT_ONCE", "ClientBounds", "Meter", "exempt_bytes"]

CATCHUPS_AT_ONCE: Final = 16
"""How many joins of one connection may be under way at the same time."""


def exempt_bytes(buffer_bytes: int) -> int:
    """How many bytes of catch-ups (initial_states, missed events) may wait for a client beyond its bound.

    The value is enough for all joins that may be under way for one connection. No further join begins until the client
    has taken these. So joins never exceed it. New initial_states of hundreds of runs whose logs were replaced may; then
    the client is cut off and reconnects. A client that reads nothing costs this and its bound, 9 MiB by default. Most
    of these bytes are shared with other clients of the same runs.
    """
    return CATCHUPS_AT_ONCE * max(MAX_SNAPSHOT_BYTES, buffer_bytes // 2)


@dataclass(frozen=True, slots=True)
class ClientBounds:
    """The same for all clients of a relay. A client may send `burst_s` seconds' worth at once, and `burst_frames`
    frames.
    """

    buffer_bytes: int = 1 << 20
    """How many bytes may wait for it, apart from exempt ones."""
    frame_bytes: int = 16 * 1024
    """The largest message that it may send."""
    frames_per_s: float = 50.0
    bytes_per_s: float = 64 * 1024.0
    burst_s: float = 40.0
    burst_frames: int = 2_000

    @property
    def burst_frames_s(self) -> float:
        """How long it takes until the bucket of frames is full again."""
        return max(self.burst_s, self.burst_frames / self.frames_per_s)

    @property
    def too_fast(self) -> str:
        """The reason given to a client that sends more."""
        return f"a client may send {self.frames_per_s:g} frames and {self.bytes_per_s:g} bytes per second"


class Meter:
    """Counts what one client sends."""

    __slots__ = ("_bytes_full_at", "_frames_full_at")

    def __init__(self) -> None:
        self._frames_full_at = 0.0
        self._bytes_full_at = 0.0

    def read(self, size: int, bounds: ClientBounds, now_s: float) -> int:
        """Count the bytes of one read; returns how many frames these may contain. 0: the client sends too fast.

        Args:
            size: bytes.
            now_s: any clock that only goes forward.
        """
        self._bytes_full_at = max(self._bytes_full_at, now_s) + size / bounds.bytes_per_s
        if self._bytes_full_at - now_s > bounds.burst_s:
            return 0
        return int((bounds.burst_frames_s - max(0.0, self._frames_full_at - now_s)) * bounds.frames_per_s)

    def count(self, frames: int, bounds: ClientBounds, now_s: float) -> None:
        """Count frames."""
        self._frames_full_at = max(self._frames_full_at, now_s) + frames / bounds.frames_per_s

    def is_full(self, now_s: float) -> bool:
        """Whether both buckets are full: then the meter can be dropped, and a new one made later."""
        return now_s >= self._frames_full_at and now_s >= self._bytes_full_at
