"""`upstream` tells of Redis and of nothing else: what load on this process may not make of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from runrelay.runlog import Keys
from tests.support.clients import DEADLINE_S, eventually, watch
from tests.support.read_proxy import ReadProxy, read_proxy
from tests.support.relay import StartRelay
from tests.support.servers import Server


@pytest_asyncio.fixture
async def link(valkey_server: Server) -> AsyncIterator[ReadProxy]:
    async with read_proxy(valkey_server.port) as link:
        yield link


@pytest.mark.slow
@pytest.mark.parametrize("apart", [True, False])
async def test_reads_that_do_not_come_back_are_no_outage(
    start_relay: StartRelay, link: ReadProxy, keys: Keys, apart: bool
) -> None:
    """Joins, polls and repairs that Redis is busy with would make the relay say that it is gone, and lose its leases.

    With the probe on the connection of the reads, it does.
    """
    del keys
    relay = await start_relay(redis_url=link.url)
    runlog = relay.relay.runlog
    if not apart:
        runlog._control = runlog._reads
    async with watch(relay.ws()) as many, watch(relay.ws()) as witness:
        adopter = relay.relay.adopter
        await eventually(lambda: adopter.statistics().holds_lease, "the relay adopts")
        await many.say(type="subscribe", run_id="first")
        await many.frame("initial_state", run_id="first")
        link.flow.clear()
        for number in range(100):
            await many.say(type="subscribe", run_id=f"run {number}")
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 7.0  # the lease is for 5 s, a probe is published every 2 s
        missed = False
        while loop.time() < until_s:
            missed = missed or not adopter.statistics().holds_lease or not relay.relay.ready
            await witness.ping()
            await asyncio.sleep(0.05)  # fewer than a client may send
        assert missed is not apart
        assert any(frame["type"] == "upstream" for frame in witness.frames) is not apart
        if apart:
            link.flow.set()
            await many.frame("initial_state", run_id="run 99")


@pytest.mark.slow
async def test_a_loop_that_is_late_for_everything_is_no_outage(start_relay: StartRelay) -> None:
    """A thousand joins at once, or a neighbour on the same core, would be told to everybody as an outage."""
    relay = await start_relay()
    async with watch(relay.ws()) as witness:
        await witness.ping()
        until_s = time.monotonic() + 8.0
        probes = relay.relay.listener.statistics().probes
        while time.monotonic() < until_s:
            time.sleep(0.9)  # noqa: ASYNC251  # nearly always away
            await asyncio.sleep(0)
        await eventually(lambda: relay.relay.listener.statistics().probes > probes, "it was probed", DEADLINE_S)
        await witness.ping()
        assert relay.relay.ready
        assert not any(frame["type"] == "upstream" for frame in witness.frames)


@pytest.mark.slow
async def test_while_other_messages_are_heard_a_probe_is_only_behind_them(
    start_relay: StartRelay, link: ReadProxy, keys: Keys
) -> None:
    """More messages than can be read at once would pass for silence."""
    relay = await start_relay(redis_url=link.url)
    listener = relay.relay.listener
    heard, hear = [0], listener._receive_control

    def not_yet(raw: bytes) -> None:
        if b'"probe"' not in raw:
            hear(raw)

    async with watch(relay.ws()) as witness:
        await witness.ping()
        listener._receive_control = not_yet  # type: ignore[method-assign]  # the probe is far behind
        until_s = time.monotonic() + 5.0
        while time.monotonic() < until_s:
            heard[0] += await relay.relay.runlog.publish(keys.channel, b'{"run_id":"x","log":"much"}')
            await asyncio.sleep(0.02)
        assert heard[0] > 100
        assert relay.relay.ready
        assert not any(frame["type"] == "upstream" for frame in witness.frames)
        await witness.frame("upstream", status="down")  # when nothing else is heard
        listener._receive_control = hear  # type: ignore[method-assign]
        await witness.frame("upstream", status="up")
