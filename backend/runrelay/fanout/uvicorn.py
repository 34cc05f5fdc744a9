"""The fast path under uvicorn: whole frames sent straight on the connection, and no task per client.

`uvicorn --ws runrelay.fanout.uvicorn:FanoutProtocol` (which `runrelay serve` sets) offers each connection to the
application through the ASGI scope's `extensions`. uvicorn does the handshake; then the application may take the
connection over: the transport gets a `DirectConnection` as its protocol, and everything that only the handshake needed
(parser, scope, queue, the handler's task) goes as soon as the handler returns. A waiting client costs about a tenth.

What is relied on in uvicorn 0.54's sans-I/O protocol, held by tests: `handle_connect` makes `scope`; `conn` is a
websockets ServerProtocol with `extensions` and `reader`; `run_asgi` ends by closing the transport; the members of
`connections` are told to shut down by `shutdown()` and are waited for until they have taken themselves out.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Generator
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from ..codes import CloseCode
from .frames import Batch

__all__ = ["EXTENSION", "DirectConnection", "FanoutProtocol"]

log = logging.getLogger(__name__)

EXTENSION: Final = "runrelay.fanout"
_ABORT_AFTER_S: Final = 5.0
_SEND_BUFFER_BYTES: Final = 128 * 1024
_PROTOCOL_ERROR: Final = 1002  # RFC 6455, section 7.4.1
_PING: Final = Frame(Opcode.PING, b"").serialize(mask=False)
_PONG: Final = b"\x8a\x80"
"""The client's answer begins so, and four bytes of a mask follow."""


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
        transport, self.transport = self.transport, cast("asyncio.Transport", _Given())
        # It is in there itself: a ring of objects would wait for the collector, many times what a waiting client costs.
        del self.scope["extensions"][EXTENSION]
        self.stop_keepalive()
        self.connections.discard(self)
        self.connections.add(cast("Any", connection))
        transport.set_protocol(connection)
        return transport


class _Given:
    """What is left to a protocol whose transport was handed over: it closes it when its handler returns."""

    def close(self) -> None:
        """Do nothing: the transport is another's."""

    def is_closing(self) -> bool:
        """Nothing may be written any more."""
        return True


class DirectConnection(asyncio.Protocol):
    """A client's connection that was taken over: see fanout.Connection. It is the transport's protocol.

    Overflow policy: cut off. What the kernel does not take (its buffer is bounded too) waits in the transport; more
    than `bound_bytes` of it, initial_state aside, closes the connection with 4408. If the close has not gone through
    after 5 s, the connection is aborted.

    While nothing waits, frames go past the transport, by the socket's own send (`send_now`). What that does not take is
    the transport's, and all that follows goes behind it, until the transport tells that nothing waits any more.

    A frame that the client is sending is parsed by websockets' generator; between frames there is neither a parser nor
    a buffer.
    """

    __slots__ = (
        "_alive", "_bound_bytes", "_broken", "_closing", "_exempt_bytes", "_fragments", "_goodbye", "_limit_bytes",
        "_on_lost", "_on_message", "_parsing", "_peers", "_socket", "_transport", "closed", "resume_bytes", "send_now",
    )  # fmt: skip

    def __init__(self, bound_bytes: int, limit_bytes: int, goodbye: Callable[[], str] = lambda: "") -> None:
        self.send_now: Callable[[bytes], int] | None = None
        self.resume_bytes = bound_bytes // 2
        self.closed: tuple[CloseCode, str] | None = None
        self._bound_bytes = bound_bytes
        self._limit_bytes = limit_bytes
        self._goodbye = goodbye
        self._exempt_bytes = 0
        self._alive = True
        self._broken = False
        self._closing: asyncio.TimerHandle | None = None
        self._parsing: tuple[StreamReader, Generator[None, None, Frame]] | None = None
        self._fragments: bytearray | None = None
        self._on_message: Callable[[bytes], None] = _ignore
        self._on_lost: Callable[[], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._peers: set[Any] = set()

    def take_over(
        self, protocol: FanoutProtocol, on_message: Callable[[bytes], None], on_lost: Callable[[], None]
    ) -> bool:
        """Take the connection from uvicorn's protocol, after the handshake. False: it cannot be had, and is closing.

        Args:
            on_message: gets each whole message of the client's.
            on_lost: is called once, when the connection is gone.
        """
        self._on_message, self._on_lost, self._peers = on_message, on_lost, protocol.connections
        self._transport = protocol.hand_over(self)
        if self._transport is None:
            return False
        self._transport.set_write_buffer_limits(high=0)  # `pause_writing` tells when anything waits at all
        raw = self._transport.get_extra_info("socket")
        if raw is None:
            return True
        if raw.family in (socket.AF_INET, socket.AF_INET6):
            # the kernel would hide megabytes: what it has taken is not counted
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        if self._transport.get_extra_info("sslcontext") is None:
            self._socket = socket.socket(raw.family, raw.type, raw.proto, raw.fileno())
            self._socket.setblocking(False)  # whatever `socket.setdefaulttimeout` says: the loop may not wait in it
            if not self._transport.get_write_buffer_size():
                self.send_now = self._socket.send
        return True

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Replace what is called when the connection is gone."""
        self._on_lost = callback

    # To the client

    def send(self, batch: Batch, *, exempt: bool = False, taken: int = 0) -> bool:
        """See fanout.Connection.send. One write for the whole batch."""
        transport = self._transport
        if self.closed is not None or transport is None:
            return False
        if (self.send_now is None or exempt) and not self._fits(len(batch.wire), transport, exempt=exempt):
            self.close(CloseCode.TOO_SLOW, "too slow")
            return False
        # a view of what is shared: a copy for each of thousands of clients would be gigabytes
        transport.write(memoryview(batch.wire)[taken:] if taken else batch.wire)
        return True

    def _fits(self, size: int, transport: asyncio.Transport, *, exempt: bool) -> bool:
        waiting = transport.get_write_buffer_size()
        self._exempt_bytes = min(self._exempt_bytes, waiting)
        if exempt:
            self._exempt_bytes += size
            return True
        return not waiting or waiting - self._exempt_bytes + size <= self._bound_bytes

    def pause_writing(self) -> None:
        """The kernel has not taken all: what follows waits behind it, and from here on the bound is looked at."""
        self.send_now = None

    def resume_writing(self) -> None:
        """Nothing waits any more."""
        if self.closed is None and self._socket is not None:
            self.send_now = self._socket.send

    def close(self, code: CloseCode, reason: str = "") -> None:
        """See fanout.Connection.close."""
        self._close(code, reason)

    def _close(self, code: int, reason: str) -> None:
        transport = self._transport
        if self.closed is not None or transport is None:
            return
        self.closed = (CloseCode(code) if code != _PROTOCOL_ERROR else CloseCode.BAD_REQUEST), reason
        self.send_now = None
        if not transport.is_closing():
            transport.write(Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(mask=False))
            # The client's answer, or its slowness, has this long.
            self._closing = asyncio.get_running_loop().call_later(_ABORT_AFTER_S, transport.abort)

    def tick(self) -> None:
        """Called every so often, instead of a timer each: a client that was silent since the last call is gone."""
        if self._transport is None or self.closed is not None:
            return
        if not self._alive:
            self._transport.abort()
        else:
            self._alive = False
            self._transport.write(_PING)

    def shutdown(self) -> None:
        """Called by uvicorn when it ends."""
        self.close(CloseCode.SERVICE_RESTART, self._goodbye())

    # From the client

    def data_received(self, data: bytes) -> None:
        """Parse what has come; see asyncio.Protocol."""
        self._alive = True
        if len(data) == len(_PONG) + 4 and data.startswith(_PONG) and self._parsing is None:
            return  # nearly all that most clients ever say
        if self._broken:
            return  # where the next frame begins is not known (RFC 6455, section 7.1.7)
        reader, parser = self._parsing or (StreamReader(), None)
        reader.feed_data(data)
        try:
            while parser is not None or reader.buffer:
                if parser is None:
                    parser = Frame.parse(reader.read_exact, mask=True, max_size=self._limit_bytes)
                try:
                    next(parser)
                except StopIteration as done:
                    parser = None
                    self._receive(done.value)
                else:
                    break  # the rest of the frame is to come
        except PayloadTooBig:
            self._broken, parser = True, None
            self._refuse(CloseCode.FRAME_TOO_BIG, f"a frame has at most {self._limit_bytes} bytes")
        except ProtocolError as error:
            self._broken, parser = True, None
            self._close(_PROTOCOL_ERROR, str(error))
        if self._broken and self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()  # the client need not answer our close: it would not be read
        self._parsing = None if parser is None else (reader, parser)

    def _receive(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PING:
            if self._transport is not None and self.closed is None:
                self._transport.write(Frame(Opcode.PONG, frame.data).serialize(mask=False))
        elif frame.opcode is Opcode.CLOSE:
            self._answer_close(frame)
        elif frame.opcode is not Opcode.PONG and self.closed is None:
            self._receive_message(frame)

    def _receive_message(self, frame: Frame) -> None:
        if (frame.opcode is Opcode.CONT) != (self._fragments is not None):
            raise ProtocolError("a continuation frame follows a frame that is not final, and nothing else does")
        if self._fragments is None and frame.fin:
            self._on_message(bytes(frame.data))
            return
        fragments = self._fragments = self._fragments or bytearray()
        fragments += frame.data
        if len(fragments) > self._limit_bytes:
            raise PayloadTooBig(len(fragments), self._limit_bytes)
        if frame.fin:
            self._fragments = None
            self._on_message(bytes(fragments))

    def _refuse(self, code: CloseCode, message: str) -> None:
        self.send(Batch.of({"type": "error", "code": int(code), "message": message}))
        self.close(code, message)

    def _answer_close(self, frame: Frame) -> None:
        """The client closes, or answers our close: either way the connection is over."""
        transport = self._transport
        if transport is None:
            return
        if self.closed is None:
            self.closed, self.send_now = (CloseCode.NORMAL, ""), None
            transport.write(Frame(Opcode.CLOSE, bytes(frame.data)[:2]).serialize(mask=False))
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed; see asyncio.Protocol."""
        self._peers.discard(self)
        self._transport, self._parsing, self.send_now = None, None, None
        if self._socket is not None:
            self._socket.detach()  # the transport closes it
            self._socket = None
        if self.closed is None:
            self.closed = CloseCode.NORMAL, ""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        on_lost, self._on_lost, self._on_message = self._on_lost, None, _ignore
        if on_lost is not None:
            on_lost()


def _ignore(message: bytes) -> None:
    """Nobody is there for this message."""
