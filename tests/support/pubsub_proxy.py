"""A way to Redis that loses, delays or refuses what a subscriber should hear."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import hiredis

from tests.support.tcp_proxy import READ_BYTES, Pair, TcpProxy

__all__ = ["PubSubProxy", "pubsub_proxy"]


class PubSubProxy(TcpProxy):
    """A TcpProxy in front of a Redis; `url` leads through it. What commands answer passes untouched.

    `lose`: pushes of which this is true never arrive. `hold`: while set, pushes wait. `cut` breaks subscribers only.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.lose: Callable[[bytes], bool] = lambda payload: False
        self.lost = 0
        self._flow = asyncio.Event()
        self._flow.set()

    @property
    def url(self) -> str:
        """The URL of the Redis behind it."""
        return self.redis_url

    def hold(self) -> None:
        """Let pushes wait from now on."""
        self._flow.clear()

    def release(self) -> None:
        """Let them through, in their order."""
        self._flow.set()

    def cut(self) -> None:
        """Break every subscriber's connection."""
        for pair in [*self.pairs]:
            if pair.subscribed:
                pair.abort()

    async def _up(self, pair: Pair, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(READ_BYTES):
            if re.search(rb"\r\nS?SUBSCRIBE\r\n", data):
                pair.subscribed = True
            pair.server.write(data)
            await pair.server.drain()

    async def _down(self, pair: Pair, reader: asyncio.StreamReader) -> None:
        parser = hiredis.Reader()
        to = pair.client
        while data := await reader.read(READ_BYTES):
            if not pair.subscribed:
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


def _encoded(value: Any) -> bytes:
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(_encoded(item) for item in value)
    if isinstance(value, int):
        return b":%d\r\n" % value
    return b"$%d\r\n%s\r\n" % (len(value), value)


@asynccontextmanager
async def pubsub_proxy(port: int) -> AsyncIterator[PubSubProxy]:
    """A link to the server on this port, closed at the end."""
    link = PubSubProxy(port)
    await link.start()
    try:
        yield link
    finally:
        await link.close()
