"""The listener's way from the transport's bytes to the hub."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest
from redis.exceptions import InvalidResponse

from runrelay.errors import RunlogUnavailable
from runrelay.fanout.containment import Containment
from runrelay.fanout.listener import _Pushes
from runrelay.metrics import RelayMetrics


def push(payload: bytes) -> bytes:
    return b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$%d\r\n%b\r\n" % (len(payload), payload)


class Ear:
    """What was handed on, and whether more was said to follow."""

    def __init__(self, *, fails_at: bytes = b"") -> None:
        self.heard: list[tuple[list[bytes], bool]] = []
        self._fails_at = fails_at

    def __call__(self, replies: list[Any], more: bool) -> None:
        payloads = [reply[2] for reply in replies]
        if self._fails_at in payloads:
            raise KeyError("a fault of ours")
        self.heard.append((payloads, more))


def pushes_to(ear: Ear) -> _Pushes:
    return _Pushes(hiredis.Reader(protocolError=InvalidResponse), ear, Containment(RelayMetrics()))


async def test_what_is_whole_is_handed_on_at_once() -> None:
    """A message cut in two by the network is one message, when the rest has come."""
    ear = Ear()
    pushes = pushes_to(ear)
    data = push(b"one") + push(b"two")
    pushes.data_received(data[:-5])
    pushes.data_received(data[-5:])
    assert ear.heard == [([b"one"], False), ([b"two"], False)]


async def test_much_at_once_is_joined_with_what_follows() -> None:
    """Else a burst would be written to every client in small pieces."""
    ear = Ear()
    pushes_to(ear).data_received(push(b"x" * 300) * 100)
    assert ear.heard == [([b"x" * 300] * 100, True)]


async def test_a_fault_of_ours_does_not_make_the_relay_deaf() -> None:
    """One run's message that trips us up is one run's loss, and its topic finds out by itself."""
    ear = Ear(fails_at=b"bad")
    pushes = pushes_to(ear)
    pushes.data_received(push(b"bad"))
    pushes.data_received(push(b"good"))
    assert ear.heard == [([b"good"], False)]
    assert not pushes.lost.done()


@pytest.mark.parametrize("data", [b"-NOPERM no\r\n", b"?what\r\n"])
async def test_an_error_ends_the_connection_after_what_came_before(data: bytes) -> None:
    """And what comes later is not listened to: another connection begins with a repair."""
    ear = Ear()
    pushes = pushes_to(ear)
    pushes.data_received(push(b"last") + data)
    with pytest.raises(RunlogUnavailable, match="the subscription broke: "):
        await pushes.lost
    pushes.data_received(push(b"late"))
    assert ear.heard == [([b"last"], False)]


async def test_a_connection_that_ends_is_said() -> None:
    """With its reason, or without one."""
    for reason, words in ((OSError("no route"), "no route"), (None, "Redis closed the connection")):
        pushes = pushes_to(Ear())
        pushes.connection_lost(reason)
        pushes.connection_lost(None)
        with pytest.raises(RunlogUnavailable, match=words):
            await pushes.lost
