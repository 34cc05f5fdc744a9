"""A problem for people: a browser that was sent to an address gets a page, not a JSON document."""

from __future__ import annotations

from html import escape
from importlib import resources
from string import Template
from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse

__all__ = ["problem_page", "wants_page"]

_PAGE: Final = Template((resources.files(__package__) / "problem_page.html").read_text("utf-8"))
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


def wants_page(request: Request) -> bool:
    """Whether a browser was sent to this address. Only then it asks for XHTML; some libraries ask for HTML always."""
    return request.method in ("GET", "HEAD") and "application/xhtml+xml" in request.headers.get("accept", "")


def problem_page(status: int, title: str, detail: str, headers: dict[str, str]) -> HTMLResponse:
    """The page of a problem, with the headers of its JSON document."""
    text = _PAGE.substitute(status=status, title=escape(title), detail=escape(detail))
    return HTMLResponse(text, status, {**_HEADERS, **headers})
