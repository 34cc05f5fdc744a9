"""A file, or the parts of it that `Range` names; invalid ranges are answered as RFC 9110 says."""

from __future__ import annotations

from fastapi.responses import FileResponse
from starlette.responses import MalformedRangeHeader, RangeNotSatisfiable
from starlette.types import Receive, Scope, Send

from .problems import Problem

__all__ = ["RunFile"]


class RunFile(FileResponse):
    """Starlette's FileResponse, which alone answers 400 to a range of another unit, and errors as plain text."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        try:
            await super().__call__(scope, receive, send)
        except Problem as problem:
            await problem.response()(scope, receive, send)

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        """The parts; an empty list means the whole file. A malformed header or another unit is ignored (section
        14.2).
        """
        try:
            return super()._parse_range_header(http_range, file_size)
        except MalformedRangeHeader:
            return []
        except RangeNotSatisfiable as error:
            size = error.max_size
            headers = {"Content-Range": f"bytes */{size}"}
            raise Problem(416, f"the file has {size} bytes, got Range: {http_range[:80]}", headers=headers) from error
