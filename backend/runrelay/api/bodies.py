"""Requests with a body: one without a valid token, or with too long a body, is refused before the body is read."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final

from fastapi import Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from .dependencies import grant_for
from .problems import Problem, ProblemRoute, answer
from .router_relay import relay_of

__all__ = ["BodyRoute"]

_DIGITS: Final = 18
"""More digits than any length has. Python's `int` is slow for thousands of them."""


class BodyRoute(ProblemRoute):
    """A route that may have a body. FastAPI alone would read the body before it checks dependencies, and so the token.

    A router of uploads has a subclass with its own limit.
    """

    max_body_bytes: ClassVar[int | None] = None
    """None: `Settings.max_body_bytes`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route's handler."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        check_grant = grant_for(self.dependant)

        async def admitted(request: Request) -> Response:
            relay = relay_of(request)
            most = self.max_body_bytes or relay.settings.max_body_bytes
            try:
                check_grant(request)
                if most:
                    _check_declared(request, most)
            except Exception as error:
                return await answer(request, error)
            receive = _bounded(request.receive, most) if most else request.receive
            return await handle(Request(request.scope, receive))

        return admitted


def _check_declared(request: Request, most: int) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > _DIGITS or int(declared) > most):
        raise Problem(413, f"a body has at most {most} bytes, got {declared}")


def _bounded(receive: Receive, most: int) -> Receive:
    """Read a body, but not beyond the limit: a chunked one does not declare its length."""
    total = 0

    async def bounded() -> Message:
        nonlocal total
        message = await receive()
        if message["type"] == "http.request":
            total += len(message.get("body", b""))
            if total > most:
                # An HTTPException, as FastAPI replaces any other exception here.
                raise HTTPException(413, f"a body has at most {most} bytes, got {total} and more")
        return message

    return bounded
