"""A TCP link that breaks as links do: cut, silent, slow to accept, or gone after some kilobytes.

It stands in front of any server: Redis (see pubsub_proxy.py for one that knows what a push is) or a relay. It lives
in the test's own loop. runlog.py has another in a thread of its own, for clients that block the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.servers import HOST

__all__ = ["READ_BYTES", "Pair", "TcpProxy", "tcp_proxy"]

READ_BYTES = 1 << 16


@dataclass(eq=False)
class Pair:
    """One client's connection and the one to the server that belongs to it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    speaks: asyncio.Event
    """Set while anything passes."""
    subscribed: bool = False
    """The client has subscribed to a channel of Redis."""

    def abort(self) -> None:
        """Break both."""
        self.client.transport.abort()
        self.server.transport.abort()


class TcpProxy:
    """A link to a port of this machine; clients connect to `port`.

    `refuse`: while set, no new connection is let through. `cut_after_bytes`: each connection breaks after the server
    has sent so much over it. `silence()`: nothing passes in either direction and nothing is closed, until `speak()`;
    with `silence(for_good=True)` the connections of that moment stay so for ever, as after a NAT has forgotten them.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.refuse = False
        self.cut_after_bytes: int | None = None
        self.cuts = 0
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.pairs: set[Pair] = set()
        """The connections that there are now."""

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None, "the link is not started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def redis_url(self) -> str:
        """The URL of the Redis behind it."""
        return f"redis://{HOST}:{self.port}/0"

    def silence(self, *, for_good: bool = False) -> None:
        """Let nothing pass, and close nothing. For good: over the connections that there are now; new ones work."""
        self._speaks.clear()
        if for_good:
            self._speaks = asyncio.Event()
            self._speaks.set()

    def speak(self) -> None:
        """Let pass what waited, in its order."""
        self._speaks.set()

    def cut(self) -> None:
        """Break every connection."""
        for pair in [*self.pairs]:
            pair.abort()

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, HOST, 0, backlog=1024)

    async def close(self) -> None:
        """Break everything and stop listening."""
        assert self._server is not None, "the link is not started"
        self._server.close()
        for _ in range(4):  # a connection that is just being accepted becomes one of our tasks
            await asyncio.sleep(0)
        for pair in [*self.pairs]:
            pair.abort()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait([*self._serving])
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # by `close`; Python 3.11's server takes a cancelled task for an error
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)  # which closes what was aborted
            self._serving.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            writer.transport.abort()
            return
        try:
            their_reader, their_writer = await asyncio.open_connection(HOST, self.target_port)
        except OSError:
            writer.transport.abort()
            return
        pair = Pair(writer, their_writer, self._speaks)
        self.pairs.add(pair)
        pumps = [
            asyncio.create_task(self._up(pair, reader), name="link up"),
            asyncio.create_task(self._down(pair, their_reader), name="link down"),
        ]
        try:
            await asyncio.wait(pumps, return_when="FIRST_COMPLETED")
        finally:
            pair.abort()
            self.pairs.discard(pair)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _up(self, pair: Pair, reader: asyncio.StreamReader) -> None:
        """Pass on what the client sends."""
        while data := await reader.read(READ_BYTES):
            await pair.speaks.wait()
            pair.server.write(data)
            await pair.server.drain()

    async def _down(self, pair: Pair, reader: asyncio.StreamReader) -> None:
        """Pass on what the server sends."""
        left = self.cut_after_bytes
        while data := await reader.read(READ_BYTES):
            await pair.speaks.wait()
            if left is not None:
                data, left = data[:left], left - len(data)
            pair.client.write(data)
            await pair.client.drain()
            if left is not None and left <= 0:
                self.cuts += 1
                pair.client.close()  # what was let through arrives, in the middle of whatever it is
                await pair.client.wait_closed()
                return


@asynccontextmanager
async def tcp_proxy(target_port: int) -> AsyncIterator[TcpProxy]:
    """A link to a port, closed at the end."""
    link = TcpProxy(target_port)
    await link.start()
    try:
        yield link
    finally:
        await link.close()
