"""Requests that are not answered when the relay's time to drain is over.

Examples: a read that waits for a frozen Redis, a body that does not arrive, a stream whose client does not leave.
"""

from __future__ import annotations

import asyncio
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import RETRY_AFTER_S, Problem

__all__ = ["CutShort"]

_CANCELLED = "asyncio.exceptions.CancelledError"
"""The last line of its traceback."""


class CutShort:
    """Middleware: a request that the server cancels at shutdown is answered with 503, unless its answer has begun.

    Without it, uvicorn answers 500 and logs a traceback for each. The server cancels a request for no other reason, and
    then waits for it, so the cancellation may end here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, partial(_send_end, send))
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def record_begin(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, record_begin)
        except asyncio.CancelledError:
            relay = scope.get("runrelay")  # none: it was cancelled before a route was found
            if relay is None or not relay.hub.closing:
                raise
            if not has_begun:
                headers = {"Retry-After": str(RETRY_AFTER_S), "Connection": "close"}
                await Problem(503, "the relay is shutting down", headers=headers).response()(scope, receive, send)


async def _send_end(send: Send, message: Message) -> None:
    """Pass on a message of the lifespan. A server that is forced to exit cancels it, which is no failure of ours."""
    is_cancelled = message["type"] == "lifespan.shutdown.failed" and message["message"].rstrip().endswith(_CANCELLED)
    await send({"type": "lifespan.shutdown.complete"} if is_cancelled else message)
