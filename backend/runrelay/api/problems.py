"""Errors over HTTP: every error is answered with a problem document (RFC 9457)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from ..codes import CloseCode
from ..errors import CommitRefused, NotARun, Refusal, RunlogError, RunlogUnavailable, RunNotFound
from .compression import compressed
from .head import HeadRoute
from .problem_page import problem_page, wants_page
from .router_relay import NotRunning, RouterRelay

__all__ = ["Problem", "ProblemResponse", "ProblemRoute", "StreamCutOff", "install_problems", "problem_of", "responses"]

log = logging.getLogger(__name__)

RETRY_AFTER_S = 2

_TITLES = {
    400: "Bad request",
    401: "No valid token",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Conflict",
    413: "Too large",
    414: "URL too long",
    416: "No such range",
    422: "Invalid input",
    429: "Too many connections",
    431: "Headers too large",
    500: "Internal error",
    502: "The run log gave a wrong answer",
    503: "Not available now",
}


_STATUSES = {
    CloseCode.SERVICE_RESTART: 503,
    CloseCode.FRAME_TOO_BIG: 413,
    CloseCode.BAD_REQUEST: 400,
    CloseCode.UNAUTHORIZED: 401,
    CloseCode.FORBIDDEN: 403,
    CloseCode.NOT_A_RUN: 409,
    CloseCode.TOO_MANY: 429,
}
"""The HTTP status of each code of a refusal; 500 for any other."""


class StreamCutOff(Exception):
    """Ends a stream whose run has not ended, without the last chunk of its body.

    Many clients take a body that ends well for the end of all events, and do not come back: fetch-event-source,
    sseclient, curl. Servers close the connection at an exception. What they log of this one is left out: log_config.py.
    """


class ProblemResponse(JSONResponse):
    """A response of `application/problem+json`."""

    media_type = "application/problem+json"


class Problem(Exception):
    """An error answer; may be raised anywhere below a route."""

    def __init__(self, status: int, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.more = more

    def response(self) -> ProblemResponse:
        """The problem document."""
        body = {
            "type": "about:blank",
            "title": self._title,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }
        return ProblemResponse(body, self.status, self._all_headers)

    def response_to(self, request: Request) -> Response:
        """The problem document, or for a browser that was sent to this address, a page."""
        if wants_page(request):
            return problem_page(self.status, self._title, self.detail, self._all_headers)
        return self.response()

    @property
    def _title(self) -> str:
        return _TITLES.get(self.status, "Error")

    @property
    def _all_headers(self) -> dict[str, str]:
        # Without this, a cache may keep a 404 after the run has begun.
        return {"Cache-Control": "no-store", **(self.headers or {})}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of these problems."""
    schema = {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
        },
    }
    return {
        status: {
            "description": _TITLES[status],
            "content": {
                "application/problem+json": {
                    "schema": schema,
                    "example": {"type": "about:blank", "title": _TITLES[status], "status": status, "detail": "…"},
                }
            },
        }
        for status in statuses
    }


def _unavailable(error: Exception) -> Problem:
    return Problem(503, str(error), headers={"Retry-After": str(RETRY_AFTER_S)})


def _refused(refusal: Refusal) -> Problem:
    status = _STATUSES.get(refusal.code, 500)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(refusal.retry_after_s))
    return Problem(status, refusal.reason, headers=headers)


def problem_of(error: Exception) -> Problem:
    """The problem that a client is told for an exception."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Refusal):
        return _refused(error)
    if isinstance(error, RunlogUnavailable):
        return _unavailable(error)
    if isinstance(error, NotRunning):
        return Problem(503, str(error))
    if isinstance(error, RunNotFound):
        return Problem(404, str(error))
    if isinstance(error, NotARun):
        return Problem(409, str(error))
    if isinstance(error, CommitRefused):
        if error.status == "unknown":
            return Problem(404, str(RunNotFound(error.run_id)))
        return Problem(409, str(error), run_status=error.status, attempt=error.attempt)
    if isinstance(error, RunlogError):
        return Problem(502, str(error))
    if isinstance(error, RequestValidationError):
        errors = [{"where": [str(part) for part in item["loc"]], "message": item["msg"]} for item in error.errors()]
        detail = "; ".join(f"{'.'.join(e['where'])}: {e['message']}" for e in errors)
        return Problem(422, detail, errors=errors)
    if isinstance(error, HTTPException):
        return Problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))
    return Problem(500, "an unexpected error; the server's log has it")


async def answer(request: Request, error: Exception) -> Response:
    """Answer an error with its problem document."""
    problem = problem_of(error)
    if problem.status == 404 and problem.detail == "Not Found":  # Starlette's, of a path without a route
        problem = Problem(404, f"there is nothing at {request.url.path[:200]}")
    relay = request.scope.get("runrelay")
    if isinstance(error, RunlogError) and problem.status in (409, 502) and relay is not None:
        if not isinstance(error, CommitRefused):
            relay.hub.containment.record(error, "a request", request.path_params.get("run_id"))
    elif problem.status == 500 and not isinstance(error, StreamCutOff):
        log.error("unexpected error at %s %s", request.method, request.url.path, exc_info=error)
    return await compressed(request, problem.response_to(request))


class ProblemRoute(HeadRoute, APIRoute):
    """A route whose errors are problem documents, also in an application without our exception handlers."""

    router_relay: ClassVar[RouterRelay | None] = None
    """The relay that answers: of the router that the route belongs to. None while the route is only declared."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Starlette."""
        if self.router_relay is not None:
            try:
                self.router_relay.attach(scope)
            except NotRunning as error:
                await problem_of(error).response()(scope, receive, send)
                return
        await super().handle(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route's handler."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await compressed(request, await handle(request))
            except Exception as error:
                return await answer(request, error)

        return guarded


def install_problems(app: FastAPI) -> None:
    """Answer every other error of this application (an unknown path, for example) with a problem document, too."""

    for kind in (
        Problem,
        Refusal,
        RunlogError,
        RunNotFound,
        RequestValidationError,
        HTTPException,
        Exception,
    ):
        app.add_exception_handler(kind, answer)
