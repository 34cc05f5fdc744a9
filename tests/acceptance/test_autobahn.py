"""RFC 6455 as the Autobahn suite has it, run by kosoku against an echo over the relay's own connection class.

Groups 1 to 7 and 10: framing, pings, reserved bits, opcodes, fragments, UTF-8, closes, automatic fragmentation. 9 is
about speed with up to 16 MB, 12 and 13 about compression, which is off.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from kosoku import FailureError, run_fuzzingclient
from starlette.types import ASGIApp

from runrelay.fanout.direct_connection import DirectConnection
from tests.support.clients import eventually
from tests.support.echo_app import LIMIT_BYTES, echo_app
from tests.support.relay import FAST, STANDARD, QuietServer
from tests.support.servers import HOST

GROUPS = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
CASES = 247


@asynccontextmanager
async def serving(app: ASGIApp, ws: str) -> AsyncIterator[str]:
    """The URL of an application that is served in this loop."""
    with socket.create_server((HOST, 0)) as listening:
        config = uvicorn.Config(
            app, ws=ws, lifespan="off", log_level="critical", ws_per_message_deflate=False, ws_max_size=LIMIT_BYTES
        )
        server = QuietServer(config)
        running = asyncio.create_task(server.serve(sockets=[listening]), name="uvicorn")
        try:
            await eventually(lambda: server.started or running.done(), "the server has started")
            yield f"ws://{HOST}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


async def failed(app: ASGIApp, ws: str, cases: list[str]) -> tuple[int, dict[str, str]]:
    """How many cases were run, and which were not passed, with what was wrong."""
    async with serving(app, ws) as url:
        try:
            results = await run_fuzzingclient(url, cases, None, 4)
        except FailureError as failure:
            results = failure.results
    wrong = {r.case_id: f"{r.result} {r.result_close} (code {r.remote_close_code})" for r in results if not r.passed}
    return len(results), wrong


@pytest.mark.slow
async def test_the_fast_path_passes_every_case() -> None:
    """A client library meets a server that breaks the protocol, or a hostile client one that lets it."""
    assert await failed(echo_app(), FAST, GROUPS) == (CASES, {})


@pytest.mark.slow
async def test_the_standard_path_passes_every_case_but_one() -> None:
    """The same for uvicorn's own protocol. A close amid a fragmented message is an error to websockets: 1002 comes,
    where the case wants 1000.
    """
    cases, wrong = await failed(echo_app(), STANDARD, GROUPS)
    assert (cases, [*wrong]) == (CASES, ["7.1.5"])
    assert "(code 1002)" in wrong["7.1.5"]


async def test_the_cases_tell_a_connection_that_checks_nothing() -> None:
    """The control: with the checks of text and of close codes taken out, their cases fail."""
    ran, wrong = await failed(echo_app(Trusting), FAST, ["1.1.2", "6.6.1", "7.5.1", "7.9.1"])
    assert ran == 4
    assert set(wrong) == {"6.6.1", "7.5.1", "7.9.1"}


class Trusting(DirectConnection):
    """Takes text for UTF-8, and a close for a good one."""

    def _receive_message(self, frame: object) -> None:
        self._on_message(bytes(frame.data).decode(errors="replace"))  # type: ignore[attr-defined]

    def _answer_close(self, frame: object) -> None:
        assert self._transport is not None
        self._transport.write(b"\x88\x02" + bytes(frame.data)[:2])  # type: ignore[attr-defined]
        self._transport.close()
