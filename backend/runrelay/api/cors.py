"""CORS: which pages of other origins may read answers over HTTP. The same ones that may open a WebSocket."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .auth import LOOPBACK

__all__ = ["Cors"]

_LOOPBACK_ORIGIN: Final = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


class Cors:
    """Starlette's CORS with the allowed origins; beside them, on a relay that is asked for by a name of this machine,
    pages of this machine: a development server on another port.

    Cookies and credentials may come along, except if `*` is allowed.
    """

    def __init__(self, app: ASGIApp, allowed_origins: tuple[str, ...]) -> None:
        self._elsewhere = self._cors(app, allowed_origins, None) if allowed_origins else app
        self._on_this_machine = self._cors(app, allowed_origins, _LOOPBACK_ORIGIN)

    @staticmethod
    def _cors(app: ASGIApp, allowed_origins: tuple[str, ...], origin_regex: str | None) -> CORSMiddleware:
        return CORSMiddleware(
            app,
            allow_origins=allowed_origins,
            allow_origin_regex=origin_regex,
            allow_methods=["GET", "POST", "DELETE"],
            # Any header of an origin that is allowed: a proxy of its own may want some.
            allow_headers=["*"],
            allow_credentials="*" not in allowed_origins,
            expose_headers=["ETag", "Last-Event-ID", "Retry-After", "Location"],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by the request's Host."""
        app = self._elsewhere
        if scope["type"] == "http" and _host(scope) in LOOPBACK:
            app = self._on_this_machine
        await app(scope, receive, send)


def _host(scope: Scope) -> str | None:
    try:
        return urlsplit("//" + Headers(scope=scope).get("host", "")).hostname
    except ValueError:
        return None
