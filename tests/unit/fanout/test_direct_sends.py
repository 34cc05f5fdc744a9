"""Direct sends: frames past the transport arrive whole, in order, and are sent only where that is allowed."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runrelay.fanout import direct_sends
from runrelay.fanout.bounds import ClientBounds
from runrelay.fanout.direct_connection import DirectConnection
from runrelay.fanout.direct_sends import DirectSocket
from runrelay.fanout.subscribers import Subscribers
from runrelay.metrics import RelayMetrics
from tests.support.clients import eventually
from tests.support.sends import Onlooker, SlowSends, said
from tests.support.servers import HOST, make_certificate

BOUND = 1 << 26
LOOPS = pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
NewLoop = Callable[[], asyncio.AbstractEventLoop]


class Taking(asyncio.Protocol):
    """Hands its transport over at once, as uvicorn's protocol does after the handshake."""

    def __init__(self, connection: DirectConnection) -> None:
        self.connections: set[Any] = set()
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        taking: Any = self
        assert self._connection.take_over(taking, lambda message: None, lambda: None)

    def hand_over(self, connection: DirectConnection) -> asyncio.Transport:
        self._transport.set_protocol(connection)
        transport: asyncio.Transport = self._transport
        return transport


@asynccontextmanager
async def serving(connection: DirectConnection, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server whose one connection is taken over."""
    server = await asyncio.get_running_loop().create_server(lambda: Taking(connection), HOST, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await eventually(lambda: connection._transport is None, "the connection is lost")


@asynccontextmanager
async def taken_over(connection: DirectConnection) -> AsyncIterator[socket.socket]:
    """The client's end of a connection that was taken over; its receive buffer is small."""
    async with serving(connection) as port:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, (HOST, port))
            await eventually(lambda: connection._transport is not None, "the connection is taken over")
            yield client


def frames(stream: bytes) -> Iterator[bytes]:
    """The bodies in a stream of WebSocket frames; a torn frame fails."""
    while stream:
        assert stream[0] in (0x81, 0x89), f"no frame begins with {stream[:20]!r}"
        start, size = 2, stream[1]
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(stream[2:start], "big")
        assert len(stream) >= start + size, "the last frame is not whole"
        if stream[0] == 0x81:
            yield stream[start : start + size]
        stream = stream[start + size :]


class Careless(DirectConnection):
    """Sends past what waits in the transport."""

    def pause_writing(self) -> None:
        pass


async def _receive_numbers(connection: DirectConnection) -> None:
    """A client that reads now and then, with two subscriptions, receives every number in order."""
    loop = asyncio.get_running_loop()
    stream, expected = bytearray(), []
    delivered: list[int] = []
    subscribers = Subscribers(RelayMetrics(), lambda frames: delivered.append(len(frames)))
    for _ in range(2):
        subscribers.add(Onlooker(connection))
    async with taken_over(connection) as client:
        for number in range(300):
            subscribers.deliver(said(number, (number * 7919) % 30_000).frames)
            expected += [number, number]
            if number % 3 == 0:
                connection.tick()
                connection._alive, connection._backlog_bytes = True, 0
            if number % 5 == 0:
                assert connection.send(said(1000 + number, 20_000), exempt=True)
                expected.append(1000 + number)
            if number % 4 == 0:
                stream += await loop.sock_recv(client, 200_000)
        assert connection.closed is None
        connection._transport.close()  # type: ignore[union-attr]  # what waits is sent first
        while data := await loop.sock_recv(client, 1 << 20):
            stream += data
    assert len(delivered) == 300
    assert [orjson.loads(body)["number"] for body in frames(bytes(stream))] == expected


@LOOPS
def test_no_frame_is_torn_and_none_overtakes_another(loop: NewLoop) -> None:
    """Bytes that the kernel does not take wait in the transport; sends and pings that follow must go behind them."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_receive_numbers(DirectConnection(ClientBounds(BOUND, 1000))))


@LOOPS
def test_without_pause_writing_frames_are_torn(loop: NewLoop) -> None:
    """The control."""
    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises((AssertionError, ValueError)):
        runner.run(_receive_numbers(Careless(ClientBounds(BOUND, 1000))))


# Both ways give the same


@dataclass(frozen=True)
class Deliver:
    """A batch of the log to all of the run's subscribers."""

    size: int


@dataclass(frozen=True)
class SendExempt:
    """An initial_state, say, to this client."""

    size: int


@dataclass(frozen=True)
class Receive:
    """The client reads what it has been sent, at most so many bytes."""

    size: int


@dataclass(frozen=True)
class Leave:
    """The client closes its end without reading the rest."""


SIZES = st.integers(0, 300) | st.integers(0, 300_000)
STEPS = st.lists(st.builds(Deliver, SIZES) | st.builds(SendExempt, SIZES) | st.builds(Receive, SIZES), max_size=25)


async def _stream(steps: list[Deliver | SendExempt | Receive | Leave]) -> tuple[bytes, list[int], int]:
    """What a client reads until its end, how many bytes each `Receive` had, and how many faults were contained."""
    loop, metrics = asyncio.get_running_loop(), RelayMetrics()
    connection, stream, sizes = DirectConnection(ClientBounds(BOUND, 1000)), bytearray(), []
    subscribers = Subscribers(metrics, lambda frames: None)
    for _ in range(2):
        subscribers.add(Onlooker(connection))
    ours, client = socket.socketpair()
    with client:
        client.setblocking(False)
        await loop.create_connection(lambda: Taking(connection), sock=ours)
        for number, step in enumerate(steps):
            match step:
                case Deliver(size):
                    subscribers.deliver(said(number, size).frames)
                case SendExempt(size):
                    connection.send(said(number, size), exempt=True)
                case Receive(size):
                    before = len(stream)
                    while len(stream) - before < size:
                        try:
                            stream += client.recv(size - (len(stream) - before))
                        except BlockingIOError:
                            transport: Any = connection._transport
                            if not transport.get_write_buffer_size():
                                break
                            await asyncio.sleep(0)  # what waits in the transport is on its way
                    sizes.append(len(stream) - before)
                case Leave():
                    client.close()
                    for _ in range(2):
                        await asyncio.sleep(0)
        if connection._transport is not None:
            connection._transport.close()
        if client.fileno() != -1:
            while data := await loop.sock_recv(client, 1 << 20):
                stream += data
        await eventually(lambda: connection._transport is None, "the connection is lost")
    return bytes(stream), sizes, metrics.contained


@LOOPS
@given(steps=STEPS, leaves=st.booleans(), more=STEPS)
@example(steps=[Deliver(300_000), Receive(250_000), Deliver(10), Receive(10), Deliver(20)], leaves=False, more=[])
@settings(deadline=None, max_examples=60, suppress_health_check=[*HealthCheck])
def test_direct_and_plain_sends_give_a_client_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch,
    loop: NewLoop,
    steps: list[Any],
    leaves: bool,
    more: list[Any],
) -> None:
    """A client would get other bytes, or in another order: full buffer, partial writes, a client that leaves."""
    if leaves:
        steps = [*steps, Leave(), *(step for step in more if not isinstance(step, Receive))]
    ways = []
    for enabled in (True, False):
        monkeypatch.setattr(direct_sends, "ENABLED", enabled)
        with asyncio.Runner(loop_factory=loop) as runner:
            ways.append(runner.run(_stream(steps)))
    assert ways[0] == ways[1]
    stream, _, contained = ways[0]
    assert not contained
    sent = b"".join(
        said(number, step.size).wire * (2 if isinstance(step, Deliver) else 1)
        for number, step in enumerate(steps)
        if not isinstance(step, Receive | Leave)
    )
    assert sent.startswith(stream) if leaves else stream == sent


def test_the_switch_turns_direct_sends_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above would compare one way with itself."""
    ways = []
    for enabled in (True, False):
        monkeypatch.setattr(direct_sends, "ENABLED", enabled)
        connection = SlowSends()
        subscribers = Subscribers(RelayMetrics(), lambda frames: None)
        subscribers.add(Onlooker(connection))
        subscribers.deliver(said(1, 10).frames)
        ways += connection.ways
    assert ways == ["kernel", "transport"]
    assert issubclass(DirectConnection, DirectSocket)


@LOOPS
def test_a_lost_connection_s_descriptor_is_free_for_another(loop: NewLoop) -> None:
    """The descriptor belongs to the transport. To close it twice would close another file with the same number."""

    async def lose() -> None:
        connection = DirectConnection(ClientBounds(BOUND, 1000))
        async with taken_over(connection):
            number = connection._socket.fileno()  # type: ignore[union-attr]
            connection._transport.abort()  # type: ignore[union-attr]
            await eventually(lambda: connection._transport is None, "the connection is lost")
            assert connection.send_now is None
            taken = [os.open(os.devnull, os.O_RDONLY)]
            while number not in taken:
                taken.append(os.dup(taken[0]))
            await asyncio.sleep(0)
            gc.collect()
            for descriptor in taken:
                os.close(descriptor)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(lose())


@LOOPS
def test_an_application_s_default_timeout_is_not_waited_for(loop: NewLoop) -> None:
    """A client that does not read would block the loop for so long."""

    async def fill() -> None:
        connection = DirectConnection(ClientBounds(BOUND, 1000))
        async with taken_over(connection):
            send_now = connection.send_now
            assert send_now is not None
            with pytest.raises(BlockingIOError):
                sum(send_now(bytes(100_000)) for _ in range(1000))

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.2)
    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(fill())
    finally:
        socket.setdefaulttimeout(before)


@LOOPS
def test_behind_tls_everything_goes_through_the_transport(loop: NewLoop, tmp_path: Path) -> None:
    """The socket carries encrypted bytes: a frame past it would break the connection."""
    key, certificate = make_certificate(tmp_path)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, key)
    client_side = ssl.create_default_context(cafile=str(certificate))

    async def encrypted() -> None:
        connection = DirectConnection(ClientBounds(BOUND, 1000))
        subscribers = Subscribers(RelayMetrics(), lambda frames: None)
        subscribers.add(Onlooker(connection))
        async with serving(connection, server_side) as port:
            reader, writer = await asyncio.open_connection(HOST, port, ssl=client_side)
            await eventually(lambda: connection._transport is not None, "the connection is taken over")
            assert connection.send_now is None
            batch = said(1, 10)
            subscribers.deliver(batch.frames)
            assert await reader.readexactly(len(batch.wire)) == batch.wire
            assert connection.send_now is None, "nor when all was taken"
            writer.close()
            await writer.wait_closed()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(encrypted())
