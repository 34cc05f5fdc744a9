"""The fast path under uvicorn: whole frames sent straight on the connection, and no task per client.

`uvicorn --ws runrelay.fanout.uvicorn:FanoutProtocol` (which `runrelay serve` sets) offers each connection to the
application through the ASGI scope's `extensions`. uvicorn does the handshake; then the application may take the
connection over: the transport gets a `DirectConnection` as its protocol (direct_connection.py), and everything that
only the handshake needed (parser, scope, queue, the handler's task) goes as soon as the handler returns. A waiting
client costs about a tenth.

What is relied on in uvicorn 0.54's sans-I/O protocol, held by tests: `handle_connect` makes `scope`; `conn` is a
websockets ServerProtocol with `extensions` and `reader`; `run_asgi` ends by closing the transport; the members of
`connections` are told to shut down by `shutdown()` and are waited for until they have taken themselves out.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .direct_connection import DirectConnection

__all__ = ["EXTENSION", "DirectConnection", "FanoutProtocol"]

log = logging.getLogger(__name__)

EXTENSION: Final = "runrelay.fanout"


class FanoutProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, whose connections an application can take over after the handshake."""

    def handle_connect(self, event: Any) -> None:
        """Offer the connection in the scope. The application's task, made in here, runs in the loop's next turn."""
        super().handle_connect(event)
        if self.response.status_code == 101 and not self.conn.extensions:  # our frames are not compressed
            offered: dict[str, Any] = self.scope["extensions"]
            offered[EXTENSION] = self

    def hand_over(self, connection: DirectConnection) -> asyncio.Transport | None:
        """Give the transport to another protocol. None: it is lost, or the client did not wait for the handshake."""
        if self.disconnected or self.transport.is_closing():
            return None
        if not self.queue.empty() or self.conn.reader.buffer:
            log.info("a client sent frames before the handshake was answered: closed")
            self.transport.close()
            return None
        transport, self.transport = self.transport, cast("asyncio.Transport", _DetachedTransport())
        # Rings of objects would wait for the collector, many times what a waiting client costs: it is in its own scope,
        # and the parser is a generator of the parser's.
        del self.scope["extensions"][EXTENSION]
        self.conn.parser.close()
        self.stop_keepalive()
        self.connections.discard(self)
        self.connections.add(cast("Any", connection))
        transport.set_protocol(connection)
        return transport


class _DetachedTransport:
    """What is left to a protocol whose transport was handed over: it closes it when its handler returns."""

    def close(self) -> None:
        """Do nothing: the transport is another's."""

    def is_closing(self) -> bool:
        """Nothing may be written any more."""
        return True
