"""The network between clients, relays and Redis: cut in the middle of a frame, silent for good, flapping, not read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.clients import watch
from tests.support.servers import Server
from tests.support.stage import RUNS, OpenStage, Stage, resident_bytes
from tests.support.tcp_proxy import tcp_proxy

StartServer = Callable[..., Server]


# Cut every few kilobytes


async def _cut_every_few_kilobytes(stage: Stage, cuts: int, *, keeps_cursor: bool = True, publisher: str = "") -> None:
    relay = await stage.relay()
    async with tcp_proxy(relay.port) as to_relay, tcp_proxy(stage.server.port) as to_redis:
        to_relay.cut_after_bytes, to_redis.cut_after_bytes = 6_000, 2_500
        lines = await stage.publisher(RUNS, redis_url=to_redis.redis_url, broken=publisher)
        await stage.begin(lines, 100)
        stage.watch(RUNS, place=lambda: f"http://127.0.0.1:{to_relay.port}", keeps_cursor=keeps_cursor)
        await stage.until(lambda: min(to_relay.cuts, to_redis.cuts * 2) >= cuts, f"{cuts} cuts", 60.0 + cuts / 2)
        to_redis.cut_after_bytes = to_relay.cut_after_bytes = None
        await stage.finish()
    assert sum(viewer.unrecovered for viewer in stage.viewers) == 0


async def test_a_proxy_that_cuts_every_few_kilobytes(
    start_valkey: StartServer, open_stage: OpenStage, long: bool
) -> None:
    """In the middle of a frame, of an event, of an answer: on clients' links and on the worker's at once."""
    async with open_stage(start_valkey()) as stage:
        await _cut_every_few_kilobytes(stage, 400 if long else 40)


@pytest.mark.parametrize("control", ["a client without its cursor", "a publisher without numbers"])
async def test_cuts_and_one_protection_less(start_valkey: StartServer, open_stage: OpenStage, control: str) -> None:
    """The controls: what is given anew is noticed, and so is a batch that is sent twice."""
    async with open_stage(start_valkey(), patience_s=10.0) as stage:
        if control.startswith("a client"):
            with pytest.raises(AssertionError, match="recovered True after"):
                await _cut_every_few_kilobytes(stage, 40, keeps_cursor=False)
        else:
            with pytest.raises(AssertionError, match="came after"):
                await _cut_every_few_kilobytes(stage, 1_000, publisher="no_numbers")


# Flapping


async def _flap(stage: Stage, times: int, *, relay: str = "", publisher: str = "") -> None:
    async with tcp_proxy(stage.server.port) as of_relay, tcp_proxy(stage.server.port) as of_publisher:
        await stage.relay(of_relay.redis_url, broken=relay)
        lines = await stage.publisher(RUNS, redis_url=of_publisher.redis_url, broken=publisher)
        await stage.begin(lines, 200)
        stage.watch(RUNS)
        await stage.begun()
        for number in range(times):
            links = [of_relay, of_publisher] if number % 2 else [of_relay]
            for link in links:
                link.refuse = True
                link.cut()
            await stage.told_down()
            await lines.order("say", 10)
            if number % 2 == 0:  # the relay alone is cut off, and misses these
                assert (await lines.order("flush", 10))["committed"]
            for link in links:
                link.refuse = False
            await stage.told_down(False)
            await lines.order("go", 200)
        await stage.flowing()
        await stage.finish()
    assert sum(viewer.unrecovered for viewer in stage.viewers) == 0


async def test_a_link_to_redis_that_flaps(start_valkey: StartServer, open_stage: OpenStage, long: bool) -> None:
    """Gone as soon as it is back: repairs that overlap, batches that are sent again and again."""
    async with open_stage(start_valkey()) as stage:
        await _flap(stage, 20 if long else 4)


@pytest.mark.parametrize("whose", ["publisher", "relay"])
async def test_a_link_that_flaps_and_one_protection_less(
    start_valkey: StartServer, open_stage: OpenStage, whose: str
) -> None:
    """The controls: lines that nobody tries again to commit; lines that nobody reads when the link is back."""
    async with open_stage(start_valkey(), patience_s=6.0) as stage:
        switches = {"publisher": "no_retry", "relay": "no_repair_after_reconnect,no_repair,no_check"}
        with pytest.raises(AssertionError):
            await _flap(stage, 4, **{whose: switches[whose]})


# Half open


async def _go_silent(stage: Stage, relay_broken: str) -> None:
    relay = await stage.relay(broken=relay_broken)
    async with tcp_proxy(relay.port) as link:
        publisher = await stage.publisher(RUNS)
        await stage.begin(publisher, 50)
        stage.watch(RUNS, place=lambda: f"http://127.0.0.1:{link.port}", quiet_s=4.0)
        await stage.begun()
        link.silence(for_good=True)
        for viewer in stage.viewers:
            viewer.connects = 0
        await stage.until(lambda: all(viewer.connects for viewer in stage.viewers), "everybody has come back", 40.0)
        await _only_the_living(stage, relay.url)
        await stage.finish()
    assert sum(viewer.unrecovered for viewer in stage.viewers) == 0


async def _only_the_living(stage: Stage, url: str) -> None:
    """The relay has let go of every WebSocket whose client is silent, while the others go on.

    Of a stream that nobody reads, TCP alone tells: here the link acknowledges it for ever.
    """
    streams = sum(viewer.kind in ("stream", "polling") for viewer in stage.viewers)

    async def few() -> bool:
        connections: int = (await stage.http.get(f"{url}/api/stats")).json()["connections"]
        return connections <= len(stage.viewers) + streams

    await stage.until(few, "the relay holds connections of the living only")


@pytest.mark.slow
async def test_a_link_that_goes_silent(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """A NAT that has forgotten a connection: a client that waits for ever, a relay that counts the dead."""
    async with open_stage(start_valkey()) as stage:
        await _go_silent(stage, "quick_pings")


@pytest.mark.parametrize("broken", ["quick_pings", "no_pings"])
async def test_a_client_that_is_gone_without_a_word(
    start_valkey: StartServer, open_stage: OpenStage, broken: str
) -> None:
    """A connection that is counted, and sent to, for ever; with the control that never asks whether it is there."""
    async with open_stage(start_valkey(), patience_s=10.0) as stage:
        relay = await stage.relay(broken=broken)

        async def connections() -> int:
            return int((await stage.http.get(f"{relay.url}/api/stats")).json()["connections"])

        async def none() -> bool:
            return await connections() == 0

        async with (
            tcp_proxy(relay.port) as link,
            watch(f"ws://127.0.0.1:{link.port}/ws/run", "run", ping_interval=None, close_timeout=0.1) as client,
        ):
            await client.frame("initial_state")
            link.silence(for_good=True)
            assert await connections() == 1
            if broken == "no_pings":
                with pytest.raises(AssertionError, match="it is let go"):
                    await stage.until(none, "it is let go", 4.0)
            else:
                await stage.until(none, "it is let go")


# Not read


async def _read_nothing(stage: Stage, client_buffer_bytes: int) -> int:
    """Clients that stop reading in the middle of many long lines. Returns by how much the relay's memory grew."""
    relay = await stage.relay(client_buffer_bytes=client_buffer_bytes)
    publisher = await stage.publisher(["run-1"], padding=15_000)
    await stage.begin(publisher, 20)
    stage.watch(["run-1"], kinds=["socket", "many"])
    await stage.begun()
    before = resident_bytes(relay.pid)
    stopped = []
    for _ in range(20):
        context = watch(
            f"{relay.url.replace('http', 'ws')}/ws/run-1", ping_interval=None, max_queue=1, close_timeout=0.1
        )
        client = await context.__aenter__()
        client.may_read.clear()
        stopped.append(context)
    try:
        for _ in range(10):
            await publisher.order("say", 30)
            assert (await publisher.order("flush", 30))["committed"]
        await publisher.order("go", 20)
        await stage.flowing()

        async def cut_off() -> bool:
            return int((await stage.http.get(f"{relay.url}/api/stats")).json()["too_slow"]) >= 20

        await stage.until(cut_off, "those who read nothing are cut off")
        return resident_bytes(relay.pid) - before
    finally:
        for context in stopped:
            await context.__aexit__(None, None, None)


@pytest.mark.slow
async def test_clients_that_stop_reading(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """One who does not read holds up the others, or fills the relay's memory."""
    async with open_stage(start_valkey()) as stage:
        grew = await _read_nothing(stage, client_buffer_bytes=256 * 1024)
        assert grew < 60 << 20, f"{grew >> 20} MB for 20 clients of 256 KiB"
        await stage.finish()


@pytest.mark.slow
async def test_clients_that_stop_reading_without_a_bound(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """The control."""
    async with open_stage(start_valkey(), patience_s=10.0) as stage:
        with pytest.raises(AssertionError, match="are cut off"):
            await _read_nothing(stage, client_buffer_bytes=1 << 30)
