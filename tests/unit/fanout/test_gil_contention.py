"""GIL contention: a busy thread is noticed, and sends keep the interpreter's lock then."""

from __future__ import annotations

import pytest

from runrelay.fanout.frames import Batch
from runrelay.fanout.subscribers import Subscribers
from runrelay.metrics import RelayMetrics
from tests.support.sends import Clock, Onlooker, SlowSends, said


class Narrow(SlowSends):
    """A connection whose kernel takes a part; later sends must go behind the rest."""

    def _send_now(self, wire: bytes) -> int:
        assert self.ways == [], "the rest waits in the transport"
        self.ways.append("kernel")
        return 3

    def send_rest(self, batch: Batch, taken: int) -> bool:
        assert taken == 3
        self.ways.append("rest")
        return True


def test_a_connection_with_two_subscriptions_is_not_sent_past_its_rest() -> None:
    """A client that subscribes again is its run's subscriber twice for a moment, and both are read at once."""
    connection = Narrow()
    subscribers = Subscribers(RelayMetrics(), lambda frames: None)
    for _ in range(3):
        subscribers.add(Onlooker(connection))
    subscribers.deliver(said(1, 10).frames)
    assert connection.ways == ["kernel", "rest", "transport", "transport"]


def test_with_a_busy_thread_sends_keep_the_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each send would give the thread the GIL for 5 ms: a thousand clients would get their message after seconds."""
    clock = Clock(monkeypatch)
    connection = SlowSends(clock)
    subscribers = Subscribers(RelayMetrics(), lambda frames: None)
    for _ in range(100):
        subscribers.add(Onlooker(connection))

    def ways() -> dict[str, int]:
        connection.ways.clear()
        clock.now_s += 1
        subscribers.deliver(said(1, 10).frames)
        return {way: connection.ways.count(way) for way in connection.ways}

    assert ways() == {"kernel": 100}
    connection.contended = True
    assert ways() == {"kernel": 40, "transport": 60}, "noticed after so many"
    assert ways() == {"transport": 100}, "and remembered"
    connection.contended = False
    clock.now_s += 60
    assert ways() == {"kernel": 100}, "for a while"


def test_gil_contention_is_noticed_with_one_client_in_each_of_many_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run sends often, so each alone would notice it too late."""
    clock = Clock(monkeypatch)
    connection = SlowSends(clock)
    connection.contended = True
    for _ in range(100):
        subscribers = Subscribers(RelayMetrics(), lambda frames: None)
        subscribers.add(Onlooker(connection))
        subscribers.deliver(said(1, 10).frames)
    assert connection.ways == ["kernel"] * 2 + ["transport"] * 98


def test_slow_sends_because_of_another_process_are_no_gil_contention(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine sends are slow, too: the relay would lose the fast path though nothing competes for the GIL."""
    clock = Clock(monkeypatch)
    connection = SlowSends(clock)
    connection.slow = True
    subscribers = Subscribers(RelayMetrics(), lambda frames: None)
    for _ in range(100):
        subscribers.add(Onlooker(connection))
    for _ in range(10):
        clock.now_s += 1
        clock.others_s += 0.02
        subscribers.deliver(said(1, 10).frames)
    assert {*connection.ways} == {"kernel"}
