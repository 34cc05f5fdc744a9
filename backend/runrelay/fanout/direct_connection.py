"""A client's connection under uvicorn, taken over after the handshake: the WebSocket protocol on the transport.

See uvicorn.py for how it is handed over, docs/decisions/0008 for why, and RFC 6455 for the sections named here.
"""

from __future__ import annotations

import asyncio
import codecs
import socket
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any, Final, Protocol

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from ..codes import CloseCode
from ..errors import Refusal
from .bounds import ClientBounds, Meter, exempt_bytes
from .connections import close_reason
from .direct_sends import DirectSocket
from .frames import Batch, error_batch

__all__ = ["EXTENSION", "DirectConnection", "Handshaken", "Message"]

EXTENSION: Final = "runrelay.fanout"
"""Key in the ASGI scope's `extensions` of the protocol that a connection can be taken from: see uvicorn.py."""

Message = str | bytes
"""A client's message: text, or the bytes of a binary message."""

_ABORT_AFTER_S: Final = 5.0
_SEND_BUFFER_BYTES: Final = 128 * 1024
_DISCARDED_BYTES: Final = 1 << 20
_PROTOCOL_ERROR: Final = 1002  # section 7.4.1, as is the next
_INVALID_DATA: Final = 1007
_PING: Final = Frame(Opcode.PING, b"").serialize(mask=False)
_PONG: Final = b"\x8a\x80"
"""The first bytes of the client's answer; a mask of four bytes follows."""
_DECODER: Final = codecs.getincrementaldecoder("utf-8")


class Handshaken(Protocol):
    """The protocol that has done the handshake."""

    connections: set[Any]

    def hand_over(self, connection: DirectConnection) -> asyncio.Transport | None:
        """Give the transport to the connection. None: it is lost, or the client sent frames before the handshake."""


class DirectConnection(DirectSocket, asyncio.Protocol):
    """A client's connection that was taken over: see fanout.Connection. It is the transport's protocol.

    Overflow policy (backpressure): cut off. Bytes that the kernel does not take (its buffer is bounded, too) wait in
    the transport. If more wait than the client's bounds allow, the connection is closed with 4408; if the close has not
    gone through after 5 s, it is aborted. A client that sends more than its bounds allow is closed with 4429.

    While nothing waits, frames may go past the transport: see direct_sends.py.

    A client's frame is parsed by websockets' generator. Between frames there is neither a parser nor a buffer, to save
    memory.
    """

    __slots__ = (
        "_alive", "_backlog_bytes", "_bounds", "_closing", "_discarded_bytes", "_exempt_bytes", "_meter", "_on_drained",
        "_on_lost", "_on_message", "_parsing", "_peers", "_ping", "_retry_reason", "_transport", "_unfinished",
        "closed",
    )  # fmt: skip

    def __init__(self, bounds: ClientBounds, retry_reason: Callable[[], str] = lambda: "") -> None:
        super().__init__()
        self.closed: tuple[CloseCode, str] | None = None
        self._bounds = bounds
        self._retry_reason = retry_reason
        self._exempt_bytes = 0
        self._backlog_bytes = 0
        """Bytes that waited at the last tick; 0 if all were sent since."""
        self._on_drained: Callable[[], None] | None = None
        self._alive = True
        self._meter: Meter | None = None
        self._ping: bytes | None = None
        """The client's last ping, while it cannot be answered."""
        self._discarded_bytes: int | None = None
        """Bytes that arrived since the connection was closed for an error, and were thrown away."""
        self._closing: asyncio.TimerHandle | None = None
        self._parsing: tuple[StreamReader, Generator[None, None, Frame]] | None = None
        self._unfinished: _Fragments | None = None
        self._on_message: Callable[[Message], None] = _ignore
        self._on_lost: Callable[[], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._peers: set[Any] = set()

    @property
    def resume_bytes(self) -> int:
        """See fanout.Connection.resume_bytes."""
        return self._bounds.buffer_bytes // 2

    def take_over(
        self, protocol: Handshaken, on_message: Callable[[Message], None], on_lost: Callable[[], None]
    ) -> bool:
        """Take the connection from uvicorn's protocol, after the handshake. False: it is lost or closing.

        Args:
            on_message: is called with each whole message of the client that is within its bounds.
            on_lost: is called once, when the connection is gone.
        """
        self._on_message, self._on_lost, self._peers = on_message, on_lost, protocol.connections
        self._transport = protocol.hand_over(self)
        if self._transport is None:
            return False
        self._transport.set_write_buffer_limits(high=0)  # so `pause_writing` is called as soon as anything waits
        raw = self._transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            # Bytes in the kernel's buffer are not counted, and it could take megabytes.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self.attach(self._transport)
        return True

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Replace what is called when the connection is gone."""
        self._on_lost = callback

    # To the client

    def send(self, batch: Batch, *, exempt: bool = False) -> bool:
        """See fanout.Connection.send. One write for the whole batch."""
        transport = self._transport
        if self.closed is not None or transport is None:
            return False
        if (self.send_now is None or exempt) and not self._fits(len(batch.wire), transport, exempt=exempt):
            self.close(CloseCode.TOO_SLOW, "too slow")
            return False
        transport.write(batch.wire)
        return True

    def send_rest(self, batch: Batch, taken: int) -> bool:
        """Send through the transport what `send_now` has left of a batch, of which it took `taken` bytes."""
        transport = self._transport
        if self.closed is not None or transport is None:
            return False
        # A view of the shared bytes: a copy for each of thousands of clients would be gigabytes.
        transport.write(memoryview(batch.wire)[taken:])
        return True

    def _fits(self, size: int, transport: asyncio.Transport, *, exempt: bool) -> bool:
        waiting, bound = transport.get_write_buffer_size(), self._bounds.buffer_bytes
        exempted = self._exempt_bytes = min(self._exempt_bytes, waiting)
        if exempt:
            self._exempt_bytes += size
            return not waiting or self._exempt_bytes <= exempt_bytes(bound)
        return not waiting or waiting - exempted + size <= bound

    def pause_writing(self) -> None:
        """The kernel has not taken everything: what follows waits, too, and the bound is checked from now on."""
        self.send_now = None

    def resume_writing(self) -> None:
        """Nothing waits in the transport any more."""
        self._exempt_bytes = self._backlog_bytes = 0
        if self.closed is None and self._transport is not None:
            self.resume()
            if self._ping is not None:
                self._transport.write(Frame(Opcode.PONG, self._ping).serialize(mask=False))
                self._ping = None
        self._notify_drained()

    def when_drained(self, callback: Callable[[], None]) -> bool:
        """See fanout.Connection.when_drained."""
        if self._transport is None or not self._exempt_bytes or not self._transport.get_write_buffer_size():
            return True
        self._on_drained = callback
        return False

    def _notify_drained(self) -> None:
        callback, self._on_drained = self._on_drained, None
        if callback is not None:  # later, as this may run within `send` or `close`
            asyncio.get_running_loop().call_soon(callback)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """See fanout.Connection.close."""
        self._close(code, reason)

    def _close(self, code: int, reason: str) -> None:
        transport = self._transport
        if self.closed is not None or transport is None:
            return
        reason = close_reason(reason)
        self.closed = (CloseCode.BAD_REQUEST if code in (_PROTOCOL_ERROR, _INVALID_DATA) else CloseCode(code)), reason
        self.send_now = None
        if not transport.is_closing():
            transport.write(Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(mask=False))
            # The client has so long to read what waits, and to answer.
            self._closing = asyncio.get_running_loop().call_later(_ABORT_AFTER_S, transport.abort)

    def tick(self) -> None:
        """Send a ping, and detect a dead peer: a client that was silent since the last call is aborted.

        A client for which as much waits as at the last call, and something waited all the time, does not read: it is
        cut off. The hub calls this for all connections, so that none needs a timer.
        """
        if self._transport is None or self.closed is not None:
            return
        if not self._alive:
            self._transport.abort()
            return
        waiting = self._transport.get_write_buffer_size()
        if 0 < self._backlog_bytes <= waiting:
            self.close(CloseCode.TOO_SLOW, "too slow")
            return
        self._backlog_bytes = waiting
        self._alive = False
        self._transport.write(_PING)
        if self._meter is not None and self._meter.is_full(monotonic()):
            self._meter = None

    def shutdown(self) -> None:
        """Called by uvicorn when it ends."""
        if self._discarded_bytes is not None and self._transport is not None:
            # It is closed, and may not be read any more: then its loss would not be noticed.
            self._transport.abort()
        self.close(CloseCode.SERVICE_RESTART, self._retry_reason())

    # From the client

    def data_received(self, data: bytes) -> None:
        """Parse what the client sends; see asyncio.Protocol."""
        if not self._alive and len(data) == len(_PONG) + 4 and data.startswith(_PONG) and self._parsing is None:
            self._alive = True
            return  # the answer to our ping: most clients send nothing else
        self._alive = True
        if self._discarded_bytes is not None:
            self._discard(len(data))  # the start of the next frame is not known (section 7.1.7)
            return
        reader, parser = self._parsing or (StreamReader(), None)
        reader.feed_data(data)
        bounds, now_s = self._bounds, monotonic()
        meter = self._meter = self._meter or Meter()
        left, count = meter.read(len(data), bounds, now_s), 0
        try:
            while parser is not None or reader.buffer:
                if count >= left:
                    raise _TooFast
                if parser is None:
                    parser = Frame.parse(reader.read_exact, mask=True, max_size=bounds.frame_bytes)
                try:
                    next(parser)
                except StopIteration as done:
                    parser, count = None, count + 1
                    self._receive(done.value)
                else:
                    break  # the rest of the frame is still to come
        except PayloadTooBig:
            message = f"a frame has at most {bounds.frame_bytes} bytes"
            self._refuse(Refusal(CloseCode.FRAME_TOO_BIG, message))
        except _TooFast:
            self._refuse(Refusal(CloseCode.TOO_MANY, bounds.too_fast, 5))
        except ProtocolError as error:
            self._fail(_PROTOCOL_ERROR, str(error))
        except UnicodeDecodeError as error:  # section 8.1
            self._fail(_INVALID_DATA, f"text must be UTF-8: {error.reason}")
        meter.count(max(1, count), bounds, now_s)  # a read costs time even if it brings one byte
        self._parsing = None if parser is None or self._discarded_bytes is not None else (reader, parser)

    def _fail(self, code: int, reason: str) -> None:
        """Close, and parse nothing more. The client's answer to the close is not waited for."""
        self._close(code, reason)
        self._discarded_bytes = 0
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def _refuse(self, refusal: Refusal) -> None:
        self.send(error_batch(refusal))
        self._fail(refusal.code, refusal.reason if refusal.retry_after_s is None else self._retry_reason())

    def _discard(self, size: int) -> None:
        """Read what is on its way, so that our close reaches the client, but at most 1 MiB of it."""
        assert self._discarded_bytes is not None
        self._discarded_bytes += size
        if self._discarded_bytes > _DISCARDED_BYTES and self._transport is not None:
            self._transport.pause_reading()

    def _receive(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PING:
            self._answer_ping(bytes(frame.data))
        elif frame.opcode is Opcode.CLOSE:
            self._answer_close(frame)
        elif frame.opcode is not Opcode.PONG and self.closed is None:
            self._receive_message(frame)

    def _answer_ping(self, data: bytes) -> None:
        """Answer. While bytes wait for the client, only its last ping is answered, later (section 5.5.3)."""
        transport = self._transport
        if transport is None or self.closed is not None:
            return
        if transport.get_write_buffer_size():
            self._ping = data
        else:
            transport.write(Frame(Opcode.PONG, data).serialize(mask=False))

    def _receive_message(self, frame: Frame) -> None:
        """Take a frame of a message. Raises ProtocolError, PayloadTooBig, or UnicodeDecodeError for text that is no
        UTF-8.
        """
        unfinished = self._unfinished
        if (frame.opcode is Opcode.CONT) != (unfinished is not None):
            raise ProtocolError("a continuation frame follows a frame that is not final, and nothing else does")
        data = bytes(frame.data)
        if unfinished is None and frame.fin:
            self._on_message(data.decode() if frame.opcode is Opcode.TEXT else data)
            return
        if unfinished is None:
            unfinished = self._unfinished = _Fragments(is_text=frame.opcode is Opcode.TEXT)
        unfinished.add(data, final=frame.fin)
        if len(unfinished.data) > self._bounds.frame_bytes:
            raise PayloadTooBig(len(unfinished.data), self._bounds.frame_bytes)
        if frame.fin:
            self._unfinished = None
            self._on_message(unfinished.message())

    def _answer_close(self, frame: Frame) -> None:
        """The client closes, or answers our close: in both cases the connection is over.

        Raises:
            ProtocolError: its code is one that must not be sent (section 7.4).
            UnicodeDecodeError: its reason is no UTF-8.
        """
        transport = self._transport
        if transport is None:
            return
        Close.parse(frame.data)
        if self.closed is None:
            self.closed, self.send_now = (CloseCode.NORMAL, ""), None
            transport.write(Frame(Opcode.CLOSE, bytes(frame.data)[:2]).serialize(mask=False))
        transport.close()
        if self._closing is None and transport.get_write_buffer_size():
            # If the client reads nothing, the connection would never end.
            self._closing = asyncio.get_running_loop().call_later(_ABORT_AFTER_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed; see asyncio.Protocol."""
        self._peers.discard(self)
        self._transport, self._parsing, self._unfinished = None, None, None
        self._meter, self._ping = None, None
        self._notify_drained()
        self.detach()
        if self.closed is None:
            self.closed = CloseCode.NORMAL, ""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        on_lost, self._on_lost, self._on_message = self._on_lost, None, _ignore
        if on_lost is not None:
            on_lost()


class _TooFast(Exception):
    """The client sends more than it may."""


class _Fragments:
    """A message of which more fragments follow. Text is checked with each one: invalid UTF-8 is refused early."""

    __slots__ = ("_decoder", "data")

    def __init__(self, *, is_text: bool) -> None:
        self.data = bytearray()
        self._decoder = _DECODER() if is_text else None

    def add(self, data: bytes, *, final: bool) -> None:
        """Take the next fragment. Raises UnicodeDecodeError."""
        if self._decoder is not None:
            self._decoder.decode(data, final)
        self.data += data

    def message(self) -> Message:
        """The whole message."""
        return bytes(self.data) if self._decoder is None else self.data.decode()


def _ignore(message: Message) -> None:
    """Drop a message after the connection is lost."""
