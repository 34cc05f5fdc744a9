"""The dashboard: static files that were built; all of its routes are answered with one document."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response
from fastapi.routing import APIRoute
from starlette.staticfiles import StaticFiles

from .head import HeadRoute

__all__ = ["install_dashboard"]

_CSP = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'self'"
)


def install_dashboard(app: FastAPI) -> None:
    """Serve the dashboard at `/`, `/runs/…` and `/new/…`. If it was not built, answer 503 with how to build it."""
    folder = Path(str(resources.files("runrelay"))) / "dashboard"
    index = folder / "index.html"

    async def page() -> Response:
        if not index.is_file():
            text = "the dashboard is not built: run `make setup`, or `npm ci && npm run build` in frontend/\n"
            return PlainTextResponse(text, 503)
        headers = {"Cache-Control": "no-cache", "Content-Security-Policy": _CSP, "X-Content-Type-Options": "nosniff"}
        return FileResponse(index, headers=headers)

    for path in ("/", "/runs", "/runs/{rest:path}", "/new", "/new/{rest:path}"):
        app.router.add_api_route(
            path, page, include_in_schema=False, response_class=Response, route_class_override=_PageRoute
        )
    if (folder / "assets").is_dir():
        app.mount("/assets", _Immutable(directory=folder / "assets"), name="assets")
    if folder.is_dir():
        app.mount("/", StaticFiles(directory=folder, check_dir=False), name="dashboard files")


class _PageRoute(HeadRoute, APIRoute):
    """A page, by GET and by HEAD."""


class _Immutable(StaticFiles):
    """Files whose names contain a digest of their contents, so that they may be cached for ever."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
