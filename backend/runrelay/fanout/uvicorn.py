"""The fast path under uvicorn: whole frames written straight to the transport, and no task per client.

`uvicorn --ws runrelay.fanout.uvicorn:FanoutProtocol` (which `runrelay serve` sets) offers each connection to the
application through the ASGI scope's `extensions`. The application answers the handshake as usual, takes the
connection over, and may then return: a connection that was taken over lives on without its handler, until either side
ends it.

What is relied on in uvicorn 0.54's sans-I/O protocol (tests/integration/test_relay_uvicorn.py holds it): `scope` is
made in `handle_connect`; `conn` is a websockets ServerProtocol whose frames are whole, so that frames of ours between
two of its own never split a message; `close_sent`, `disconnected`, `handshake_complete` tell what may be written.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ..codes import CloseCode
from .frames import Batch

__all__ = ["EXTENSION", "DirectConnection", "FanoutProtocol"]

log = logging.getLogger("uvicorn.error")

EXTENSION: Final = "runrelay.fanout"
_ABORT_AFTER_S: Final = 5.0
_SEND_BUFFER_BYTES: Final = 128 * 1024


class FanoutProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, whose connection an application can take over."""

    taken_over_by: DirectConnection | None = None
    goodbye: Callable[[], str] = staticmethod(lambda: "")
    """Makes the close reason of a shutdown."""

    def handle_connect(self, event: Any) -> None:
        """Offer the connection in the scope. The application's task, made in here, runs in the loop's next turn."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            offered: dict[str, Any] = self.scope["extensions"]
            offered[EXTENSION] = self

    @property
    def may_write(self) -> bool:
        """Whether a frame may be written now: after the handshake, before a close, while the transport is open."""
        return self.handshake_complete and not (self.close_sent or self.disconnected or self.transport.is_closing())

    def send_receive_event_to_app(self) -> None:
        """Hand a message to whoever took the connection over, without queue and pause."""
        connection = self.taken_over_by
        if connection is None:
            super().send_receive_event_to_app()
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if not self.close_sent:
            connection.on_message(bytes(data))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever took the connection over."""
        super().connection_lost(exc)
        if self.taken_over_by is not None:
            self.taken_over_by.lost()

    def shutdown(self) -> None:
        """Close with our own reason, so that clients come back spread out."""
        if self.taken_over_by is not None and self.may_write:
            self.taken_over_by.close(CloseCode.SERVICE_RESTART, self.goodbye())
        super().shutdown()

    async def run_asgi(self) -> None:
        """Run the application as uvicorn does, but leave a detached connection open when it returns."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:
            log.exception("Exception in ASGI application\n")
            self.send_500_response()
        else:
            if not self.handshake_complete:
                log.error("ASGI callable returned without completing handshake.")
                self.send_500_response()
        connection = self.taken_over_by
        if connection is not None and connection.detached and not self.disconnected:
            self._forget_handshake()
        elif self.close_timer is None:
            self.transport.close()

    def _forget_handshake(self) -> None:
        """Let go of what only the handshake and the handler needed: more than half of a connection's memory."""
        del self.scope, self.request, self.response
        self.app_state = {}


class DirectConnection:
    """A client's connection that was taken over: see fanout.Connection.

    Overflow policy: cut off. What the kernel does not take (its buffer is bounded too) waits in the transport; more
    than `bound_bytes` of it, initial_state aside, closes the connection with 4408. If that has not gone out after 5 s
    it is aborted.
    """

    __slots__ = (
        "_bound_bytes", "_exempt_bytes", "_on_lost", "_protocol", "closed", "detached", "on_message", "resume_bytes",
    )  # fmt: skip

    def __init__(self, protocol: FanoutProtocol, bound_bytes: int) -> None:
        self.resume_bytes = bound_bytes // 2
        self.closed: tuple[CloseCode, str] | None = None
        self.detached = False
        self.on_message: Callable[[bytes], None] = lambda message: None
        self._on_lost: Callable[[], None] = lambda: None
        self._protocol = protocol
        self._bound_bytes = bound_bytes
        self._exempt_bytes = 0

    def take_over(self, on_message: Callable[[bytes], None], on_lost: Callable[[], None]) -> None:
        """From now on messages and the loss of the connection come here, synchronously. After the handshake only."""
        self.on_message, self._on_lost = on_message, on_lost
        protocol = self._protocol
        raw = protocol.transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            # the kernel would hide megabytes: what it has taken is not counted
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        protocol.taken_over_by = self
        while not protocol.queue.empty():  # what came together with the handshake
            event = protocol.queue.get_nowait()
            if event["type"] == "websocket.receive":
                text = event.get("text")
                on_message(event.get("bytes") or b"" if text is None else text.encode())
        if protocol.read_paused:
            protocol.read_paused = False
            protocol.transport.resume_reading()
        if protocol.disconnected:
            self.lost()

    def detach(self, on_lost: Callable[[], None]) -> None:
        """The handler returns, the connection lives on; `on_lost` lets go of what it holds."""
        self.detached, self._on_lost = True, on_lost

    def send(self, batch: Batch, *, exempt: bool = False) -> bool:
        """See fanout.Connection.send. One write for the whole batch."""
        protocol = self._protocol
        if self.closed is not None or not protocol.may_write:
            return False
        transport, wire = protocol.transport, batch.wire
        waiting = transport.get_write_buffer_size()
        if waiting or exempt:
            self._exempt_bytes = min(self._exempt_bytes, waiting)
            if exempt:
                self._exempt_bytes += len(wire)
            elif waiting - self._exempt_bytes + len(wire) > self._bound_bytes:
                self.close(CloseCode.TOO_SLOW, "too slow")
                return False
        transport.write(wire)
        return True

    def close(self, code: CloseCode, reason: str = "") -> None:
        """See fanout.Connection.close."""
        if self.closed is not None:
            return
        self.closed = code, reason
        protocol = self._protocol
        if protocol.may_write:
            protocol.conn.send_close(code, reason)
            protocol.transport.write(b"".join(protocol.conn.data_to_send()))
            protocol.close_sent = True
            # the peer's answer, or its slowness, has this long; then the transport is aborted
            protocol.close_timer = protocol.loop.call_later(_ABORT_AFTER_S, protocol.transport.abort)

    def lost(self) -> None:
        """The connection is gone."""
        on_lost, self._on_lost = self._on_lost, lambda: None
        if self.closed is None:
            self.closed = CloseCode.NORMAL, ""
        on_lost()
