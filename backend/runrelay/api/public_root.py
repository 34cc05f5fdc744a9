"""Where the relay's own application is for the public, if a proxy serves it under a path: the ASGI `root_path`.

Links in answers and the page of the API's description begin with it. (The dashboard's links are relative, so it works
without it.) It comes from `RUNRELAY_ROOT_PATH`, else from the proxy's `X-Forwarded-Prefix`. Anybody may send that
header: it changes nothing but the links in the sender's own answer. Starlette takes the root path off a path that has
it, so a proxy may leave it there or take it off.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["PublicRoot"]

_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_HEADER: Final = "x-forwarded-prefix"


class PublicRoot:
    """Middleware: sets the root path of requests that have none.

    Args:
        root_path: as `/relay`; empty: what the proxy says.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "lifespan" and not scope.get("root_path"):
            root = self._root_path or Headers(scope=scope).get(_HEADER, "").rstrip("/")
            if _PREFIX.fullmatch(root):
                scope["root_path"] = root
        await self._app(scope, receive, send)
