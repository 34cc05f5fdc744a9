"""Compression: JSON is compressed when it is sent, files of the dashboard when they are built. Event streams never are.

A compressed stream would wait in the compressor for more, and one compressor for each client would cost 256 KiB of
memory each. JSON is compressed at level 1: of a snapshot of 512 KiB it leaves 112 KiB and takes 9 ms, level 6 leaves
85 and takes 52. Large bodies are compressed in a thread, where zlib does not hold up the event loop.
"""

from __future__ import annotations

import asyncio
import gzip
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

__all__ = ["accepted_codings", "compressed"]

_LEAST_BYTES: Final = 1024
"""Below it the headers outweigh the gain; as in nginx and Starlette (500 and 1,000 bytes) it is a matter of taste."""
_AT_ONCE_BYTES: Final = 16 * 1024
_LEVEL: Final = 1
_KINDS: Final = ("application/json", "application/problem+json")


def accepted_codings(request: Request) -> frozenset[str]:
    """The content codings that a client accepts, in lower case (RFC 9110, section 12.5.3): those with `q` above 0."""
    accepted = set()
    for part in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, parameter = part.partition(";")
        if parameter.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            accepted.add(coding.strip())
    return frozenset(accepted)


async def compressed(request: Request, response: Response) -> Response:
    """The same response, its body compressed if it is JSON, larger than 1 KB, and the client accepts gzip."""
    body = getattr(response, "body", b"")  # a stream or a file has none
    if len(body) < _LEAST_BYTES or not response.headers.get("content-type", "").startswith(_KINDS):
        return response
    response.headers.add_vary_header("Accept-Encoding")
    if "gzip" not in accepted_codings(request):
        return response
    if len(body) <= _AT_ONCE_BYTES:
        response.body = gzip.compress(body, _LEVEL)
    else:
        response.body = await asyncio.to_thread(gzip.compress, body, _LEVEL)
    response.headers["Content-Encoding"] = "gzip"
    response.headers["Content-Length"] = str(len(response.body))
    return response
