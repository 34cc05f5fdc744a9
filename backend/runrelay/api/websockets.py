"""WebSockets: `/ws/{run_id}` for one run, `/ws` for many; accepted or refused, and served until either side ends it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack

from fastapi import APIRouter, WebSocket
from fastapi.responses import Response
from starlette.convertors import Convertor, register_url_convertor
from starlette.websockets import WebSocketDisconnect, WebSocketState

from ..codes import CloseCode
from ..fanout import Batch, Frame, QueuedConnection
from ..fanout.uvicorn import EXTENSION, DirectConnection, FanoutProtocol
from .auth import Grant, Refused, authorize, is_foreign_origin
from .limits import TooMany
from .relay import Relay, retry_reason
from .sessions import Close, ManyRuns, OneRun, Session, dispatch

__all__ = ["router"]

log = logging.getLogger(__name__)
router = APIRouter()

_ABORT_AFTER_S = 5.0
_GONE = (WebSocketDisconnect, RuntimeError, OSError)
"""What sending to a client that has gone raises; RuntimeError is servers' word for a send after the close."""


class _Anything(Convertor[str]):
    """A rest of a path with line breaks too, which `path` does not match: it is refused by us, with a reason."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("runrelay_anything", _Anything())


@router.websocket("/ws/{run_id:runrelay_anything}")
async def watch_run(websocket: WebSocket, run_id: str, after: str | None = None) -> None:
    """One run, live. See docs/contract.md."""
    await _serve(websocket, OneRun(run_id, after))


@router.websocket("/ws")
async def watch_many(websocket: WebSocket) -> None:
    """Many runs and the list of runs on one connection. See docs/contract.md."""
    await _serve(websocket, ManyRuns())


async def _serve(websocket: WebSocket, session: Session) -> None:
    """Refuse before accepting what must be, accept, and serve on the fastest way that the server offers."""
    relay: Relay = websocket.state.runrelay
    if is_foreign_origin(websocket, relay.settings):
        relay.metrics.refused += 1
        await websocket.close()  # before accepting: 403
        return
    if relay.limits.is_full or relay.hub.closing or relay.failure is not None:
        relay.metrics.refused += 1
        await websocket.send_denial_response(Response("too many connections\n", 503, {"Retry-After": "2"}))
        return
    await websocket.accept()
    protocol: FanoutProtocol | None = websocket.scope["extensions"].get(EXTENSION)
    try:
        if protocol is not None:
            await _serve_direct(websocket, session, relay, protocol)
        else:
            await _serve_queued(websocket, session, relay)
    except* (TooMany, Refused, Close) as errors:
        await _refuse(websocket, relay, _first(errors))


def _admit(websocket: WebSocket, relay: Relay, held: ExitStack) -> Grant:
    """Count the connection and read its token."""
    held.enter_context(relay.limits.connection(websocket.client.host if websocket.client else ""))
    return authorize(websocket, relay.settings)


async def _serve_direct(websocket: WebSocket, session: Session, relay: Relay, protocol: FanoutProtocol) -> None:
    """Under our own protocol class: join, then let go. The connection lives on without this task."""
    connection = DirectConnection(protocol, relay.settings.client_buffer_bytes)
    lost = asyncio.Event()
    limit_bytes = relay.settings.max_frame_bytes
    with ExitStack() as held:
        grant = _admit(websocket, relay, held)

        def on_message(raw: bytes) -> None:
            try:
                dispatch(session, connection, raw, limit_bytes)
            except Close as error:
                relay.metrics.refused += 1
                connection.send(_error_frame(error.code, str(error)))
                connection.close(error.code, _short(str(error)))

        protocol.goodbye = retry_reason
        connection.take_over(on_message, lost.set)
        held.enter_context(relay.hub.connected(connection))
        left_s = grant.seconds_left()
        if left_s is not None:
            expiry = asyncio.get_running_loop().call_later(max(0.0, left_s), _expire, connection)
            held.callback(expiry.cancel)
        async with asyncio.TaskGroup() as tasks:
            start = tasks.create_task(session.start(relay, connection, grant, held))
            gone = tasks.create_task(lost.wait())
            await asyncio.wait({start, gone}, return_when="FIRST_COMPLETED")
            start.cancel()
            gone.cancel()
        if not lost.is_set():
            connection.detach(held.pop_all().close)


def _expire(connection: DirectConnection) -> None:
    message = "the token has expired"
    connection.send(_error_frame(CloseCode.UNAUTHORIZED, message))
    connection.close(CloseCode.UNAUTHORIZED, message)


async def _serve_queued(websocket: WebSocket, session: Session, relay: Relay) -> None:
    """Under any ASGI server: a reader and a writer in one task group; either end ends the other."""
    connection = QueuedConnection(relay.settings.client_buffer_bytes)
    with ExitStack() as held:
        grant = _admit(websocket, relay, held)
        held.enter_context(relay.hub.connected(connection))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(session.start(relay, connection, grant, held), name="session")
                tasks.create_task(_read(websocket, session, connection, relay.settings.max_frame_bytes), name="reader")
                tasks.create_task(_until_expired(grant), name="token")
                writer = tasks.create_task(_write(websocket, connection), name="writer")
                await connection.wait_closed()
                # Cut off, or ended: what may still go out has a few seconds. A peer that reads nothing is dropped
                # (1006).
                await asyncio.wait([writer], timeout=_ABORT_AFTER_S)
                raise _Over
        except* _Over:
            log.debug("connection over: %s", connection.closed)


async def _read(websocket: WebSocket, session: Session, connection: QueuedConnection, limit_bytes: int) -> None:
    while True:
        event = await websocket.receive()
        if event["type"] == "websocket.disconnect":
            connection.close(CloseCode.NORMAL)
            return
        text = event.get("text")
        raw = (event.get("bytes") or b"") if text is None else text.encode()
        dispatch(session, connection, raw, limit_bytes)


async def _write(websocket: WebSocket, connection: QueuedConnection) -> None:
    try:
        while (batch := await connection.next()) is not None:
            for text in batch.texts:
                await websocket.send_text(text)
        code, reason = connection.closed or (CloseCode.NORMAL, "")
        if websocket.application_state is WebSocketState.CONNECTED:
            await websocket.close(code, reason)
    except _GONE as error:
        log.debug("client has gone: %s", error)  # this connection only
        connection.close(CloseCode.NORMAL)


async def _until_expired(grant: Grant) -> None:
    left_s = grant.seconds_left()
    if left_s is not None:
        await asyncio.sleep(max(0.0, left_s))
        raise Close(CloseCode.UNAUTHORIZED, "the token has expired")


async def _refuse(websocket: WebSocket, relay: Relay, error: BaseException) -> None:
    """Say why in an `error` frame, then close with the code."""
    relay.metrics.refused += 1
    if isinstance(error, TooMany):
        code, reason = CloseCode.TOO_MANY, retry_reason()
    else:
        assert isinstance(error, Refused | Close)
        code, reason = error.code, str(error)
    try:
        async with asyncio.timeout(_ABORT_AFTER_S):
            await websocket.send_text(_error_frame(code, str(error)).texts[0])
            await websocket.close(code, _short(reason))
    except (*_GONE, TimeoutError) as gone:
        log.debug("client has gone before it was refused: %s", gone)


def _error_frame(code: CloseCode, message: str) -> Batch:
    return Batch([Frame({"type": "error", "code": int(code), "message": message})])


class _Over(Exception):
    """The connection is over: ends its task group."""


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _short(reason: str) -> str:
    """A close reason has at most 123 bytes (RFC 6455, section 5.5)."""
    return reason.encode()[:123].decode("utf-8", "ignore")
