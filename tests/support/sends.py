"""Connections whose sends are recorded, and a clock that a test moves: for tests of the fan-out's sends."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from runrelay.codes import CloseCode
from runrelay.fanout import direct_sends
from runrelay.fanout.connections import Connection
from runrelay.fanout.frames import Batch, Frame

__all__ = ["Clock", "Onlooker", "SlowSends", "said"]


@dataclass(eq=False)
class Onlooker:
    """A subscriber; one connection can be several."""

    connection: Connection

    stays_after_end = False

    def run_ended(self) -> None:
        raise AssertionError("the run has not ended")

    def run_failed(self, error: Exception) -> None:
        raise AssertionError("nothing has failed") from error


def said(number: int, size: int) -> Batch:
    """A frame that says its number, and is long."""
    return Batch([Frame.of({"type": "said", "number": number, "pad": "x" * size})])


class Clock:
    """Time, and the CPU time of other threads; both move only when a test moves them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        self.others_s = 0.0
        monkeypatch.setattr(direct_sends, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(direct_sends, "process_time", lambda: 50.0 + self.others_s)
        monkeypatch.setattr(direct_sends, "thread_time", lambda: 50.0)


class SlowSends:
    """A connection whose sends take long, because of a busy thread (`contended`) or of another process (`slow`)."""

    resume_bytes = 1000
    closed: tuple[CloseCode, str] | None = None

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock
        self.contended = self.slow = False
        self.ways: list[str] = []
        self.send_now: Callable[[bytes], int] | None = self._send_now

    def _send_now(self, wire: bytes) -> int:
        self.ways.append("kernel")
        if self.clock is not None and (self.contended or self.slow):
            self.clock.now_s += 1.1 * sys.getswitchinterval()
            self.clock.others_s += sys.getswitchinterval() * self.contended
        return len(wire)

    def send(self, batch: Batch, *, exempt: bool = False) -> bool:
        self.ways.append("transport")
        return True

    def send_rest(self, batch: Batch, taken: int) -> bool:
        raise AssertionError("the kernel takes all or nothing")

    def close(self, code: CloseCode, reason: str = "") -> None:
        raise AssertionError("nobody is cut off")

    def when_drained(self, callback: Callable[[], None]) -> bool:
        return True

    def tick(self) -> None:
        pass
