"""WebSockets: `/ws/{run_id}` for one run, `/ws` for many (multiplexed).

Three ways lead to a session (sessions.py):

- the router: the plain way, in any FastAPI application that includes `relay_router`;
- `WebSocketShortcut`, in the relay's own application: calls the same handlers without FastAPI's layers;
- handshake.py, under `runrelay serve`: the usual handshake is answered from its first bytes, without ASGI.

They differ in cost only. When thousands of clients reconnect at once, the framework's layers are half of what a client
costs on the plain way (goal f of docs/performance.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from fastapi import APIRouter, WebSocket
from fastapi.responses import Response
from starlette.convertors import Convertor, register_url_convertor
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect, WebSocketState

from ..codes import CloseCode
from ..errors import Refusal
from ..fanout import Connection, Meter, QueuedConnection, error_batch
from ..fanout.connections import close_reason
from ..fanout.direct_connection import EXTENSION, DirectConnection, Message
from ..relay.addresses import address_of
from ..relay.half_open import Reason
from ..relay.relay import Relay, retry_reason
from .auth import Grant, authorize, is_foreign_origin
from .router_relay import RouterRelay
from .sessions import MultiplexedSession, RunSession, Session, dispatch, refusal_of

if TYPE_CHECKING:
    from ..fanout.uvicorn import FanoutProtocol  # needs one version of uvicorn: see server.py

__all__ = ["Client", "WebSocketShortcut", "router"]

log = logging.getLogger(__name__)
_ABORT_AFTER_S = 5.0
_DENIAL = "websocket.http.response"
"""The ASGI extension for an HTTP response of our own to a handshake; without it, every refusal is a 403."""
_GONE = (WebSocketDisconnect, RuntimeError, OSError)
"""Raised by a send to a client that has gone; servers raise RuntimeError for a send after the close."""


class _Anything(Convertor[str]):
    """The rest of a path, line breaks included.

    Starlette's `path` does not match line breaks: such a run id would be refused with 403 and no reason.
    """

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("runrelay_anything", _Anything())


def router(relay: RouterRelay) -> APIRouter:
    """The routes of WebSockets, answered by `relay`.

    They are FastAPI's routes, so that the dependencies of an application that includes the router hold for them, too.
    The relay's own application has none: there `WebSocketShortcut` calls the same handlers, and these routes are not
    searched.
    """
    routes = APIRouter()

    @routes.websocket("/ws/{run_id:runrelay_anything}")
    async def watch_run(websocket: WebSocket) -> None:
        """One run, live. See docs/contract.md."""
        await _watch_run(relay, websocket)

    @routes.websocket("/ws")
    async def watch_many(websocket: WebSocket) -> None:
        """Many runs and the list of runs on one connection. See docs/contract.md."""
        await _watch_many(relay, websocket)

    return routes


async def _watch_run(relay: RouterRelay, websocket: WebSocket) -> None:
    await _serve(relay, websocket, RunSession(websocket.path_params["run_id"], websocket.query_params.get("after")))


async def _watch_many(relay: RouterRelay, websocket: WebSocket) -> None:
    await _serve(relay, websocket, MultiplexedSession())


class WebSocketShortcut:
    """Middleware: calls the handlers of `/ws` and `/ws/…` directly, past the framework's layers and the router.

    A second path to the same handlers, for speed: see the top of this module. `_Anything` makes the router match the
    same paths as this class, so that both give the same answers.
    """

    def __init__(self, app: ASGIApp, relay: RouterRelay) -> None:
        self._app = app
        self._relay = relay

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        path: str = scope["path"] if scope["type"] == "websocket" else ""
        if path == "/ws":
            await _watch_many(self._relay, WebSocket(scope, receive, send))
        elif path.startswith("/ws/"):
            scope["path_params"] = {"run_id": path[4:]}
            await _watch_run(self._relay, WebSocket(scope, receive, send))
        else:
            await self._app(scope, receive, send)


async def _serve(router_relay: RouterRelay, websocket: WebSocket, session: Session) -> None:
    """Refuse the connection, or accept it and serve it on the fastest way that the server offers."""
    relay = router_relay.in_this_loop
    if relay is None:
        await _deny(websocket, router_relay.not_running())
        return
    if is_foreign_origin(websocket, relay.settings):
        relay.metrics.refused += 1
        await websocket.close()  # before accepting: 403
        return
    if relay.limits.is_full or relay.hub.closing or relay.failure is not None:
        relay.metrics.refused += 1
        await _deny(websocket, "too many connections" if relay.limits.is_full else "the relay is shutting down")
        return
    await websocket.accept()
    protocol: FanoutProtocol | None = websocket.scope.get("extensions", {}).get(EXTENSION)
    address = address_of(websocket)
    try:
        relay.limits.enter(address)
    except Refusal as refusal:
        relay.metrics.refused += 1
        if "x-forwarded-for" in websocket.headers and not relay.settings.trusted_proxies:
            log.warning("%s sends X-Forwarded-For: if it is your proxy, name it in RUNRELAY_TRUSTED_PROXIES", address)
        if protocol is not None:
            _RefusedConnection(protocol).refuse(relay, address, refusal)
        else:
            await _refuse(websocket, refusal)
        return
    if protocol is not None:
        _serve_direct(websocket, Client(relay, session, address), protocol)
    else:
        await _serve_queued(websocket, Client(relay, session, address))


async def _deny(websocket: WebSocket, why: str) -> None:
    """Refuse the handshake with 503, or where the server cannot, with 403."""
    if _DENIAL in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(Response(f"{why}\n", 503, {"Retry-After": "2"}))
    else:
        await websocket.close()


class Client:
    """A client, from the acceptance of its connection to its loss."""

    __slots__ = ("_address", "_connection", "_expiry", "_session", "relay")

    def __init__(self, relay: Relay, session: Session, address: str) -> None:
        self.relay = relay
        self._session = session
        self._address = address
        self._connection: Connection | None = None
        self._expiry: asyncio.TimerHandle | None = None

    def start(self, connection: Connection, grant_of: Callable[[], Grant]) -> None:
        """Check the token and start the session, or refuse it with an error frame and a close code.

        Args:
            grant_of: reads the token; raises Refusal.
        """
        relay = self.relay
        self._connection = connection
        relay.hub.connect(connection)
        if relay.hub.closing:  # the shutdown began after the acceptance, so it was not notified
            connection.close(CloseCode.SERVICE_RESTART, retry_reason())
            return
        try:
            grant = grant_of()
            left_s = grant.seconds_left()
            if left_s is not None:
                self._expiry = asyncio.get_running_loop().call_later(max(0.0, left_s), self._expire)
            self._session.start(relay, connection, grant, self._address)
        except Refusal as refusal:
            self._refuse(refusal)
        except Exception as error:  # no run, for example, or an unexpected error: ends this client only
            run_id = self._session.run_id
            relay.hub.containment.record(error, "WebSocket", run_id)
            self._refuse(refusal_of(error, run_id or ""))

    def receive(self, raw: Message) -> None:
        """Take a message from the client."""
        connection = self._connection
        if connection is None:
            return
        try:
            dispatch(self._session, connection, raw, self.relay.settings.max_frame_bytes)
        except Refusal as refusal:
            self._refuse(refusal)
        except Exception as error:
            self.relay.hub.containment.record(error, "a client's frame", self._session.run_id)
            self._refuse(Refusal(CloseCode.INTERNAL_ERROR, "an unexpected error; the relay's log has it"))

    def refuse_too_fast(self) -> None:
        """The client sends more than its rate limit allows."""
        self._refuse(Refusal(CloseCode.TOO_MANY, self.relay.bounds.too_fast, 5))

    def _expire(self) -> None:
        self._refuse(Refusal(CloseCode.UNAUTHORIZED, "the token has expired"))

    def _refuse(self, refusal: Refusal) -> None:
        connection = self._connection
        if connection is not None:
            self.relay.metrics.refused += 1
            connection.send(error_batch(refusal))
            connection.close(refusal.code, _close_reason(refusal))

    def gone(self) -> None:
        """The connection is gone."""
        if self._expiry is not None:
            self._expiry.cancel()
        connection = self._connection
        try:
            if connection is not None:
                # One log line for each connection, at its end, with its code and reason.
                code, reason = connection.closed or (CloseCode.NORMAL, "")
                log.info("WebSocket of %s closed: %d %s", self._address, code, reason)
                self._session.end()
        except Exception as error:
            self.relay.hub.containment.record(error, "the end of a WebSocket", self._session.run_id)
        finally:
            if connection is not None:
                self.relay.hub.disconnect(connection)
            self.relay.limits.leave(self._address)


def _serve_direct(websocket: WebSocket, client: Client, protocol: FanoutProtocol) -> None:
    """Under our own protocol class: start the session. The connection then needs no task, so this one may end."""
    connection = DirectConnection(client.relay.bounds, retry_reason)
    if connection.take_over(protocol, client.receive, client.gone):
        client.start(connection, lambda: authorize(websocket, client.relay.settings))
    else:
        client.gone()


async def _serve_queued(websocket: WebSocket, client: Client) -> None:
    """Under any ASGI server: a reader and a writer in one task group; if either ends, the other is ended."""
    connection = QueuedConnection(client.relay.settings.client_buffer_bytes)
    try:
        async with asyncio.TaskGroup() as tasks:
            client.start(connection, lambda: authorize(websocket, client.relay.settings))
            tasks.create_task(_read(websocket, client, connection), name="reader")
            writer = tasks.create_task(_write(websocket, connection), name="writer")
            await connection.wait_closed()
            # What waits may be sent for 5 s more. A client that reads nothing is dropped (1006).
            await asyncio.wait([writer], timeout=_ABORT_AFTER_S)
            raise _Over
    except* _Over:
        log.debug("connection over: %s", connection.closed)
    except* Exception as errors:
        client.relay.hub.containment.record(errors, "a connection")
        connection.close(CloseCode.INTERNAL_ERROR, "an unexpected error; the relay's log has it")
        with suppress(*_GONE, TimeoutError):
            async with asyncio.timeout(_ABORT_AFTER_S):
                await websocket.close(*connection.closed or ())
    finally:
        client.gone()


async def _read(websocket: WebSocket, client: Client, connection: QueuedConnection) -> None:
    meter, bounds = Meter(), client.relay.bounds
    while True:
        event = await websocket.receive()
        if event["type"] == "websocket.disconnect":
            connection.close(CloseCode.NORMAL)
            return
        text = event.get("text")
        raw = (event.get("bytes") or b"") if text is None else text.encode()
        now_s = monotonic()
        if not meter.read(len(raw), bounds, now_s):
            client.refuse_too_fast()
            return
        meter.count(1, bounds, now_s)
        client.receive(raw)


async def _write(websocket: WebSocket, connection: QueuedConnection) -> None:
    try:
        while (batch := await connection.next()) is not None:
            for text in batch.texts:
                await websocket.send_text(text)
        code, reason = connection.closed or (CloseCode.NORMAL, "")
        if websocket.application_state is WebSocketState.CONNECTED:
            await websocket.close(code, reason)
    except _GONE as error:
        log.debug("the client has gone: %s", error)  # a failure of this connection only
        connection.close(CloseCode.NORMAL)


def _close_reason(refusal: Refusal) -> str:
    return refusal.reason if refusal.retry_after_s is None else retry_reason()


async def _refuse(websocket: WebSocket, refusal: Refusal) -> None:
    """Send an `error` frame, then close with the code; for a connection without a `Client`."""
    try:
        async with asyncio.timeout(_ABORT_AFTER_S):
            for text in error_batch(refusal).texts:
                await websocket.send_text(text)
            await websocket.close(refusal.code, close_reason(_close_reason(refusal)))
    except (*_GONE, TimeoutError) as gone:
        log.debug("the client has gone before it was refused: %s", gone)


class _RefusedConnection:
    """A refused connection under our own protocol class, until it is closed.

    The client has five seconds to answer the close. Meanwhile the connection is counted among the half-open ones, as
    the limit on connections is reached. Otherwise a refused client could hold any number of them.
    """

    def __init__(self, protocol: FanoutProtocol) -> None:
        self._protocol = protocol
        self._transport = protocol.transport

    def refuse(self, relay: Relay, address: str, refusal: Refusal) -> None:
        """Send an `error` frame, then close."""
        connection = DirectConnection(relay.bounds)
        if connection.take_over(self._protocol, lambda message: None, lambda: relay.half_open.leave(self)):
            relay.half_open.enter(self, address, 0)
            connection.send(error_batch(refusal))
            connection.close(refusal.code, _close_reason(refusal))

    def is_silent(self) -> bool:
        """See half_open.HalfOpenConnection: only the end is waited for."""
        return True

    def expire(self, why: Reason) -> None:
        """See half_open.HalfOpenConnection."""
        self._transport.abort()


class _Over(Exception):
    """The connection is over: ends its task group."""
