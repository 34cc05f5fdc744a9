"""WebSockets: `/ws/{run_id}` for one run, `/ws` for many. A reader and a writer in one task group; either end ends the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

import orjson
from fastapi import APIRouter, WebSocket
from fastapi.responses import Response
from starlette.websockets import WebSocketDisconnect, WebSocketState

from ..codes import CloseCode
from ..fanout import Batch, Connection, Frame, QueuedConnection
from ..progress import Cursor, check_run_id, parse_cursor
from .auth import Grant, Refused, authorize, is_foreign_origin
from .limits import TooMany
from .relay import Relay, retry_reason

__all__ = ["router"]

log = logging.getLogger(__name__)
router = APIRouter()

_PONG: Final = Batch([Frame({"type": "pong"})])
_ABORT_AFTER_S: Final = 5.0


class Close(Exception):
    """Ends a connection with a code; an `error` frame says why before it."""

    def __init__(self, code: CloseCode, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason or message


class RunWatcher:
    """One run on one connection."""

    __slots__ = ("_on_end", "connection")

    def __init__(self, connection: Connection, on_end: Callable[[], None]) -> None:
        self.connection = connection
        self._on_end = on_end

    def end(self) -> None:
        """See fanout.Watcher."""
        self._on_end()


@router.websocket("/ws/{run_id:path}")
async def watch_run(websocket: WebSocket, run_id: str, after: str | None = None) -> None:
    """One run, live. See docs/contract.md."""
    client = Client(websocket)

    async def session(grant: Grant) -> None:
        run, cursor = _run_and_cursor(run_id, after)
        grant.check_run(run)
        watcher = RunWatcher(client.connection, lambda: client.connection.close(CloseCode.NORMAL, "the run has ended"))
        with client.relay.limits.run(run):
            try:
                await client.relay.hub.join(run, watcher, cursor)
                await client.connection.wait_closed()
            finally:
                client.relay.hub.leave(run, watcher)

    async def receive(message: dict[str, Any]) -> None:
        raise Close(CloseCode.BAD_REQUEST, f"unknown message type {str(message['type'])[:80]!r}")

    await client.serve(session, receive)


@router.websocket("/ws")
async def watch_many(websocket: WebSocket) -> None:
    """Many runs and the list of runs on one connection. See docs/contract.md."""
    client = Client(websocket)
    relay = client.relay
    granted = Grant()
    async with asyncio.TaskGroup() as joins:
        subscriptions: dict[str, asyncio.Task[None]] = {}

        async def watch(run_id: str, cursor: Cursor | None) -> None:
            ended = asyncio.Event()
            watcher = RunWatcher(client.connection, ended.set)
            try:
                with relay.limits.run(run_id):
                    await relay.hub.join(run_id, watcher, cursor)
                    await ended.wait()
                    client.say({"type": "end", "run_id": run_id})
            except TooMany as error:
                client.say({"type": "error", "code": CloseCode.TOO_MANY, "message": str(error), "run_id": run_id})
            finally:
                relay.hub.leave(run_id, watcher)

        def subscribe(run_id: object, after: object) -> None:
            try:
                run, cursor = _run_and_cursor(run_id, after)
                granted.check_run(run)
            except (Close, Refused) as error:
                name = run_id if isinstance(run_id, str) else None
                client.say({"type": "error", "code": error.code, "message": str(error), "run_id": name})
                return
            for done in [r for r, task in subscriptions.items() if task.done()]:
                del subscriptions[done]
            if run in subscriptions:
                subscriptions.pop(run).cancel()
            most = relay.settings.max_subscriptions
            if len(subscriptions) >= most:
                message = f"too many runs on one connection: {most} of {most}"
                client.say({"type": "error", "code": CloseCode.TOO_MANY, "message": message, "run_id": run})
                return
            subscriptions[run] = joins.create_task(watch(run, cursor), name=f"watch {run}")

        async def session(grant: Grant) -> None:
            nonlocal granted
            granted = grant
            await client.connection.wait_closed()

        async def receive(message: dict[str, Any]) -> None:
            kind = message["type"]
            if kind not in ("subscribe", "unsubscribe"):
                raise Close(CloseCode.BAD_REQUEST, f"unknown message type {str(kind)[:80]!r}")
            if message.get("runs") is True:
                if kind == "unsubscribe":
                    relay.hub.feed.leave(client.connection)
                    return
                try:
                    granted.check_list()
                except Refused as error:
                    client.say({"type": "error", "code": error.code, "message": str(error)})
                else:
                    relay.hub.feed.join(client.connection)
            elif kind == "subscribe":
                subscribe(message.get("run_id"), message.get("after"))
            elif (task := subscriptions.pop(str(message.get("run_id")), None)) is not None:
                task.cancel()

        try:
            await client.serve(session, receive)
        finally:
            relay.hub.feed.leave(client.connection)
            for task in subscriptions.values():
                task.cancel()


def _run_and_cursor(run_id: object, after: object) -> tuple[str, Cursor | None]:
    try:
        run = check_run_id(run_id)
        if after is None:
            return run, None
        if not isinstance(after, str):
            raise TypeError(f"after must be a cursor, got {type(after).__name__}")
        return run, parse_cursor(after)
    except (TypeError, ValueError) as error:
        raise Close(CloseCode.BAD_REQUEST, str(error)) from error


class Client:
    """One WebSocket from its acceptance to its end."""

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket
        self.relay: Relay = websocket.state.runrelay
        self.connection = QueuedConnection(self.relay.settings.client_buffer_bytes)

    def say(self, fields: dict[str, Any]) -> None:
        """Send a message of the connection's own."""
        self.connection.send(Batch([Frame(fields)]))

    async def serve(self, session: Callable[[Grant], Any], receive: Callable[[dict[str, Any]], Any]) -> None:
        """Accept, or refuse; then run the session, the reader and the writer until one of them ends."""
        websocket, relay = self.websocket, self.relay
        if is_foreign_origin(websocket, relay.settings):
            await websocket.close()  # before accepting: 403
            relay.metrics.refused += 1
            return
        if relay.limits.is_full or relay.hub.closing or relay.failure is not None:
            headers = {"Retry-After": "2"}
            await websocket.send_denial_response(Response("too many connections", 503, headers))
            relay.metrics.refused += 1
            return
        await websocket.accept()
        address = websocket.client.host if websocket.client else ""
        with ExitStack() as held:
            try:
                held.enter_context(relay.limits.connection(address))
                grant = authorize(websocket, relay.settings)
                async with relay.hub.connected(self.connection):
                    await self._run(session(grant), receive, grant)
            except* (TooMany, Refused, Close) as errors:
                await self._refuse(_first(errors))

    async def _run(self, session: Any, receive: Callable[[dict[str, Any]], Any], grant: Grant) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(session, name="session")
                tasks.create_task(self._read(receive), name="reader")
                tasks.create_task(self._expire(grant), name="token")
                writer = tasks.create_task(self._write(), name="writer")
                await self.connection.wait_closed()
                # Cut off, or ended: what may still go out has a few seconds. A peer that reads nothing is dropped (1006).
                await asyncio.wait([writer], timeout=_ABORT_AFTER_S)
                raise _Over
        except* _Over:
            if self.connection.closed is not None and self.connection.closed[0] is CloseCode.TOO_SLOW:
                self.relay.metrics.too_slow += 1

    async def _write(self) -> None:
        send = self.websocket.send_text
        try:
            while (batch := await self.connection.next()) is not None:
                for text in batch.texts:
                    await send(text)
            code, reason = self.connection.closed or (CloseCode.NORMAL, "")
            if self.websocket.application_state is WebSocketState.CONNECTED:
                await self.websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError, OSError) as error:
            # gone: this connection only. RuntimeError is what servers raise for a send after the close.
            log.debug("client has gone: %s", error)
            self.connection.close(CloseCode.NORMAL)

    async def _read(self, receive: Callable[[dict[str, Any]], Any]) -> None:
        limit = self.relay.settings.max_frame_bytes
        while True:
            event = await self.websocket.receive()
            if event["type"] == "websocket.disconnect":
                self.connection.close(CloseCode.NORMAL)
                return
            raw = event.get("text") or event.get("bytes") or b""
            size = len(raw.encode() if isinstance(raw, str) else raw)
            if size > limit:
                raise Close(CloseCode.FRAME_TOO_BIG, f"a frame has at most {limit} bytes, got {size}")
            try:
                message = orjson.loads(raw)
            except ValueError as error:
                raise Close(CloseCode.BAD_REQUEST, f"a frame is JSON: {error}") from error
            if not isinstance(message, dict) or not isinstance(message.get("type"), str):
                raise Close(CloseCode.BAD_REQUEST, "a frame is a JSON object with a type")
            if message["type"] == "ping":
                self.connection.send(_PONG)
            else:
                await receive(message)

    async def _expire(self, grant: Grant) -> None:
        left = grant.seconds_left()
        if left is not None:
            await asyncio.sleep(max(0.0, left))
            raise Close(CloseCode.UNAUTHORIZED, "the token has expired")

    async def _refuse(self, error: BaseException) -> None:
        """Say why in an `error` frame, then close with the code."""
        self.relay.metrics.refused += 1
        if isinstance(error, TooMany):
            code, reason = CloseCode.TOO_MANY, retry_reason()
        else:
            assert isinstance(error, Refused | Close)
            code, reason = error.code, str(error)
        try:
            frame = Frame({"type": "error", "code": int(code), "message": str(error)})
            async with asyncio.timeout(_ABORT_AFTER_S):
                await self.websocket.send_text(frame.body.decode())
                await self.websocket.close(code, _short(reason))
        except (WebSocketDisconnect, RuntimeError, OSError, TimeoutError) as gone:
            log.debug("client has gone before it was refused: %s", gone)


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
