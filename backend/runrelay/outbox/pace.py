"""ArrivalPredictor: when the next event is due, for who publishes at a steady pace."""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["ArrivalPredictor", "reduce_timer_slack"]

_STEADY: Final = 4
"""Two gaps in a row that differ by less than one part in so many are a pace."""
_EARLY: Final = 4
"""The next event is expected from one part in so many of the gap before it is due, to as long after."""
_MAX_MARGIN_S: Final = 0.00025
_PR_SET_TIMERSLACK: Final = 29  # linux/prctl.h


class ArrivalPredictor:
    """Expects the next event as long after the last one as that came after the one before."""

    def __init__(self) -> None:
        self.from_s = self.until_s = 0.0
        """Between these (monotonic, s) the next event is expected; in the past: there is no pace."""
        self._last_s = 0.0
        self._gap_s = 0.0

    def record(self, now_s: float) -> None:
        """An event has come."""
        gap_s = now_s - self._last_s
        if abs(gap_s - self._gap_s) * _STEADY < gap_s:
            margin_s = min(gap_s / _EARLY, _MAX_MARGIN_S)
            self.from_s, self.until_s = now_s + gap_s - margin_s, now_s + gap_s + margin_s
        else:
            self.from_s = self.until_s = 0.0
        self._last_s, self._gap_s = now_s, gap_s


def reduce_timer_slack() -> None:
    """Let the calling thread's timeouts end when they are over. Linux, unasked, may add 50 µs, which saves power."""
    if sys.platform == "linux":
        try:
            from ctypes import CDLL, c_ulong
        except ImportError:  # a Python that was built without libffi: late by 50 µs, and all the same a worker
            return
        CDLL(None).prctl(_PR_SET_TIMERSLACK, c_ulong(1))  # in ns; what it answers does not matter
