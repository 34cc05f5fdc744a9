"""Authorisation: origins of pages, tokens, and which runs a token covers."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import jwt
from starlette.requests import HTTPConnection

from ..codes import CloseCode
from ..errors import Refusal
from ..relay.settings import Settings

__all__ = ["ANYBODY", "LOOPBACK", "Grant", "authorize", "is_foreign_origin"]

log = logging.getLogger(__name__)

LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
"""Names of this machine."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client may do: which runs (None: all), and until when (Unix seconds; None: no end)."""

    subject: str = "anonymous"
    runs: frozenset[str] | None = None
    expires_at: float | None = None

    def check_run(self, run_id: str) -> None:
        """Raise `Refusal` if this run is not covered."""
        if self.runs is not None and run_id not in self.runs:
            raise Refusal(CloseCode.FORBIDDEN, f"the token does not cover run {run_id!r}")

    def check_list(self) -> None:
        """Raise `Refusal` if the list of all runs is not covered."""
        if self.runs is not None:
            raise Refusal(CloseCode.FORBIDDEN, "the token covers single runs, not the list of all")

    def seconds_left(self) -> float | None:
        """Seconds until the token expires."""
        return None if self.expires_at is None else self.expires_at - time.time()


ANYBODY = Grant()
"""The grant of every client if no tokens are used."""


def authorize(connection: HTTPConnection, settings: Settings) -> Grant:
    """Read the token of a request: `Authorization: Bearer …`, or `?token=…` (browsers cannot set headers on a
    WebSocket).

    Claims: `exp`; `sub`; `runs`, a list of run ids (absent: all of them). Without a secret in the settings, every
    client may do everything.

    Raises:
        Refusal: 4401, there is no token, or it is not valid.
    """
    if settings.jwt_secret is None:
        return ANYBODY
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = connection.query_params.get("token", "")
    if not token:
        raise Refusal(CloseCode.UNAUTHORIZED, "a token is needed: Authorization: Bearer …, or ?token=…")
    try:
        claims = jwt.decode(
            token,
            settings.jwt_secret.get_secret_value(),
            algorithms=["HS256"],
            audience=settings.jwt_audience,
            options={"require": ["exp"], "verify_aud": settings.jwt_audience is not None},
        )
    except jwt.InvalidTokenError as error:
        raise Refusal(CloseCode.UNAUTHORIZED, f"the token is not valid: {error}") from error
    runs = claims.get("runs")
    if runs is not None and not (isinstance(runs, list) and all(isinstance(run, str) for run in runs)):
        raise Refusal(CloseCode.UNAUTHORIZED, "the token's claim 'runs' must be a list of run ids")
    return Grant(str(claims.get("sub", "")), None if runs is None else frozenset(runs), float(claims["exp"]))


def is_foreign_origin(connection: HTTPConnection, settings: Settings) -> bool:
    """Whether a page of another origin, which is not allowed, opens this connection.

    Browsers send `Origin` with every WebSocket, and do not apply the same-origin policy to it. Other clients send none.
    """
    origin = connection.headers.get("origin")
    if origin is None or "*" in settings.allowed_origins or origin in settings.allowed_origins:
        return False
    host = connection.headers.get("host", "")
    try:
        theirs, ours = urlsplit(origin), urlsplit("//" + host)
        # The same machine under two names or two ports: a development server beside the relay.
        if theirs.netloc == ours.netloc or (theirs.hostname in LOOPBACK and ours.hostname in LOOPBACK):
            return False
    except ValueError:
        pass  # it is no URL, so it is no page of ours
    log.warning(
        "a page of %r was refused, since this relay was asked for as %r: name the page's origin in "
        "RUNRELAY_ALLOWED_ORIGINS, or let the proxy pass the Host header on",
        origin[:200],
        host[:200],
    )
    return True
