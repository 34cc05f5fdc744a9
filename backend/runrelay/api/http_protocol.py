"""HTTP under `runrelay serve`: what a client may send, and in what time, before there is a request.

uvicorn's protocol for httptools, with the limits that neither has: on the URL, on headers, on the time that headers and
bodies take, on how many connections have no whole request (see half_open.py). A WebSocket's handshake is an HTTP
request first and comes through here, whichever class reads its frames later: its limits are these.

What is relied on in uvicorn 0.54's HttpToolsProtocol, held by tests: the parser's callbacks and their order; `cycle`
with `keep_alive`, `disconnected`, `response_started`, `response_complete`, `message_event` and `transport`;
`timeout_keep_alive_task`, which is set while the connection is idle; the WebSocket protocol's `handshake_initiated`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any, Final, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS

from ..relay.half_open import Reason
from ..relay.open_files import unread_bytes
from ..relay.relay import Relay
from .problems import Problem

__all__ = ["RequestProtocol"]

log = logging.getLogger(__name__)

_LINGER_S: Final = 3.0
_STALLED_S: Final = 60.0
"""A client that takes nothing of its answer for so long is gone."""
_MOST_PIPELINED: Final = 16
_MOST_FRAMING_BYTES: Final = 1 << 20
_REQUEST_LINE: Final = len("GET  HTTP/1.1")


class RequestProtocol(HttpToolsProtocol):
    """One connection, as far as HTTP goes. Half-open from its start, while it is idle, and while a body is to come."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        relay: Relay = app_state["runrelay"]
        self._settings = relay.settings
        self._half_open = relay.half_open
        self._address = ""
        self._over = False
        """What still comes is thrown away: the connection was refused, or is closing."""
        self.url = b""  # uvicorn sets it when a request begins
        self._in_head = True
        self._head_bytes = 0
        """What has come of a head that is not whole, as far as it came in reads of its own."""
        self._header_bytes = 0
        self._most_headers = self._settings.max_headers or math.inf
        self._is_idle = False
        self._has_body = False
        self._upgrades: bool | None = None
        self._body_to_come = False
        self._body_bytes = 0
        self._framing_bytes = 0
        """What came with the body and is none of it: chunk sizes, their extensions, headers after the last one."""
        self._keeps_alive = True
        self._stalled: asyncio.TimerHandle | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._address = self._half_open.address_of(self.client[0] if self.client else None)
        if not self._half_open.make_room(len(self.connections)):
            self._over = True
            transport.abort()
            return
        self._half_open.enter(self, self._address, self._settings.headers_within_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._half_open.leave(self)
        self._take_again()
        super().connection_lost(exc)

    def is_silent(self) -> bool:
        """See half_open.HalfOpenConnection."""
        if self._over:
            return True
        connection = self.transport.get_extra_info("socket")
        return connection is None or not unread_bytes(connection.fileno())

    def expire(self, why: Reason) -> None:
        """See half_open.HalfOpenConnection."""
        if self._over or why == "crowded":
            self._over = True
            self.transport.abort()
        elif self._body_to_come:
            self._refuse(Problem(408, f"the body must come within {self._settings.body_within_s:g} s"))
        elif self._head_bytes:
            self._refuse(Problem(408, f"the headers must come within {self._settings.headers_within_s:g} s"))
        else:  # it has asked for nothing: an answer could be taken for that to its next request
            self.transport.close()

    def shutdown(self) -> None:
        """Called by uvicorn when it ends."""
        if self._over:
            self.transport.close()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        """The client does not take what it asked for."""
        super().pause_writing()
        self._take_again()
        self._stalled = self.loop.call_later(_STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It does."""
        self._take_again()
        super().resume_writing()

    def _is_answered(self) -> bool:
        """Whether no request of this connection waits for its answer."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _take_again(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    # The request

    def data_received(self, data: bytes) -> None:
        """Parse what has come; see asyncio.Protocol."""
        if self._over:
            return
        self._unset_keepalive_if_required()
        if self._is_idle:  # the deadline is for the request, not for the time before
            self._is_idle = False
            self._half_open.enter(self, self._address, self._settings.headers_within_s)
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._framing_bytes += len(data)
        try:
            self.parser.feed_data(data)
            if self._in_head or self._body_to_come:
                self._check_unfinished()
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self._unsupported_upgrade_warning()
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(
                cause if isinstance(cause, Problem) else Problem(400, f"this is not a request of HTTP/1.1: {error}")
            )
        except Problem as problem:
            self._refuse(problem)

    def _check_unfinished(self) -> None:
        """A header that does not end is told to us only when it does: the parser has no bound."""
        settings = self._settings
        if self._in_head:
            if settings.max_url_bytes and len(self.url) > settings.max_url_bytes:
                raise _long_url(settings.max_url_bytes)
            if settings.max_header_bytes and self._head_bytes > settings.max_header_bytes + settings.max_url_bytes:
                raise _too_large("headers", settings.max_header_bytes, "more")
        elif self._framing_bytes > _MOST_FRAMING_BYTES + self._body_bytes:
            raise Problem(400, "the body's chunks have more around them than in them")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header: as uvicorn does, without the cost of another call for each, and not without end."""
        headers = self.headers
        if len(headers) >= self._most_headers:
            raise Problem(431, f"a request has at most {self._most_headers:.0f} headers")
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The request can be answered."""
        settings, size, has_body = self._settings, 0, False
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
                has_body = True
        if settings.max_url_bytes and len(self.url) > settings.max_url_bytes:
            raise _long_url(settings.max_url_bytes)
        if settings.max_header_bytes and size > settings.max_header_bytes:
            raise _too_large("headers", settings.max_header_bytes, str(size))
        if len(self.pipeline) >= _MOST_PIPELINED:
            raise Problem(429, f"at most {_MOST_PIPELINED} requests may wait for the answer to another one")
        self._header_bytes, self._has_body, self._upgrades = size, has_body, None
        super().on_headers_complete()
        self._in_head, self._head_bytes = False, 0
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        if has_body:
            self._body_to_come, self._body_bytes, self._framing_bytes = True, 0, 0
            self.headers = _Ignored()  # what comes after a chunked body: uvicorn would add it to the request's headers
            self._half_open.enter(self, self._address, settings.body_within_s)
            # Whoever answers before the whole body is here answers for the last time: the rest would have to be read.
            self._keeps_alive, self.cycle.keep_alive = self.cycle.keep_alive, False
            self.cycle.transport = cast("asyncio.Transport", _Lingering(self))
        else:
            self._half_open.leave(self)

    def _should_upgrade(self) -> bool:
        """Whether it is a WebSocket's handshake: uvicorn looks through the headers for it each time it asks."""
        if self._upgrades is None:
            self._upgrades = super()._should_upgrade()
        return self._upgrades

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body_bytes += len(body)
        self._framing_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request is here."""
        super().on_message_complete()
        self._in_head = True
        if self._body_to_come:
            self._body_to_come = False
            self._half_open.leave(self)
            if not self.cycle.response_started:
                self.cycle.keep_alive = self._keeps_alive

    def on_response_complete(self) -> None:
        """The request is answered: the connection is idle, or goes on with the next request that has come."""
        super().on_response_complete()
        if self.transport.is_closing() or self._over:
            return
        if self._body_to_come:
            self.linger()
        elif self.timeout_keep_alive_task is not None and not self._head_bytes:
            self._is_idle = True
            self._half_open.enter(self, self._address, 0)  # uvicorn's own timer closes it; it can be closed earlier

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the WebSocket protocol, if that can read the handshake.

        It reads lines of at most 8 KiB and at most 128 headers, and to what it cannot read it gives no answer at all.
        """
        too_long = 0
        if self._header_bytes > MAX_LINE_LENGTH:
            too_long = max(len(name) + len(value) + 2 for name, value in self.headers)
        if len(self.url) + _REQUEST_LINE > MAX_LINE_LENGTH:
            self._refuse(Problem(414, f"a WebSocket's URL has at most {MAX_LINE_LENGTH - _REQUEST_LINE} bytes"))
        elif too_long > MAX_LINE_LENGTH:
            self._refuse(_too_large("each header of a WebSocket's handshake", MAX_LINE_LENGTH, str(too_long)))
        elif len(self.headers) > MAX_NUM_HEADERS:
            self._refuse(Problem(431, f"a WebSocket's handshake has at most {MAX_NUM_HEADERS} headers"))
        elif self._has_body:
            self._refuse(Problem(400, "a WebSocket's handshake has no body"))
        elif not self._is_answered():
            self._refuse(Problem(400, "a WebSocket begins when the request before it is answered"))
        else:
            self._half_open.leave(self)
            super().handle_websocket_upgrade()
            # It holds our methods, and we it: with the connection's transport, they would wait for the collector.
            self.parser = None  # type: ignore[assignment]  # as uvicorn does, but only once the connection is lost
            protocol = self.transport.get_protocol()
            if not getattr(protocol, "handshake_initiated", True):
                log.warning("a WebSocket's handshake could not be read: closed")
                self.transport.abort()

    # The end

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem document, then close. If an earlier request is being answered, that is the last."""
        log.warning("refused what %s sent: %d, %s", self._address or "a client", problem.status, problem.detail)
        self._over = True
        self._half_open.leave(self)
        cycle = self.cycle
        if not self._is_answered():
            if cycle.response_started or not self._body_to_come:
                cycle.keep_alive = False
                return
            cycle.disconnected = True  # who waits for the body is told that the client is gone
            cycle.message_event.set()
        response = problem.response()
        headers = [*self.server_state.default_headers, *response.raw_headers, (b"connection", b"close")]
        lines = [STATUS_LINE[problem.status], *(name + b": " + value + b"\r\n" for name, value in headers), b"\r\n"]
        self.transport.write(b"".join([*lines, bytes(response.body)]))
        self.linger()

    def linger(self) -> None:
        """Close so that the answer arrives: read on for a while, and throw it away (RFC 9112, section 9.6).

        If there is unread data when a socket is closed, the kernel resets the connection; the client may lose what it
        was told.
        """
        self._over = True
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        if not self.transport.can_write_eof():  # TLS
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self._half_open.enter(self, self._address, _LINGER_S)


class _Lingering:
    """The transport of an answer that may come before the whole body: it closes as `RequestProtocol.linger` does."""

    def __init__(self, protocol: RequestProtocol) -> None:
        self._protocol = protocol

    def close(self) -> None:
        """Close, when what was written has gone out."""
        if self._protocol._body_to_come:
            self._protocol.linger()
        else:
            self._protocol.transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol.transport, name)


class _Ignored(list[tuple[bytes, bytes]]):
    """Headers that nobody reads."""

    def append(self, header: tuple[bytes, bytes]) -> None:
        """Forget it."""


def _long_url(most: int) -> Problem:
    return Problem(414, f"a URL has at most {most} bytes")


def _too_large(what: str, most: int, got: str) -> Problem:
    return Problem(431, f"{what} may have at most {most} bytes, got {got}")
