"""What one client may cost: how much may wait for it, and how much it may say.

What it may say is counted in two token buckets, of frames and of bytes, which both hold what `burst_s` seconds bring. A
bucket is kept as the time at which it is full again (the generic cell rate algorithm, ITU-T I.371): one number, which
needs no timer, and which a client that was silent for long enough need not have at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..progress import MAX_SNAPSHOT_BYTES

__all__ = ["BEGINNINGS_AT_ONCE", "ClientBounds", "Meter", "exempt_bytes"]

BEGINNINGS_AT_ONCE: Final = 16
"""So many runs of one connection may be read for it at the same time."""


def exempt_bytes(buffer_bytes: int) -> int:
    """What may wait for a client beyond its bound: what brings it to the present, an initial_state or what it missed.

    It is as much as is begun at once for one connection, which begins no more until all of that has been taken. So no
    join exceeds it; when more comes all the same, new initial_states of hundreds of runs whose logs were replaced say,
    the client is cut off and comes back. One that reads nothing costs this and its bound, 9 MiB by default, most of
    which is shared with whoever watches the same.
    """
    return BEGINNINGS_AT_ONCE * max(MAX_SNAPSHOT_BYTES, buffer_bytes // 2)


@dataclass(frozen=True, slots=True)
class ClientBounds:
    """One for all clients of a relay. A client may say `burst_s` seconds' worth at once, and `burst_frames` frames."""

    buffer_bytes: int = 1 << 20
    """What may wait for it, beside what is exempt."""
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
        """What is said to a client that sends more."""
        return f"a client may send {self.frames_per_s:g} frames and {self.bytes_per_s:g} bytes per second"


class Meter:
    """What one client has said of late."""

    __slots__ = ("_bytes_full_at", "_frames_full_at")

    def __init__(self) -> None:
        self._frames_full_at = 0.0
        self._bytes_full_at = 0.0

    def read(self, size: int, bounds: ClientBounds, now_s: float) -> int:
        """Count what was read in one go; returns how many frames it may hold, at least one of which is counted anyway.

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
        """Whether both buckets are full: a new meter is as good."""
        return now_s >= self._frames_full_at and now_s >= self._bytes_full_at
