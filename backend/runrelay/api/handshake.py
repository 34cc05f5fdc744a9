"""WebSocket handshakes under `runrelay serve`, answered from their first bytes.

Why: through uvicorn, a handshake is parsed twice, once of it in Python. Two protocol objects are made, and a scope, a
queue and a task for a handler that ends at once. When thousands of clients reconnect at once, that is most of what each
of them costs. Measured: docs/decisions.

How: the usual handshake (a browser's or a client library's, for one of the relay's paths, in one read) is answered here
at once. Everything else goes the plain way, through uvicorn, which knows all requests and all refusals: nothing is
refused here. Both ways give the same answers (tests/integration/test_relay_handshakes.py). This is done only in a
process that is the relay's own: in another application there may be middleware around the relay.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from base64 import b64decode, b64encode
from typing import Any, Final, cast
from urllib.parse import unquote

from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection
from uvicorn.config import Config
from uvicorn.server import ServerState

from ..errors import Refusal
from ..fanout.direct_connection import DirectConnection
from ..fanout.uvicorn import FanoutProtocol
from ..relay.addresses import counted_as
from ..relay.half_open import Reason
from ..relay.open_files import unread_bytes
from ..relay.relay import Relay, retry_reason
from .auth import ANYBODY, authorize
from .http_protocol import RequestProtocol
from .sessions import MultiplexedSession, RunSession, Session
from .websockets import Client

__all__ = ["FirstBytes"]

_MAX_BYTES: Final = 4096
_MAX_HEADERS: Final = 64
_REQUEST: Final = re.compile(
    rb"GET (/ws(?:/[!->@-~]*)?)(?:\?([!-~]*))? HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)+)\r\n"
)
"""A request's head by the grammar of RFC 9112: path, query, header lines. Nowhere can the pattern match in two ways, so
there is no backtracking: its time is proportional to the length."""
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, section 1.3."""
_KEY_BYTES: Final = 24
_NONCE_BYTES: Final = 16
_CONNECTION: Final = frozenset((b"upgrade", b"keep-alive, upgrade"))
_ONCE: Final = frozenset(
    (b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version", b"host", b"origin", b"authorization")
)
_PLAIN: Final = frozenset(
    (
        b"sec-websocket-protocol", b"x-forwarded-for", b"x-forwarded-proto", b"content-length", b"transfer-encoding",
        b"expect",
    )
)  # fmt: skip
"""A handshake with one of these headers goes the plain way."""
_SWITCHING: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)


class FirstBytes(asyncio.Protocol):
    """A connection's protocol until its first bytes arrive. Until then it is half-open: see half_open.py."""

    __slots__ = ("_app_state", "_config", "_peer", "_relay", "_server_state", "connections", "transport")

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._relay: Relay = app_state["runrelay"]
        self._peer: str | None = None
        self.connections = server_state.connections
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = cast("asyncio.Transport", transport)
        relay, config = self._relay, self._config
        if (
            not relay.answers_handshakes
            or config.ws_protocol_class is not FanoutProtocol
            or config.root_path
            or config.ws_per_message_deflate
        ):
            self._go_plain()
            return
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else None
        if not relay.half_open.make_room(len(self.connections)):
            self.transport.abort()
            return
        self.connections.add(cast("Any", self))
        relay.half_open.enter(self, relay.half_open.address_of(self._peer), relay.settings.headers_within_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._leave()

    def is_silent(self) -> bool:
        """See half_open.HalfOpenConnection."""
        connection = self.transport.get_extra_info("socket")
        return connection is None or not unread_bytes(connection.fileno())

    def expire(self, why: Reason) -> None:
        """See half_open.HalfOpenConnection."""
        if why == "crowded":
            self.transport.abort()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Called by uvicorn at shutdown."""
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Answer a usual handshake; pass on anything else, and all that follows it. See asyncio.Protocol."""
        if not self._answer(data):
            self._go_plain().data_received(data)

    def _leave(self) -> None:
        self._relay.half_open.leave(self)
        self.connections.discard(cast("Any", self))

    def _go_plain(self) -> RequestProtocol:
        self._leave()
        protocol = RequestProtocol(self._config, self._server_state, self._app_state)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        return protocol

    def _answer(self, data: bytes) -> bool:
        """Answer a handshake and start its session. False: nothing was done."""
        relay = self._relay
        settings, limits = relay.settings, relay.limits
        request = _REQUEST.fullmatch(data) if len(data) <= _MAX_BYTES else None
        if request is None or limits.is_full or relay.hub.closing or relay.failure is not None:
            return False
        path, query, lines = request.groups()
        split = [line.partition(b":") for line in lines[:-2].split(b"\r\n")]
        headers = [(name.lower(), value.strip()) for name, _, value in split]
        if (
            len(headers) > min(_MAX_HEADERS, settings.max_headers or _MAX_HEADERS)
            or len(data) > (settings.max_header_bytes or _MAX_BYTES)
            or len(data) > (settings.max_url_bytes or _MAX_BYTES)
            or (accept := _accept(headers)) is None
        ):
            return False
        address = counted_as(self._peer)
        try:
            limits.enter(address)
        except Refusal:
            return False
        answer = [_SWITCHING, accept]
        for name, value in self._server_state.default_headers:
            answer += b"\r\n", name, b": ", value
        answer.append(b"\r\n\r\n")
        self.transport.write(b"".join(answer))
        client = Client(relay, _session(path, query), address)
        connection = DirectConnection(relay.bounds, retry_reason)
        if not connection.take_over(self, client.receive, client.gone):
            client.gone()
        elif settings.jwt_secret is None:
            client.start(connection, _anybody)
        else:
            given = HTTPConnection({"type": "websocket", "headers": headers, "query_string": query or b""})
            client.start(connection, lambda: authorize(given, settings))
        return True

    def hand_over(self, connection: DirectConnection) -> asyncio.Transport | None:
        """See fanout.direct_connection.Handshaken."""
        self._leave()
        if self.transport.is_closing():
            return None
        self.connections.add(cast("Any", connection))
        self.transport.set_protocol(connection)
        return self.transport


def _anybody() -> Any:
    return ANYBODY


def _session(path: bytes, query: bytes | None) -> Session:
    if path == b"/ws":
        return MultiplexedSession()
    run_id = path[4:].decode("ascii")
    return RunSession(unquote(run_id) if "%" in run_id else run_id, QueryParams(query).get("after") if query else None)


def _accept(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    """The answer to the client's key (RFC 6455, section 1.3); None if the headers are not a usual handshake's."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _ONCE:
            if name in found:
                return None
            found[name] = value
        elif name in _PLAIN:
            return None
    key, origin = found.get(b"sec-websocket-key", b""), found.get(b"origin")
    if (
        len(key) != _KEY_BYTES
        or found.get(b"sec-websocket-version") != b"13"
        or found.get(b"upgrade", b"").lower() != b"websocket"
        or found.get(b"connection", b"").lower() not in _CONNECTION
        # A page of our own; whether a page of another origin may connect is checked on the plain way.
        or (origin is not None and origin.partition(b"://")[2] != found.get(b"host"))
    ):
        return None
    try:
        if len(b64decode(key, validate=True)) != _NONCE_BYTES:
            return None
    except ValueError:
        return None
    return b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
