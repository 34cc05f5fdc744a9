"""A way to Redis on which the answers to reads of runs can be held, while everything else passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runrelay.runlog.scripts import READ
from tests.servers import HOST

__all__ = ["ReadLink", "read_link"]


class ReadLink:
    """A TCP relay in front of a server; `url` leads through it.

    While `flow` is not set, nothing comes back on a connection that a read of a run was sent on. `reads` counts those
    that were sent.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.reads = 0
        self.flow = asyncio.Event()
        self.flow.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._readers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://{HOST}:{self._server.sockets[0].getsockname()[1]}/0"

    def cut(self) -> None:
        """Break every connection that a read was sent on."""
        for writer in [*self._readers]:
            writer.transport.abort()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, 0)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.flow.set()
        for writer in [*self._writers]:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection(HOST, self.port)
        self._writers |= {writer, their_writer}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._up(reader, their_writer, writer))
                tasks.create_task(self._down(their_reader, writer))
        except* OSError:
            pass
        finally:
            for one in (writer, their_writer):
                one.transport.abort()
                self._writers.discard(one)
            self._readers.discard(writer)

    async def _up(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
        names = (READ.sha.encode(), READ.text.encode())
        while data := await reader.read(1 << 16):
            if found := sum(data.count(name) for name in names):
                self.reads += found
                self._readers.add(back)
            to.write(data)
            await to.drain()
        raise ConnectionResetError

    async def _down(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if to in self._readers:
                await self.flow.wait()
            to.write(data)
            await to.drain()
        raise ConnectionResetError


@asynccontextmanager
async def read_link(port: int) -> AsyncIterator[ReadLink]:
    """A link to the server on this port, closed at the end."""
    link = ReadLink(port)
    await link.start()
    try:
        yield link
    finally:
        await link.close()
