"""What one client may cost: how much it may say, and how much may wait for it. Each with its control."""

from __future__ import annotations

import asyncio
import fcntl
import re
import socket
import sys
import termios
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import websockets
from websockets.frames import Frame, Opcode

from runrelay.fanout import Connection, QueuedConnection, direct_connection
from runrelay.fanout.bounds import exempt_bytes
from runrelay.fanout.direct_connection import DirectConnection
from runrelay.fanout.join_queue import JoinQueue
from runrelay.progress import make_event
from tests.support.clients import DEADLINE_S, Client, eventually, watch
from tests.support.raw_websockets import connected, frame, memory_bytes, pour, subscribe
from tests.support.relay import BOTH_PROTOCOLS, Producer, Served, StartProcess, StartRelay

RATES: dict[str, Any] = {
    "max_frames_per_s": 10,
    "client_burst_s": 2,
    "max_subscriptions": 10,
    "max_client_bytes_per_s": 20_000,
}
"""So a client may send 20 frames, or 40,000 bytes, at once."""
NONE: dict[str, Any] = {"max_frames_per_s": 1e9, "max_client_bytes_per_s": 1e12}

Say = Callable[[Client], Awaitable[None]]


async def _pings(client: Client) -> None:
    for _ in range(21):
        await client.say(type="ping")


async def _subscriptions(client: Client) -> None:
    for _ in range(11):
        await client.say(type="subscribe", run_id="one")
        await client.say(type="unsubscribe", run_id="one")


async def _bytes(client: Client) -> None:
    for _ in range(3):
        await client.say(type="ping", pad="x" * 15_000)


async def _pings_of_the_protocol(client: Client) -> None:
    for _ in range(21):
        await client.connection.ping()


async def _fragments(client: Client) -> None:
    await client.connection.send(['{"type"', ":", *(" " for _ in range(20)), '"ping"}'])


@asynccontextmanager
async def flooded(relay: Served, flood: Say) -> AsyncIterator[tuple[Client, Client]]:
    """A client that has said too much, and one beside it that has not."""
    async with watch(relay.ws()) as honest, watch(relay.ws()) as hostile:
        await honest.ping()
        with suppress(websockets.ConnectionClosed):
            await flood(hostile)
        yield hostile, honest


async def _is_cut_off(relay: Served, flood: Say) -> None:
    async with flooded(relay, flood) as (hostile, honest):
        assert await hostile.close_code() == 4429
        assert hostile.frames[-1]["type"] == "error"
        assert hostile.frames[-1]["code"] == 4429
        assert re.fullmatch(r'{"retry_in_ms": \d+}', hostile.connection.close_reason or "")
        for _ in range(15):
            await honest.ping()
        await eventually(lambda: relay.relay.limits.total == 1, "its place is free")


@BOTH_PROTOCOLS
@pytest.mark.parametrize("flood", [_pings, _subscriptions, _bytes])
async def test_a_client_that_says_too_much_is_closed_with_4429(start_relay: StartRelay, flood: Say) -> None:
    """One client could keep the relay's one processor busy; the others' events waited."""
    await _is_cut_off(await start_relay(**RATES), flood)


@pytest.mark.parametrize("flood", [_pings_of_the_protocol, _fragments])
async def test_what_the_protocol_answers_counts_too(start_relay: StartRelay, flood: Say) -> None:
    """A ping of the protocol, or a fragment, costs as much as a message. Under other servers these are the server's."""
    await _is_cut_off(await start_relay(**RATES), flood)


@BOTH_PROTOCOLS
async def test_without_rates_nobody_is_cut_off(start_relay: StartRelay) -> None:
    """The control: it is the rate that closes, and nothing else about these messages."""
    relay = await start_relay(**NONE)
    for flood in (_pings, _subscriptions, _bytes, _pings_of_the_protocol, _fragments):
        async with flooded(relay, flood) as (hostile, _):
            await hostile.ping()


@BOTH_PROTOCOLS
async def test_all_runs_that_it_may_watch_can_be_subscribed_to_at_once(start_relay: StartRelay) -> None:
    """As a page does that comes back: it would never come to its runs."""
    relay = await start_relay(max_subscriptions=200, max_frames_per_s=1)
    async with watch(relay.ws()) as client:
        for number in range(200):
            await client.say(type="subscribe", run_id=f"run {number}")
        await client.frame("initial_state", run_id="run 199")


@BOTH_PROTOCOLS
async def test_subscriptions_are_counted_over_all_connections(start_relay: StartRelay) -> None:
    """A thousand connections with a thousand runs each would be a million."""
    relay = await start_relay(max_subscriptions_total=3)
    async with watch(relay.ws("one"), "one") as first, watch(relay.ws()) as second:
        await first.frame("initial_state")
        for name in ("two", "three", "four"):
            await second.say(type="subscribe", run_id=name)
        refused = await second.frame("error", run_id="four")
        assert refused["code"] == 4429
        assert refused["message"] == "too many subscriptions: 3 of 3"
        async with watch(relay.ws("five")) as third:
            assert await third.close_code() == 4429
        await second.say(type="unsubscribe", run_id="two")
        await second.ping()
        await second.say(type="subscribe", run_id="four")
        await second.frame("initial_state", run_id="four")
    await eventually(lambda: relay.relay.limits.subscriptions == 0, "no subscription is left")


# What waits


def _answer_each_ping(connection: DirectConnection, data: bytes) -> None:
    """Answer, whatever waits already: what the control is about."""
    if connection._transport is not None and connection.closed is None:
        connection._transport.write(Frame(Opcode.PONG, data).serialize(mask=False))


def _on_the_way(sender: socket.socket, receiver: socket.socket) -> int:
    """Bytes that were sent and not yet read (tcp(7): SIOCOUTQ, then SIOCINQ)."""
    return sum(
        int.from_bytes(fcntl.ioctl(end.fileno(), request, bytes(4)), sys.byteorder)
        for end, request in ((sender, termios.TIOCOUTQ), (receiver, termios.FIONREAD))
    )


async def _waiting_pongs(relay: Served) -> int:
    """How much waits for a client that has sent 6 MB of pings and reads nothing."""

    def flood() -> None:
        with connected(relay.port, receive_bytes=4096) as connection:
            pour(connection, frame(Opcode.PING, b"x" * 125) * 500, 6_000_000)
            flooded.append(connection)
            asyncio.run_coroutine_threadsafe(looked.wait(), loop).result(DEADLINE_S)

    loop, looked = asyncio.get_running_loop(), asyncio.Event()
    flooded: list[socket.socket] = []
    flooding = asyncio.create_task(asyncio.to_thread(flood))
    try:
        await eventually(lambda: relay.relay.hub.connections, "it is there")
        (connection,) = relay.relay.hub.connections
        assert isinstance(connection, DirectConnection)
        transport = connection._transport
        assert transport is not None
        await eventually(lambda: flooded, "it has sent all", 60)
        own = transport.get_extra_info("socket")
        await eventually(lambda: not _on_the_way(flooded[0], own), "the relay has read all", 60)
        return transport.get_write_buffer_size()
    finally:
        looked.set()
        await flooding


async def test_pings_that_are_never_read_are_answered_once(start_relay: StartRelay) -> None:
    """300 MB of them filled the relay's memory with answers. RFC 6455 lets us answer only the last (section 5.5.3)."""
    assert await _waiting_pongs(await start_relay(**NONE)) < 200_000


async def test_without_that_each_answer_waits(start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(DirectConnection, "_answer_ping", _answer_each_ping)
    assert await _waiting_pongs(await start_relay(**NONE)) > 1_000_000


@pytest.mark.slow
def test_a_process_keeps_its_size_under_unread_pings(start_process: StartProcess) -> None:
    """The same as the system sees it: what waits is one thing, what it costs in memory another."""
    relay = start_process(**NONE)
    before = memory_bytes(relay.pid)
    with connected(relay.port, receive_bytes=4096) as connection:
        assert pour(connection, frame(Opcode.PING, b"x" * 125) * 500, 30_000_000) >= 30_000_000
        assert memory_bytes(relay.pid) - before < 10_000_000


async def test_a_client_that_closes_but_reads_nothing_is_dropped(
    start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it stayed in memory for good, and its place was taken."""
    monkeypatch.setattr(direct_connection, "_ABORT_AFTER_S", 0.3)
    relay = await start_relay(**NONE)

    def close_and_wait() -> None:
        with connected(relay.port, receive_bytes=4096) as connection:
            connection.sendall(frame(Opcode.TEXT, b'{"type":"ping"}') * 45_000 + frame(Opcode.CLOSE, b"\x03\xe8"))
            asyncio.run_coroutine_threadsafe(looked.wait(), loop).result(DEADLINE_S)

    loop, looked = asyncio.get_running_loop(), asyncio.Event()
    closing = asyncio.create_task(asyncio.to_thread(close_and_wait))
    try:
        await eventually(lambda: relay.relay.limits.total == 1, "it is there")
        await eventually(lambda: relay.relay.limits.total == 0, "it is gone")
    finally:
        looked.set()
        await closing


# What is exempt

RUNS = 64


async def _long_runs(producer: Producer) -> list[str]:
    """Runs whose initial_states have more than 256 KiB each: 16 MiB in all, more than may wait for a client."""
    names = [f"long {number}" for number in range(RUNS)]
    for name in names:
        await producer.commit(name, [make_event(log="x" * 1000) for _ in range(270)])
    return names


async def _told_in_the_end(start_relay: StartRelay, producer: Producer) -> list[int]:
    """How much waited for a client that subscribes to all of them and reads slowly, until it knew all of them."""
    relay = await start_relay(client_buffer_bytes=64 * 1024)
    names = await _long_runs(producer)
    waited = []
    async with watch(relay.ws(), max_queue=1) as client:
        client.may_read.clear()
        for name in names:
            client.expect(name)
            await client.say(type="subscribe", run_id=name)
        hub = relay.relay.hub
        (connection,) = hub.connections
        await eventually(lambda: hub.metrics.joins and not hub.statistics().joins_under_way, "no more is begun for it")
        for told in range(1, RUNS + 1):
            waited.append(_waiting(connection))
            client.may_read.set()
            await client.until(partial(_has_states, client, told), f"initial_state {told}")
            client.may_read.clear()
        client.may_read.set()
        await client.ping()
    return waited


def _has_states(client: Client, many: int) -> bool:
    return sum(story.states for story in client.stories.values()) >= many


def _waiting(connection: Connection) -> int:
    if isinstance(connection, QueuedConnection):
        return connection._waiting.counted + connection._waiting.exempt
    assert isinstance(connection, DirectConnection)
    return connection._transport.get_write_buffer_size() if connection._transport is not None else 0


@BOTH_PROTOCOLS
async def test_a_slow_client_gets_its_runs_one_after_another(start_relay: StartRelay, producer: Producer) -> None:
    """All initial_states at once would be as much memory as a client likes; cut off for it, it would never get them."""
    waited = await _told_in_the_end(start_relay, producer)
    assert max(waited) < exempt_bytes(64 * 1024) + 64 * 1024


@BOTH_PROTOCOLS
async def test_without_that_it_is_cut_off(
    start_relay: StartRelay, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(JoinQueue, "_may_begin", lambda *_: True)
    with pytest.raises((AssertionError, websockets.ConnectionClosed)):
        await _told_in_the_end(start_relay, producer)


@pytest.mark.slow
async def test_subscriptions_that_are_never_read_fill_no_memory(
    start_process: StartProcess, producer: Producer
) -> None:
    """129 KB of them filled hundreds of megabytes."""
    relay = start_process(max_subscriptions=100, **NONE)
    names = await _long_runs(producer)
    block = b"".join(subscribe(name) for name in names)

    def attack() -> tuple[int, int]:
        with connected(relay.port, receive_bytes=4096) as connection:
            connection.sendall(subscribe(names[0]))
            before = memory_bytes(relay.pid)
            most = 0
            for _ in range(45):
                connection.sendall(block)
                most = max(most, memory_bytes(relay.pid))
                time.sleep(0.05)  # the reads are shared for a while: later ones cost more
            return most - before, len(block) * 45

    grown, said = await asyncio.to_thread(attack)
    assert said < 130_000
    assert grown < 40_000_000


@pytest.mark.slow
def test_clients_that_have_gone_cost_nothing(start_process: StartProcess) -> None:
    """A handshake left rings of objects, which waited for a collector that seldom comes: 10 KB for each waiting client,
    kept when it had gone, and as much again for those that came then.
    """
    clients = 1_500
    relay = start_process(max_connections_per_address=10_000, max_half_open=0, max_half_open_per_address=0)
    with connected(relay.port, "/ws/run"):
        before = memory_bytes(relay.pid)
    for _ in range(2):
        with ExitStack() as waiting:
            for _ in range(clients):
                waiting.enter_context(connected(relay.port, "/ws/run"))
            assert memory_bytes(relay.pid) - before < clients * 5_000
    assert memory_bytes(relay.pid) - before < clients * 5_000
