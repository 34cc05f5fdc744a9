"""A way to Redis on which the answers to reads of runs can be held, while everything else passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runrelay.runlog.scripts import READ
from tests.support.tcp_proxy import READ_BYTES, Pair, TcpProxy

__all__ = ["ReadProxy", "read_proxy"]


class ReadProxy(TcpProxy):
    """A TcpProxy in front of a Redis; `url` leads through it.

    While `flow` is not set, nothing comes back on a connection that a read of a run was sent on. `reads` counts those
    that were sent. `cut` breaks those connections only.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.reads = 0
        self.flow = asyncio.Event()
        self.flow.set()
        self._readers: set[Pair] = set()

    @property
    def url(self) -> str:
        """The URL of the Redis behind it."""
        return self.redis_url

    def cut(self) -> None:
        """Break every connection that a read was sent on."""
        for pair in self._readers & self.pairs:
            pair.abort()

    async def _up(self, pair: Pair, reader: asyncio.StreamReader) -> None:
        names = (READ.sha.encode(), READ.text.encode())
        while data := await reader.read(READ_BYTES):
            if found := sum(data.count(name) for name in names):
                self.reads += found
                self._readers.add(pair)
            pair.server.write(data)
            await pair.server.drain()

    async def _down(self, pair: Pair, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(READ_BYTES):
            if pair in self._readers:
                await self.flow.wait()
            pair.client.write(data)
            await pair.client.drain()


@asynccontextmanager
async def read_proxy(port: int) -> AsyncIterator[ReadProxy]:
    """A link to the server on this port, closed at the end."""
    link = ReadProxy(port)
    await link.start()
    try:
        yield link
    finally:
        await link.close()
