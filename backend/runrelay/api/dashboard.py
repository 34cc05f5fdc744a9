"""The dashboard: static files that were built. All of its pages are one document, whose links are relative.

Where the dashboard is, only the browser knows: a proxy may take a prefix off the path and say nothing of it. But every
page knows how deep it lies below the dashboard's root. So the document that is sent names its files, and the root
itself, by a relative path (`./` or `../`). It is right behind any proxy, under any mount and any prefix.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path, PurePath
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

from .compression import accepted_codings
from .head import HeadRoute

__all__ = ["dashboard_router"]

_CSP: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'self'"
)
_HEADERS: Final = {"Cache-Control": "no-cache", "Content-Security-Policy": _CSP, "X-Content-Type-Options": "nosniff"}
_NOT_BUILT: Final = "the dashboard is not built: run `make setup`, or `npm ci && npm run build` in frontend/\n"
_ROOT: Final = '<meta name="runrelay-root" content="/" />'
"""In frontend/index.html; what it says is for Vite's own server."""


_FORMS: Final = (("br", ".br"), ("gzip", ".gz"))
"""Content codings and the endings of their files, the smallest first; frontend/compressed.ts makes them."""


_MEDIA_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


class _PageRoute(HeadRoute, APIRoute):
    """A page or a file, by GET and by HEAD."""


class _Compressed(StaticFiles):
    """Files, each with its compressed forms beside it: `x.js.br` and `x.js.gz`, made when the dashboard is built."""

    async def best(self, name: str, request: Request) -> Response:
        """A file in the smallest form that the client accepts. Raises HTTPException (404) if there is no such file."""
        accepted = accepted_codings(request)
        for coding, ending in _FORMS:
            if PurePath(name).suffix not in _MEDIA_TYPES or coding not in accepted:
                continue
            if (await run_in_threadpool(self.lookup_path, name + ending))[1] is not None:
                response = await self.get_response(name + ending, request.scope)
                response.headers["Content-Encoding"] = coding
                response.headers["Content-Type"] = _MEDIA_TYPES[PurePath(name).suffix]
                break
        else:
            response = await self.get_response(name, request.scope)
        response.headers.add_vary_header("Accept-Encoding")
        return response


def dashboard_router() -> APIRouter:
    """The pages `/`, `/runs/…` and `/new/…` and their files. Pages of a dashboard that was not built are 503."""
    folder = Path(str(resources.files("runrelay"))) / "dashboard"
    files = _Compressed(directory=folder, check_dir=False)
    router = APIRouter(include_in_schema=False, route_class=_PageRoute)

    async def page(request: Request) -> Response:
        try:
            text = (folder / "index.html").read_text("utf-8")
        except FileNotFoundError:
            return PlainTextResponse(_NOT_BUILT, 503)
        root = "../" * _depth(request) or "./"
        text = text.replace('="./', f'="{root}').replace(_ROOT, _ROOT.replace('"/"', f'"{root}"'))
        return Response(text, 200, _HEADERS, media_type="text/html")

    for path in ("/", "/runs", "/runs/{rest:path}", "/new", "/new/{rest:path}"):
        router.add_api_route(path, page, response_class=Response)

    @router.get("/assets/{name}", response_class=Response)
    async def asset(request: Request, name: str) -> Response:
        response = await files.best(f"assets/{name}", request)
        # The names contain a digest of the contents.
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

    @router.get("/favicon.svg", response_class=Response)
    async def favicon(request: Request) -> Response:
        return await files.best("favicon.svg", request)

    return router


def _depth(request: Request) -> int:
    """How many folders below the dashboard's root a page lies, as the browser counts: `/runs/a%2Fb` is one."""
    rest: str | None = request.path_params.get("rest")
    if rest is None:
        return 0
    raw: bytes = request.scope.get("raw_path") or b""
    return 1 + rest.count("/") - raw.lower().count(b"%2f")
