"""Redis dies, freezes, refuses, breaks connections: real relays, publishers, and clients on every transport.

Each fault has its control: the same, with a publisher or a relay of which one protection is switched off, is noticed.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

import pytest
import redis

from tests.support.servers import Server
from tests.support.stage import Fault, OpenStage, Stage, play

StartServer = Callable[..., Server]


@pytest.fixture
def server(start_valkey: StartServer) -> Server:
    """A Redis that keeps what it has acknowledged."""
    return start_valkey(appendonly="yes", appendfsync="always")


async def test_nothing_happens(server: Server, open_stage: OpenStage) -> None:
    """The checks themselves: without a fault nobody is given anything twice, or anew."""

    async def nothing(stage: Stage) -> None:
        pass

    stage = await play(open_stage, server, nothing)
    assert sum(viewer.unrecovered for viewer in stage.viewers) == 0
    assert sum(viewer.downs for viewer in stage.viewers) == 0


# SIGKILL


async def _killed(stage: Stage) -> None:
    stage.server.kill()
    await stage.told_down()
    stage.server.start()


async def test_killed_and_started_again(server: Server, open_stage: OpenStage, long: bool) -> None:
    """Lines that are lost or doubled because Redis was killed, although it has all on disk; or nobody is told."""
    stage = await play(open_stage, server, _killed, again=5 if long else 1)
    assert all(viewer.downs for viewer in stage.viewers if viewer.kind != "polling")


async def test_killed_under_a_publisher_that_does_not_try_again(server: Server, open_stage: OpenStage) -> None:
    """The control: what was being committed then is lost."""
    with pytest.raises(AssertionError):
        await play(open_stage, server, _killed, publisher="no_retry")


# SIGSTOP


async def _frozen(stage: Stage, for_s: float = 0.0) -> None:
    stage.server.pause()
    try:
        until = time.monotonic() + for_s
        await stage.told_down()
        await asyncio.sleep(max(0.0, until - time.monotonic()))  # the fault's own length
    finally:
        stage.server.resume()
    await stage.told_down(False)


@pytest.mark.slow
async def test_frozen_and_thawed(server: Server, open_stage: OpenStage, long: bool) -> None:
    """Connections stay open and nothing answers: a viewer that is not told; a batch whose answer comes too late."""

    async def frozen(stage: Stage) -> None:
        await _frozen(stage, 10.0 if long else 6.0)  # longer than a publisher waits for an answer

    # a run keeps its last 1,000 events
    stage = await play(open_stage, server, frozen, rate=100)
    assert sum(viewer.unrecovered for viewer in stage.viewers) == 0


@pytest.mark.slow
async def test_frozen_under_a_publisher_without_numbers(server: Server, open_stage: OpenStage) -> None:
    """The control: what was carried out when it thawed is sent again, as another producer's."""

    async def frozen(stage: Stage) -> None:
        await _frozen(stage, 6.0)

    with pytest.raises(AssertionError, match="came after"):
        await play(open_stage, server, frozen, publisher="no_numbers")


async def test_frozen_before_a_relay_that_does_not_probe(server: Server, open_stage: OpenStage) -> None:
    """The control: nobody is told that what they see is old."""
    with pytest.raises(AssertionError, match="every client is told"):
        await play(open_stage, server, _frozen, relay="no_probe")


# CLIENT KILL


def _kills(*kinds: str) -> Fault:
    async def kill(stage: Stage) -> None:
        with stage.server.client() as admin:
            for kind in kinds:
                admin.execute_command("CLIENT", "KILL", "TYPE", kind)  # type: ignore[no-untyped-call]

    return kill


async def test_every_connection_killed(server: Server, open_stage: OpenStage, long: bool) -> None:
    """What a proxy's time-out, or an administrator, does: a hole where the listener was away, or a doubled batch."""
    stage = await play(open_stage, server, _kills("pubsub", "normal"), again=30 if long else 5)
    assert sum(viewer.unrecovered for viewer in stage.viewers) == 0


async def _killed_before_silence(stage: Stage) -> None:
    """The relay stands still meanwhile, so that it cannot have subscribed again before the lines come."""
    (relay,), (publisher,) = stage.relays, stage.publishers
    await publisher.order("pause")
    relay.signal(signal.SIGSTOP)
    try:
        await _kills("pubsub")(stage)
        await publisher.order("say", 20)
        assert (await publisher.order("flush", 10))["committed"]
    finally:
        relay.signal(signal.SIGCONT)


async def test_killed_subscriptions_before_a_silence(server: Server, open_stage: OpenStage) -> None:
    """Lines that were missed, and that no later line gives away."""
    stage = await play(open_stage, server, _killed_before_silence)
    assert sum(viewer.unrecovered for viewer in stage.viewers) == 0


async def test_killed_subscriptions_of_a_relay_that_does_not_look_back(server: Server, open_stage: OpenStage) -> None:
    """The control: nothing is said of what was missed."""

    with pytest.raises(AssertionError, match="lines more"):
        await play(open_stage, server, _killed_before_silence, relay="no_repair_after_reconnect,no_check")


# The output buffer


async def _cut_off_by_redis(stage: Stage) -> None:
    """The relay stands still while megabytes are published, so that Redis closes its subscription."""
    (relay,), (publisher,) = stage.relays, stage.publishers
    await publisher.order("pause")
    with stage.server.client() as admin:
        admin.config_set("client-output-buffer-limit", "pubsub 1mb 256kb 1")
        relay.signal(signal.SIGSTOP)
        try:

            def cut_off() -> bool:
                admin.publish(stage.keys.channel, "x" * 900_000)
                subscribers: int = admin.pubsub_numsub(stage.keys.channel)[0][1]
                return subscribers == 0

            await stage.until(cut_off, "Redis has closed the subscription", 30.0)
            await publisher.order("say", 40)
            assert (await publisher.order("flush", 10))["committed"]
        finally:
            relay.signal(signal.SIGCONT)


async def test_cut_off_for_reading_too_slowly(server: Server, open_stage: OpenStage) -> None:
    """client-output-buffer-limit: what Redis has thrown away is a hole for everybody at once."""
    stage = await play(open_stage, server, _cut_off_by_redis)
    assert sum(viewer.unrecovered for viewer in stage.viewers) == 0


async def test_cut_off_without_looking_back(server: Server, open_stage: OpenStage) -> None:
    """The control."""
    with pytest.raises(AssertionError, match="lines more"):
        await play(open_stage, server, _cut_off_by_redis, relay="no_repair_after_reconnect,no_check")


# Refusals


def _refused(harm: Callable[[redis.Redis], object], heal: Callable[[redis.Redis], object]) -> Fault:
    async def refused(stage: Stage) -> None:
        with stage.server.client() as admin:
            harm(admin)
            (publisher,) = stage.publishers
            lines = await publisher.order("say", 50)
            assert lines["published"] > 50
            assert not (await publisher.order("flush", 0.3))["committed"]
            heal(admin)
            await publisher.order("go", 200)

    return refused


async def _busy(stage: Stage) -> None:
    """A script that does not end holds everything up until somebody kills it."""
    with stage.server.client() as admin:
        admin.config_set("lua-time-limit", 50)

        def endless() -> None:
            with stage.server.client() as other, pytest.raises(redis.ResponseError):
                other.eval("while true do end", 0)

        running = asyncio.create_task(asyncio.to_thread(endless))
        (publisher,) = stage.publishers
        try:

            def busy() -> bool:
                try:
                    admin.ping()
                except redis.ResponseError:
                    return True
                return False

            await stage.until(busy, "Redis is busy", 30.0)
            await publisher.order("say", 20)
            assert not (await publisher.order("flush", 0.5))["committed"]
        finally:
            admin.script_kill()
            await running
        await publisher.order("go", 200)


REFUSALS: dict[str, Fault] = {
    "OOM": _refused(
        lambda admin: admin.config_set("maxmemory", "1mb"), lambda admin: admin.config_set("maxmemory", "0")
    ),
    "READONLY": _refused(
        lambda admin: admin.replicaof("127.0.0.1", "1"),
        lambda admin: admin.replicaof("NO", "ONE"),
    ),
    "NOREPLICAS": _refused(
        lambda admin: admin.config_set("min-replicas-to-write", "1"),
        lambda admin: admin.config_set("min-replicas-to-write", "0"),
    ),
    "BUSY": _busy,
}


@pytest.mark.parametrize("why", REFUSALS)
async def test_refused_for_a_while(server: Server, open_stage: OpenStage, why: str, long: bool) -> None:
    """A line that is given up because Redis would not take it just then."""
    await play(open_stage, server, REFUSALS[why], again=5 if long else 1)


@pytest.mark.parametrize("why", REFUSALS)
async def test_refused_under_a_publisher_that_gives_up(server: Server, open_stage: OpenStage, why: str) -> None:
    """The control."""
    with pytest.raises(AssertionError):
        await play(open_stage, server, REFUSALS[why], publisher="no_retry")
