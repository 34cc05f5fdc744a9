"""Which messages an adopter takes, without a server: markers, bounds."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from runrelay.fanout.listener import Listener
from runrelay.fanout.messages import RawMessage
from runrelay.metrics import RelayMetrics
from runrelay.relay import adoption, adoption_queue
from runrelay.relay.adoption import Adopter
from runrelay.runlog import AsyncRunLog


class _Listener:
    relay_id = "here"

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    async def send(self, message: dict[str, Any]) -> None:
        self.said.append(message)


@pytest.fixture
async def adopter() -> Adopter:
    """Holds the lease; nothing commits, so that the queue can be checked."""
    adopter = Adopter(cast("AsyncRunLog", None), RelayMetrics())
    adopter.attach(cast("Listener", _Listener()))
    assert adopter._lease is not None
    adopter._lease._until = asyncio.get_running_loop().time() + 1000
    adopter.resubscribed()
    return adopter


def _raw(log: str = "by hand") -> RawMessage:
    return RawMessage("x", {"run_id": "x", "log": log}, len(log))


@pytest.mark.parametrize(("ts", "kept"), [(8_640_000_000_000_000, True), (8_640_000_000_000_001, False), (0, False)])
def test_a_time_that_no_browser_can_tell_is_not_kept(ts: int, kept: bool) -> None:
    """`new Date(ts)` is invalid there, and to format it raises: the page would break at that line of the log."""
    assert (adoption.event_of({"log": "x", "ts": ts}).ts_ms == ts) is kept


async def test_an_adopter_waits_for_its_newest_marker(adopter: Adopter) -> None:
    """An older marker may come late, after another relay held the lease and adopted what follows the marker."""
    adopter.resubscribed()
    for marker in ({"adopts": "here", "number": 1}, {"adopts": "another", "number": 2}, {"adopts": "here"}, {}):
        adopter.receive_control(marker)
        adopter.receive(_raw())
        assert not adopter.statistics().queued
    adopter.receive_control({"adopts": "here", "number": 2})
    adopter.receive(_raw())
    assert adopter.statistics().queued == 1


async def test_an_adopter_without_the_lease_takes_nothing(adopter: Adopter) -> None:
    """Two relays would both commit it."""
    adopter.receive_control({"adopts": "here", "number": 1})
    assert adopter._lease is not None
    adopter._lease._until = 0.0
    adopter.receive(_raw())
    assert not adopter.statistics().queued


async def test_the_adoption_queue_is_bounded_in_bytes(adopter: Adopter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis away and a loop that publishes by hand: the relay must not grow until it is killed."""
    monkeypatch.setattr(adoption_queue, "_MAX_BYTES", 10_000)
    adopter.receive_control({"adopts": "here", "number": 1})
    for _ in range(100):
        adopter.receive(_raw("x" * 1000))
    assert adopter.statistics().queued == 6
    assert adopter._metrics.adoption_refused == 94
    assert adopter.statistics().queued_bytes <= 10_000
