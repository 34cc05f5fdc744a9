"""An application that echoes, over a connection that it takes over or over the server's own: what Autobahn wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.frames import Frame, Opcode

from runrelay.fanout import Batch, ClientBounds
from runrelay.fanout.direct_connection import DirectConnection, Message
from runrelay.fanout.uvicorn import EXTENSION, FanoutProtocol

__all__ = ["LIMIT_BYTES", "echo_app"]

LIMIT_BYTES = 1 << 20
BOUNDS = ClientBounds(16 * LIMIT_BYTES, LIMIT_BYTES, frames_per_s=1e6, bytes_per_s=1e9)


def echo_app(connect: Callable[[ClientBounds], DirectConnection] = DirectConnection) -> ASGIApp:
    """An application that sends back each message as it came, until the client closes."""

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        protocol: FanoutProtocol | None = scope["extensions"].get(EXTENSION)
        if protocol is not None:
            connection = connect(BOUNDS)
            assert connection.take_over(protocol, lambda m: _send_back(connection, m), lambda: None)
            return
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})

    return echo


def _send_back(connection: DirectConnection, message: Message) -> None:
    connection.send(cast("Batch", _Echo(message)))


class _Echo:
    """A message in place of a batch: binary ones are echoed as binary, which the relay itself never sends."""

    def __init__(self, message: Message) -> None:
        frame = Frame(Opcode.TEXT, message.encode()) if isinstance(message, str) else Frame(Opcode.BINARY, message)
        self.wire = frame.serialize(mask=False)
