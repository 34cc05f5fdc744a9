"""How the flusher's thread waits for events, and how the threads that publish wake it.

Waking a thread costs a system call: most of the price of a publish. If events come at a steady rate, the flusher wakes
itself shortly before the next one is due and polls for it, so that the caller need not wake it. Measured:
docs/performance.md, scenario g (cost of a call) and b (age of a message).
"""

from __future__ import annotations

import contextlib
import sys
import time
from _thread import allocate_lock
from collections.abc import Callable
from typing import Final

__all__ = ["ArrivalPredictor", "Wakeup"]

_POLL_EVERY_S: Final = 0.00002
_MAX_EARLY_S: Final = 1.0
"""If the next event is due later than this, the flusher does not wake itself for it."""
_STEADY: Final = 4
"""The rate counts as steady if two intervals in a row differ by less than 1/_STEADY."""
_EARLY: Final = 4
"""The next event is expected from 1/_EARLY of the interval before it is due until as long after."""
_MAX_MARGIN_S: Final = 0.00025
"""The most that the flusher polls before and after: polling costs CPU time, being woken only some microseconds."""
_PR_SET_TIMERSLACK: Final = 29  # linux/prctl.h

_AWAKE: Final = 0
_WAITING: Final = 1
_NOT_STARTED: Final = 2


class Wakeup:
    """Where the flusher waits. `notify` is called by any thread, `wait` and `backoff` by the flusher's only.

    Args:
        has_work: whether the flusher has something to do; must not block.
        on_first: starts the flusher.
    """

    def __init__(self, has_work: Callable[[], bool], on_first: Callable[[], None]) -> None:
        self.needs_notify = _NOT_STARTED
        """Not 0: a thread that has appended an event must call `notify`. Read without a lock, at each publish."""
        self._has_work = has_work
        self._on_first = on_first
        self.predictor = ArrivalPredictor()
        # A raw lock: releasing it is the cheapest way to wake a thread.
        self._lock = allocate_lock()
        self._lock.acquire()

    def notify(self) -> None:
        """Start or wake the flusher, which has nothing to do yet."""
        if self.needs_notify == _NOT_STARTED:
            self.needs_notify = _AWAKE
            self._on_first()
        else:
            self.needs_notify = _AWAKE
            self.wake()

    def wake(self) -> None:
        """Wake the flusher, whatever it waits for."""
        with contextlib.suppress(RuntimeError):  # it is awake already
            self._lock.release()

    def flusher_started(self) -> None:
        """Prepare the calling thread, which is the flusher's, for short timeouts."""
        _reduce_timer_slack()

    def flusher_ended(self) -> None:
        """There is no flusher any more; the next event starts another."""
        self.needs_notify = _NOT_STARTED

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until there is work, for `wake`, or for the timeout in seconds; it may return earlier than that."""
        predictor, clock = self.predictor, time.monotonic
        early_s = predictor.from_s - clock()
        if 0 < early_s < _MAX_EARLY_S and self._wait_to_be_woken(early_s):
            predictor.record(clock())
            return
        while clock() < predictor.until_s:
            if self._has_work() or self._lock.acquire(timeout=_POLL_EVERY_S):
                predictor.record(clock())
                return
        if self._wait_to_be_woken(timeout_s):
            predictor.record(clock())

    def _wait_to_be_woken(self, timeout_s: float | None) -> bool:
        """Wait for `wake`. Returns whether it was called, or there is work already."""
        # No lost wake-up: `needs_notify` is set before the last check, so a thread that appends after the check
        # sees it. If a thread appends in between, both happen, and the next wait returns at once.
        self.needs_notify = _WAITING
        woken = self._has_work() or self._lock.acquire(timeout=-1 if timeout_s is None else timeout_s)
        self.needs_notify = _AWAKE
        return woken

    def backoff(self, seconds: float) -> None:
        """Wait although there may be work; only `wake` shortens it."""
        if seconds > 0:
            self._lock.acquire(timeout=seconds)


class ArrivalPredictor:
    """Expects the next event one interval after the last one, if the last two intervals were about the same."""

    def __init__(self) -> None:
        self.from_s = self.until_s = 0.0
        """The next event is expected between these (monotonic, s). In the past: no event is expected."""
        self._last_s = 0.0
        self._interval_s = 0.0

    def record(self, now_s: float) -> None:
        """Take note of an event that came at `now_s` (monotonic)."""
        interval_s = now_s - self._last_s
        if abs(interval_s - self._interval_s) * _STEADY < interval_s:
            margin_s = min(interval_s / _EARLY, _MAX_MARGIN_S)
            self.from_s, self.until_s = now_s + interval_s - margin_s, now_s + interval_s + margin_s
        else:
            self.from_s = self.until_s = 0.0
        self._last_s, self._interval_s = now_s, interval_s


def _reduce_timer_slack() -> None:
    """Set the calling thread's timer slack to 1 ns: Linux otherwise lets timeouts run up to 50 µs late."""
    if sys.platform == "linux":
        try:
            from ctypes import CDLL, c_ulong
        except ImportError:  # a Python built without libffi: timeouts stay up to 50 µs late, all else works
            return
        CDLL(None).prctl(_PR_SET_TIMERSLACK, c_ulong(1))  # in ns; the result does not matter
