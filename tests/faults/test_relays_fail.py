"""A relay is killed, replaced, or hears nothing, while another goes on: where its clients go, and what they miss."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import httpx
import pytest

from tests.support.pubsub_proxy import pubsub_proxy
from tests.support.relay import RelayProcess
from tests.support.servers import Server
from tests.support.stage import RUNS, OpenStage, Stage, open_sockets
from tests.support.viewers import KINDS

StartServer = Callable[..., Server]


async def _kill_one_after_the_other(stage: Stage, times: int, keeps_cursor: bool) -> None:
    for _ in range(2):
        await stage.relay()
    publisher = await stage.publisher(RUNS)
    await stage.begin(publisher, 100)
    # each poll is a connection of its own: without a cursor they would not even begin
    kinds = [kind for kind in KINDS if keeps_cursor or kind != "polling"]
    stage.watch(RUNS, kinds, each=2, keeps_cursor=keeps_cursor)
    await stage.begun()
    for number in range(times):
        relay = stage.relays[number % 2]
        relay.kill()
        await stage.flowing()
        relay.launch()
        await stage.ready(relay)
    await stage.finish()


async def test_killed_relays(start_valkey: StartServer, open_stage: OpenStage, long: bool) -> None:
    """What is told while a client finds the other relay, or waits for the same one, that it never hears of."""
    async with open_stage(start_valkey()) as stage:
        await _kill_one_after_the_other(stage, 10 if long else 2, keeps_cursor=True)
        assert sum(viewer.unrecovered for viewer in stage.viewers) == 0


async def test_killed_relays_and_clients_without_their_cursor(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """The control: a client that comes back with nothing is given a picture, and not what it has missed."""
    async with open_stage(start_valkey()) as stage:
        with pytest.raises(AssertionError, match="recovered True after"):
            await _kill_one_after_the_other(stage, 2, keeps_cursor=False)


async def _roll(stage: Stage, number: signal.Signals, clients: int) -> None:
    """Replace both relays, one after the other, under many clients."""
    for _ in range(2):
        await stage.relay()
    publisher = await stage.publisher(RUNS)
    await stage.begin(publisher, 10)
    viewers = stage.watch(RUNS, kinds=["socket"], each=clients // len(RUNS))
    await stage.begun()
    for relay in stage.relays:
        relay.signal(number)
        await stage.until(lambda relay=relay: not relay.is_running, "the relay has ended")  # type: ignore[misc]
        relay.launch()
        await stage.ready(relay)
        await stage.flowing(2)
    await stage.finish()
    moved = sum(viewer.closes[1012] for viewer in viewers)
    assert moved >= clients, f"{moved} of {clients} clients were sent elsewhere"
    assert sum(viewer.unrecovered for viewer in viewers) == 0


@pytest.mark.slow
async def test_a_rolling_restart(start_valkey: StartServer, open_stage: OpenStage, long: bool) -> None:
    """A deployment that is an outage: clients that miss something, or all come at once to the relay that is left."""
    async with open_stage(start_valkey(), patience_s=90) as stage:
        await _roll(stage, signal.SIGTERM, 1000 if long else 150)


@pytest.mark.slow
async def test_a_rolling_restart_without_a_goodbye(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """The control: relays that are just killed send nobody elsewhere."""
    async with open_stage(start_valkey(), patience_s=90) as stage:
        with pytest.raises(AssertionError, match="0 of 20 clients were sent elsewhere"):
            await _roll(stage, signal.SIGKILL, 20)


async def _deafen_one_of_two(stage: Stage, broken: str) -> RelayProcess:
    await stage.relay()
    hearing = stage.places[-1]
    async with pubsub_proxy(stage.server.port) as link:
        deaf = await stage.relay(link.url, broken=broken)
        publisher = await stage.publisher(RUNS)
        await stage.begin(publisher, 100)
        at_the_deaf = stage.watch(RUNS, place=lambda: deaf.url)
        beside = stage.watch(RUNS, place=lambda: hearing)
        await stage.begun()
        link.lose = lambda message: True  # the connection looks as well as ever
        await stage.ready(deaf, False)
        await stage.told_down(viewers=at_the_deaf)
        await stage.flowing(20, beside)
        assert not any(viewer.downs for viewer in beside), "those of the other relay are told nothing"
        link.lose = lambda message: False
        await stage.ready(deaf)
        await stage.flowing()
        await stage.finish()
    assert sum(viewer.unrecovered for viewer in stage.viewers) == 0
    return deaf


async def test_one_of_two_relays_is_deaf(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """A subscription that looks open: half of the clients see a picture that stands still."""
    async with open_stage(start_valkey()) as stage:
        await _deafen_one_of_two(stage, "")


async def test_a_deaf_relay_that_does_not_probe(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """The control: it says that it is ready for as long as one likes to wait."""
    async with open_stage(start_valkey(), patience_s=4.0) as stage:
        with pytest.raises(AssertionError, match="the relay is not ready"):
            await _deafen_one_of_two(stage, "no_probe,no_check")


async def test_a_relay_that_goes_away_while_redis_is_frozen(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """A poll that waits for Redis when its relay is replaced: 500, as if something were broken, and a traceback each.

    A stream that waits in the same way is cut off. 725a9bc fails this.
    """
    async with open_stage(start_valkey()) as stage:
        relay = await stage.relay(drain_s=1.0)
        publisher = await stage.publisher(RUNS)
        await stage.begin(publisher, 10)
        await stage.until(lambda: stage.truth(RUNS[0]), "the run is there")
        stage.server.pause()
        try:
            asked = [asyncio.create_task(stage.http.get(relay.run(RUNS[0], tail))) for tail in ("", "/logs", "/events")]
            await stage.until(lambda: open_sockets(relay.port) >= len(asked), "they wait")
            relay.signal(signal.SIGTERM)
            *polls, stream = await asyncio.gather(*asked, return_exceptions=True)
        finally:
            stage.server.resume()
        for answer in polls:
            assert isinstance(answer, httpx.Response), answer
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
        if isinstance(stream, httpx.Response):
            assert stream.status_code == 503
        else:  # it had begun
            assert isinstance(stream, httpx.RemoteProtocolError)
        await stage.until(lambda: not relay.is_running, "the relay has ended")
        assert "Traceback" not in relay.log
