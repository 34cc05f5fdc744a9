"""GilContention: threads of this process that compute, and want the interpreter's lock whenever it is to be had.

A socket's `send` lets go of the lock. A rival then has it for the switch interval, 5 ms, at each of a thousand sends;
through the transport, which keeps the lock, there is nothing to be had. See docs/decisions/0015.
"""

from __future__ import annotations

from time import monotonic, process_time, thread_time
from typing import Final

__all__ = ["GilContention", "gil_contention"]

_SHARE: Final = 0.3
"""Of the time. Threads that compute less than this are no gil_contention."""
_REMEMBERED_S: Final = 60.0


class GilContention:
    """Whether there are any, as far as slow sends tell."""

    def __init__(self) -> None:
        self.seen_until_s = 0.0
        """Until then (monotonic) there are taken to be some."""
        self._looked_at_s = 0.0
        self._others_s = 0.0

    def sample(self) -> None:
        """Sends were slow: was it the machine, or have other threads computed since this was last called?"""
        now_s, others_s = monotonic(), process_time() - thread_time()
        if others_s - self._others_s > _SHARE * (now_s - self._looked_at_s):
            self.seen_until_s = now_s + _REMEMBERED_S
        self._looked_at_s, self._others_s = now_s, others_s


gil_contention: Final = GilContention()
"""The process': there is one lock for all."""
