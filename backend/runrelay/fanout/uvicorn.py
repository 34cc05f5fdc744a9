"""The hand-over under uvicorn: after the handshake, a connection is taken from uvicorn. It then needs no task.

Why: an idle client costs about a tenth of the memory (docs/decisions/0008).

How: `uvicorn --ws runrelay.fanout.uvicorn:FanoutProtocol` (which `runrelay serve` sets) offers each connection to the
application through the ASGI scope's `extensions`. uvicorn does the handshake. Then the application may take the
connection over: the transport gets a `DirectConnection` (direct_connection.py) as its protocol. Everything that only
the handshake needed (parser, scope, queue, the handler's task) is freed as soon as the handler returns. Under any other
server, QueuedConnection (connections.py) is used.

This relies on uvicorn 0.54's sans-I/O protocol, which tests check: `handle_connect` makes `scope`; `conn` is a
websockets ServerProtocol with `extensions` and `reader`; `run_asgi` ends by closing the transport; at shutdown uvicorn
calls `shutdown()` on each member of `connections`, and waits until the set is empty.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .direct_connection import EXTENSION, DirectConnection

__all__ = ["EXTENSION", "DirectConnection", "FanoutProtocol"]

log = logging.getLogger(__name__)


class FanoutProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, whose connections an application can take over after the handshake."""

    def handle_connect(self, event: Any) -> None:
        """Offer the connection in the scope. uvicorn makes the application's task here; it runs in the loop's next
        turn.
        """
        super().handle_connect(event)
        if self.response.status_code == 101 and not self.conn.extensions:  # our frames are not compressed
            offered: dict[str, Any] = self.scope["extensions"]
            offered[EXTENSION] = self

    def hand_over(self, connection: DirectConnection) -> asyncio.Transport | None:
        """Give the transport to another protocol. None: it is lost, or the client did not wait for the handshake."""
        if self.disconnected or self.transport.is_closing():
            return None
        if not self.queue.empty() or self.conn.reader.buffer:
            log.info("closed a client that sent frames before the handshake was answered")
            self.transport.close()
            return None
        transport, self.transport = self.transport, cast("asyncio.Transport", _DetachedTransport())
        # Break reference cycles (the protocol is in its own scope; the parser holds its own generator): they would wait
        # for the garbage collector, and take many times the memory of an idle client.
        del self.scope["extensions"][EXTENSION]
        self.conn.parser.close()
        self.stop_keepalive()
        self.connections.discard(self)
        self.connections.add(cast("Any", connection))
        transport.set_protocol(connection)
        return transport


class _DetachedTransport:
    """Stub that uvicorn closes instead of the transport that we took over."""

    def close(self) -> None:
        """Do nothing: the transport belongs to the DirectConnection."""

    def is_closing(self) -> bool:
        """True: uvicorn must not write any more."""
        return True
