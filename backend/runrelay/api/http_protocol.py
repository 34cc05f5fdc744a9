"""HTTP under `runrelay serve`: limits on what a client may send, and for how long, until its request is complete.

uvicorn's protocol for httptools, with limits that uvicorn and httptools do not have: on the URL, on headers, on the
time that headers and bodies take, and on the number of connections without a whole request (half_open.py). A
WebSocket's handshake is an HTTP request, so it has the same limits.

This relies on uvicorn 0.54's HttpToolsProtocol, which tests check: the parser's callbacks and their order; `cycle`
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
"""A client that reads nothing of its answer for so long is a dead peer, and is aborted."""
_MOST_PIPELINED: Final = 16
_MOST_FRAMING_BYTES: Final = 1 << 20
_REQUEST_LINE: Final = len("GET  HTTP/1.1")


class RequestProtocol(HttpToolsProtocol):
    """One HTTP connection. It is half-open from its start, while it is idle, and while a body is incomplete."""

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
        """The connection was refused or is closing: everything that arrives is thrown away."""
        self.url = b""  # uvicorn sets it when a request begins
        self._in_head = True
        self._head_bytes = 0
        """Bytes of an incomplete head, not counting a read that also brought the end of the request before."""
        self._header_bytes = 0
        self._most_headers = self._settings.max_headers or math.inf
        self._is_idle = False
        self._has_body = False
        self._upgrades: bool | None = None
        self._body_to_come = False
        self._body_bytes = 0
        self._framing_bytes = 0
        """Bytes that arrived with the body but are no part of it: chunk sizes, chunk extensions, trailers."""
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
        self._cancel_stalled()
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
        else:  # there is no request: an answer could be taken for that to the next one
            self.transport.close()

    def shutdown(self) -> None:
        """Called by uvicorn at shutdown."""
        if self._over:
            self.transport.close()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        """The client does not read its answer (backpressure): it has a minute."""
        super().pause_writing()
        self._cancel_stalled()
        self._stalled = self.loop.call_later(_STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._cancel_stalled()
        super().resume_writing()

    def _is_answered(self) -> bool:
        """Whether no request of this connection waits for its answer."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _cancel_stalled(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    # The request

    def data_received(self, data: bytes) -> None:
        """Parse what the client sends; see asyncio.Protocol."""
        if self._over:
            return
        self._unset_keepalive_if_required()
        if self._is_idle:  # the deadline begins with the request
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
        """Check an incomplete request: httptools has no bound, and calls back only when a header is complete."""
        settings = self._settings
        if self._in_head:
            if settings.max_url_bytes and len(self.url) > settings.max_url_bytes:
                raise _long_url(settings.max_url_bytes)
            if settings.max_header_bytes and self._head_bytes > settings.max_header_bytes + settings.max_url_bytes:
                raise _too_large("headers", settings.max_header_bytes, "more")
        elif self._framing_bytes > _MOST_FRAMING_BYTES + self._body_bytes:
            raise Problem(400, "the body has more bytes of chunk framing than of data")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, as uvicorn does, but at most `max_headers`; without a call of `super`, which costs time."""
        headers = self.headers
        if len(headers) >= self._most_headers:
            raise Problem(431, f"a request has at most {self._most_headers:.0f} headers")
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is complete: check it, then let uvicorn start the answer."""
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
            self.headers = _Ignored()  # uvicorn would add a chunked body's trailers to the request's headers
            self._half_open.enter(self, self._address, settings.body_within_s)
            # If the answer comes before the whole body, close afterwards: the rest of the body would have to be read.
            self._keeps_alive, self.cycle.keep_alive = self.cycle.keep_alive, False
            self.cycle.transport = cast("asyncio.Transport", _Lingering(self))
        else:
            self._half_open.leave(self)

    def _should_upgrade(self) -> bool:
        """Whether this is a WebSocket's handshake. Kept, as uvicorn searches the headers at each call."""
        if self._upgrades is None:
            self._upgrades = super()._should_upgrade()
        return self._upgrades

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body_bytes += len(body)
        self._framing_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        super().on_message_complete()
        self._in_head = True
        if self._body_to_come:
            self._body_to_come = False
            self._half_open.leave(self)
            if not self.cycle.response_started:
                self.cycle.keep_alive = self._keeps_alive

    def on_response_complete(self) -> None:
        """The request is answered: the connection is idle, or goes on with the next request."""
        super().on_response_complete()
        if self.transport.is_closing() or self._over:
            return
        if self._body_to_come:
            self.linger()
        elif self.timeout_keep_alive_task is not None and not self._head_bytes:
            self._is_idle = True
            self._half_open.enter(self, self._address, 0)  # no deadline: uvicorn's own timer closes it

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the WebSocket protocol, if that can read the handshake.

        It reads lines of at most 8 KiB and at most 128 headers. Anything beyond gets no answer from it.
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
            # The parser holds our methods: without this, the reference cycle would wait for the garbage collector.
            self.parser = None  # type: ignore[assignment]  # as uvicorn does, but only once the connection is lost
            protocol = self.transport.get_protocol()
            if not getattr(protocol, "handshake_initiated", True):
                log.warning("closed a connection whose WebSocket handshake could not be read")
                self.transport.abort()

    # The end

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem document, then close. If an earlier request is being answered, close after that."""
        log.warning("refused a request of %s: %d, %s", self._address or "a client", problem.status, problem.detail)
        self._over = True
        self._half_open.leave(self)
        cycle = self.cycle
        if not self._is_answered():
            if cycle.response_started or not self._body_to_come:
                cycle.keep_alive = False
                return
            cycle.disconnected = True  # a handler that waits for the body is told that the client is gone
            cycle.message_event.set()
        response = problem.response()
        headers = [*self.server_state.default_headers, *response.raw_headers, (b"connection", b"close")]
        lines = [STATUS_LINE[problem.status], *(name + b": " + value + b"\r\n" for name, value in headers), b"\r\n"]
        self.transport.write(b"".join([*lines, bytes(response.body)]))
        self.linger()

    def linger(self) -> None:
        """Close so that the client gets its answer: read on for 3 s and throw it away (RFC 9112, section 9.6).

        If a socket is closed with unread data, the kernel resets the connection, and the client may lose the answer.
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
    """The transport of an answer that may be sent before the whole body arrived: it closes by `linger`."""

    def __init__(self, protocol: RequestProtocol) -> None:
        self._protocol = protocol

    def close(self) -> None:
        """Close after everything that was written."""
        if self._protocol._body_to_come:
            self._protocol.linger()
        else:
            self._protocol.transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol.transport, name)


class _Ignored(list[tuple[bytes, bytes]]):
    """A list that drops what is appended."""

    def append(self, header: tuple[bytes, bytes]) -> None:
        """Drop it."""


def _long_url(most: int) -> Problem:
    return Problem(414, f"a URL has at most {most} bytes")


def _too_large(what: str, most: int, got: str) -> Problem:
    return Problem(431, f"{what} may have at most {most} bytes, got {got}")
