"""Dependencies of routes: the relay, a checked run id, a cursor, the caller's grant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.dependencies.models import Dependant

from ..codes import CloseCode
from ..errors import Refusal
from ..progress import Cursor, check_run_id, parse_cursor
from ..relay.relay import Relay
from .auth import Grant, authorize, is_foreign_origin
from .router_relay import relay_of

__all__ = ["ListGrant", "RelayOf", "RunGrant", "RunId", "cursor_of", "grant_for"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""
_RUN_ID = Path(description="The run's id.", examples=["20251105_1430_우주여행고양이"], min_length=1, max_length=200)


async def _relay(request: Request) -> Relay:
    return relay_of(request)


def _run_id(run_id: Annotated[str, _RUN_ID]) -> str:
    try:
        return check_run_id(run_id)
    except ValueError as error:
        raise Refusal(CloseCode.BAD_REQUEST, str(error)) from error


def _grant(request: Request) -> Grant:
    relay = relay_of(request)
    # A form on any page can send a POST without asking first, with what the browser knows of us.
    if request.method not in _SAFE and is_foreign_origin(request, relay.settings):
        origin = request.headers["origin"][:200]
        raise Refusal(CloseCode.FORBIDDEN, f"pages of {origin!r} may not do this; see RUNRELAY_ALLOWED_ORIGINS")
    return authorize(request, relay.settings)


def _run_grant(run_id: Annotated[str, Depends(_run_id)], grant: Annotated[Grant, Depends(_grant)]) -> Grant:
    grant.check_run(run_id)
    return grant


def _list_grant(grant: Annotated[Grant, Depends(_grant)]) -> Grant:
    grant.check_list()
    return grant


def grant_for(dependant: Dependant) -> Callable[[Request], None]:
    """The token check of a route's dependencies, as a function of the request alone.

    For routes that must check the token before FastAPI resolves the dependencies.
    """
    calls = {dependency.call for dependency in dependant.dependencies}

    def check(request: Request) -> None:
        grant = _grant(request)
        if _list_grant in calls:
            _list_grant(grant)
        if _run_grant in calls:
            _run_grant(_run_id(request.path_params["run_id"]), grant)

    return check


def cursor_of(text: str | None) -> Cursor | None:
    """A request's cursor, parsed; None if it has none. Raises Refusal (4400)."""
    if text is None:
        return None
    try:
        return parse_cursor(text)
    except ValueError as error:
        raise Refusal(CloseCode.BAD_REQUEST, str(error)) from error


RelayOf = Annotated[Relay, Depends(_relay)]
RunId = Annotated[str, Depends(_run_id)]
RunGrant = Annotated[Grant, Depends(_run_grant)]
ListGrant = Annotated[Grant, Depends(_list_grant)]
