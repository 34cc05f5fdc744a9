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
    """What the listener was given, and whether more was announced."""

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


async def test_whole_messages_are_handed_on_at_once() -> None:
    """A message that the network has cut in two would be lost, or delay those before it."""
    ear = Ear()
    pushes = pushes_to(ear)
    data = push(b"one") + push(b"two")
    pushes.data_received(data[:-5])
    pushes.data_received(data[-5:])
    assert ear.heard == [([b"one"], False), ([b"two"], False)]


async def test_messages_of_a_long_read_wait_for_those_that_follow() -> None:
    """A burst would be written to every client in small pieces."""
    ear = Ear()
    pushes_to(ear).data_received(push(b"x" * 300) * 100)
    assert ear.heard == [([b"x" * 300] * 100, True)]


async def test_an_error_in_the_hub_does_not_end_the_listener() -> None:
    """One run's message would end the relay for all runs; its topic repairs itself."""
    ear = Ear(fails_at=b"bad")
    pushes = pushes_to(ear)
    pushes.data_received(push(b"bad"))
    pushes.data_received(push(b"good"))
    assert ear.heard == [([b"good"], False)]
    assert not pushes.lost.done()


@pytest.mark.parametrize("data", [b"-NOPERM no\r\n", b"?what\r\n"])
async def test_an_error_reply_ends_the_connection_after_the_messages_before_it(data: bytes) -> None:
    """Messages before it would be lost, or messages after it taken, though the next connection begins with a repair."""
    ear = Ear()
    pushes = pushes_to(ear)
    pushes.data_received(push(b"last") + data)
    with pytest.raises(RunlogUnavailable, match="the subscription broke: "):
        await pushes.lost
    pushes.data_received(push(b"late"))
    assert ear.heard == [([b"last"], False)]


async def test_the_end_of_the_connection_is_reported_with_its_reason() -> None:
    """The listener would wait for ever, or /readyz could not say why."""
    for reason, words in ((OSError("no route"), "no route"), (None, "Redis closed the connection")):
        pushes = pushes_to(Ear())
        pushes.connection_lost(reason)
        pushes.connection_lost(None)
        with pytest.raises(RunlogUnavailable, match=words):
            await pushes.lost
