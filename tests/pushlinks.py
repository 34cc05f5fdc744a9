"""A way to Redis that loses, delays or refuses what a subscriber should hear."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import hiredis

from tests.servers import HOST

__all__ = ["PushLink", "push_link"]


class PushLink:
    """A TCP relay in front of a server; `url` leads through it. What commands answer passes untouched.

    `lose`: pushes of which this is true never arrive. `hold`: while set, pushes wait. `refuse`: while set, no new
    connection is let through.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.lose: Callable[[bytes], bool] = lambda payload: False
        self.lost = 0
        self.refuse = False
        self._flow = asyncio.Event()
        self._flow.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._subscribers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://{HOST}:{self._server.sockets[0].getsockname()[1]}/0"

    def hold(self) -> None:
        """Let pushes wait from now on."""
        self._flow.clear()

    def release(self) -> None:
        """Let them through, in their order."""
        self._flow.set()

    def cut(self) -> None:
        """Break every subscriber's connection."""
        for writer in [*self._subscribers]:
            writer.transport.abort()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, 0)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.release()
        for writer in [*self._writers]:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            writer.transport.abort()
            return
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
            self._subscribers.discard(writer)

    async def _up(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if re.search(rb"\r\nS?SUBSCRIBE\r\n", data):
                self._subscribers.add(back)
            to.write(data)
            await to.drain()
        raise ConnectionResetError

    async def _down(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        while data := await reader.read(1 << 16):
            if to not in self._subscribers:
                to.write(data)
                await to.drain()
                continue
            parser.feed(data)
            while (push := parser.gets()) is not False:
                await self._flow.wait()
                if push[0] == b"message" and self.lose(push[2]):
                    self.lost += 1
                else:
                    to.write(_encoded(push))
            await to.drain()
        raise ConnectionResetError


def _encoded(value: Any) -> bytes:
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(_encoded(item) for item in value)
    if isinstance(value, int):
        return b":%d\r\n" % value
    return b"$%d\r\n%s\r\n" % (len(value), value)


@asynccontextmanager
async def push_link(port: int) -> AsyncIterator[PushLink]:
    """A link to the server on this port, closed at the end."""
    link = PushLink(port)
    await link.start()
    try:
        yield link
    finally:
        await link.close()
