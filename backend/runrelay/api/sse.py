"""Server-Sent Events: `GET /api/runs/{run_id}/events`, one run's stream for an EventSource."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import ExitStack
from typing import Annotated, Any, Final

from fastapi import Header, Query, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from ..codes import CloseCode
from ..errors import Refusal, RunlogUnavailable
from ..fanout import Batch, QueuedConnection, error_batch
from ..progress import Cursor, is_ended
from ..relay.addresses import address_of
from ..relay.relay import Relay
from .dependencies import RunGrant, RunId, cursor_of
from .problems import Problem, ProblemRoute, StreamCutOff, problem_of, responses
from .route_table import RouteTable
from .router_relay import relay_of
from .sessions import RunSubscriber, refusal_of

__all__ = ["routes"]

log = logging.getLogger(__name__)
routes = RouteTable(ProblemRoute, tags=["runs"])

_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}
_ANSWER_AFTER_S: Final = 1.0
_NOTHING: Final = Batch([])
_HEARTBEAT: Final = b"event: heartbeat\ndata: {}\n\n"


@routes.get(
    "/api/runs/{run_id}/events",
    summary="A run's events as a stream",
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "The stream."},
        204: {"description": "The run has ended and the cursor is its last event's: nothing more will come."},
        **responses(400, 401, 403, 409, 429, 500, 502, 503),
    },
)
async def events(
    request: Request,
    run_id: RunId,
    grant: RunGrant,
    last_event_id: Annotated[str | None, Header(description="The cursor, as EventSource sends it.")] = None,
    lastEventId: Annotated[str | None, Query(description="The cursor, for clients that cannot send headers.")] = None,
    after: Annotated[str | None, Query(description="The same.", examples=["k3x9m2p7q1za-7"])] = None,
) -> Response:
    """Stream `initial_state`, `progress`, `upstream`, `heartbeat` and `end` events, each with the JSON of the
    WebSocket frame.

    `end` is sent some seconds after a terminal event; then the stream is closed.
    """
    relay = relay_of(request)
    if relay.hub.closing:
        raise Problem(503, "the relay is shutting down", headers={"Retry-After": "2"})
    cursor = cursor_of(last_event_id or lastEventId or after)
    if cursor is not None and await _is_over(relay, run_id, cursor):
        return Response(status_code=204)
    return EventStream(relay, run_id, cursor, address_of(request), grant.seconds_left())


async def _is_over(relay: Relay, run_id: str, cursor: Cursor) -> bool:
    """Whether the cursor is the terminal event's: then 204, the only answer after which a browser does not
    reconnect.
    """
    if relay.hub.link == "down":
        return False
    try:
        snapshot = (await relay.runlog.read(run_id, log_lines=0)).snapshot
    except RunlogUnavailable:
        return False
    return is_ended(snapshot.status) and snapshot.cursor == cursor


class EventStream(Response):
    """A run's stream. Three tasks: one subscribes, one writes, one waits for the disconnect."""

    def __init__(self, relay: Relay, run_id: str, after: Cursor | None, address: str, seconds: float | None) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._relay = relay
        self._run_id = run_id
        self._after = after
        self._address = address
        self._seconds = seconds
        self._has_begun = False
        self._refusal: Problem | None = None
        self._connection = QueuedConnection(relay.settings.client_buffer_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream until either side ends it. On cancellation the subscription and the counts are undone."""
        relay = self._relay
        with ExitStack() as held:
            try:
                held.enter_context(relay.counted_request(self._address, self._run_id))
            except Refusal as refusal:
                await problem_of(refusal).response()(scope, receive, send)
                return
            # One log line for each connection, as for a WebSocket.
            held.callback(lambda: log.info("stream of run %r to %s closed: %s", *self._ended()))
            relay.hub.connect(self._connection)
            held.callback(relay.hub.disconnect, self._connection)
            if relay.hub.closing:  # the shutdown began after the request, so it was not notified
                self._connection.close(CloseCode.SERVICE_RESTART)
            await self._serve(scope, receive, send)

    def _ended(self) -> tuple[str, str, str]:
        code, reason = self._connection.closed or (CloseCode.NORMAL, "")
        return self._run_id, self._address, f"{int(code)} {reason}".rstrip()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        watch = asyncio.create_task(self._watch(), name="sse subscriber")
        gone = asyncio.create_task(self._gone(receive), name="sse disconnect")
        write = asyncio.create_task(self._write(scope, receive, send), name="sse write")
        tasks: set[asyncio.Task[Any]] = {watch, gone, write}
        try:
            done, _ = await asyncio.wait({gone, write, watch}, timeout=self._seconds, return_when="FIRST_COMPLETED")
            if not done:  # the token has expired: the client reconnects with a new one
                self._connection.close(CloseCode.UNAUTHORIZED, "the token has expired")
            if gone not in done and write not in done:
                # It has ended, or is cut off: what waits may be sent for 5 s more.
                await asyncio.wait({gone, write}, timeout=5.0, return_when="FIRST_COMPLETED")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in (watch, write):
            if not task.cancelled():
                task.result()
        if write.cancelled() and gone.cancelled():  # the client reads nothing
            raise StreamCutOff(self._ended()[2])

    async def _watch(self) -> None:
        subscriber = RunSubscriber(self._connection, lambda: self._connection.close(CloseCode.NORMAL), self._fail)
        try:
            self._relay.hub.join(self._run_id, subscriber, self._after)
            await self._connection.wait_closed()
        except Exception as error:  # no run, for example, or an unexpected error
            if not isinstance(error, Refusal):
                self._relay.hub.containment.record(error, "stream", self._run_id)
            self._fail(error)
        finally:
            self._relay.hub.leave(self._run_id, subscriber)

    def _fail(self, error: Exception) -> None:
        """Refuse the stream, or end it if it has begun. Then EventSource reconnects and is refused, which ends it."""
        refusal = refusal_of(error, self._run_id)
        if self._has_begun:
            self._connection.send(error_batch(refusal, run_id=self._run_id), exempt=True)
        else:
            self._refusal = Problem(problem_of(error).status, refusal.reason)
        self._connection.close(refusal.code, str(refusal))

    async def _gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        # Wait up to 1 s for the first frame or a refusal, as the HTTP status must be sent first.
        try:
            async with asyncio.timeout(_ANSWER_AFTER_S):
                batch = await self._connection.next()
        except TimeoutError:
            batch = _NOTHING
        if self._refusal is not None:
            await self._refusal.response()(scope, receive, send)
            return
        self._has_begun = True
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        # Sent within the first event: some parsers take a block with `retry` alone for an event whose data is not JSON.
        retry = f"retry: {random.randint(1000, 4000)}\n".encode()
        every_s = self._relay.settings.heartbeat_s
        due = loop.time() + every_s
        while batch is not None:
            body = batch.sse
            if loop.time() >= due:  # also while events are sent: a client measures the link with them
                body += _HEARTBEAT
                due = loop.time() + every_s
            if body:
                body, retry = retry + body, b""
            await send({"type": "http.response.body", "body": body, "more_body": True})
            try:
                async with asyncio.timeout_at(due):
                    batch = await self._connection.next()
            except TimeoutError:
                batch = _NOTHING
        assert self._connection.closed is not None
        if self._connection.closed[0] is not CloseCode.NORMAL:
            raise StreamCutOff(self._ended()[2])
        body = retry + Batch.of({"type": "end", "run_id": self._run_id}).sse
        await send({"type": "http.response.body", "body": body, "more_body": False})
