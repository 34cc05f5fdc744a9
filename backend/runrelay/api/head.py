"""HEAD: the headers of the answer to a GET (RFC 9110, section 9.3.2), which FastAPI's routes answer with 404 or 405."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from starlette.routing import Match, Route
from starlette.types import Message, Receive, Scope, Send

__all__ = ["HeadRoute"]


class _Answered(Exception):
    """The headers are sent: whatever makes the body, an endless stream for example, need not go on."""


class HeadRoute(Route):
    """A route of GET that is one of HEAD, too. To be mixed into a route class."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See Starlette."""
        return super().matches(self._as_get(scope) or scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Starlette."""
        get = self._as_get(scope)
        if get is None:
            await super().handle(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
            elif message["type"] == "http.response.body":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                raise _Answered

        with suppress(_Answered):
            await super().handle(get, receive, send_head)

    def _as_get(self, scope: Scope) -> dict[str, Any] | None:
        is_head = scope["type"] == "http" and scope["method"] == "HEAD" and "GET" in (self.methods or ())
        return {**scope, "method": "GET"} if is_head else None
