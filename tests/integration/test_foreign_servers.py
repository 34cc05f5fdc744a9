"""The relay in an application under somebody else's server: it stops, and restarts, as it does without the relay."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from runrelay.fastapi import Settings, router
from tests.support.clients import Client, StreamClient, asked_until, eventually, watch, watch_stream
from tests.support.foreign_servers import ForeignServer
from tests.support.relay import Producer, QuietServer
from tests.support.servers import HOST

SOON_S = 3.0
"""uvicorn needs 0.3 s by itself, on a machine that is busy with other tests some more. A held poll takes 25."""


@dataclass
class Watchers:
    """One client of each transport."""

    socket: Client
    stream: StreamClient
    poll: asyncio.Task[httpx.Response]


@asynccontextmanager
async def watchers(server: ForeignServer, producer: Producer, run_id: str) -> AsyncIterator[Watchers]:
    cursor = await producer.say(run_id, "RENDERING", log="before")
    async with (
        httpx.AsyncClient(trust_env=False, timeout=60) as http,
        watch(server.ws(run_id), run_id) as socket,
        watch_stream(http, server.run(run_id, "/events"), run_id) as stream,
    ):
        await socket.frame("initial_state")
        await stream.frame("initial_state")
        held = asyncio.create_task(http.get(server.run(run_id), params={"after": cursor, "wait": 25}))

        await asked_until(http, f"{server.url}/api/stats", lambda answer: answer.json()["connections"] == 3)
        yield Watchers(socket, stream, held)


def check_let_go(seen: Watchers) -> None:
    """Each client can tell that the run goes on, and the socket is told when to come back."""
    assert seen.socket.connection.close_code == 1012
    assert json.loads(seen.socket.connection.close_reason or "")["retry_in_ms"] > 0
    assert [frame["type"] for frame in seen.stream.frames] == ["initial_state"]
    assert seen.poll.result().status_code in (200, 304)


@pytest.fixture
def start_server(redis_url: str, prefix: str, tmp_path: Path) -> Iterator[list[ForeignServer]]:
    """The servers that a test has started: they are ended at its end, by SIGTERM so that they end their children."""
    started: list[ForeignServer] = []
    yield started
    for server in started:
        if server.is_running:
            server.signal(signal.SIGTERM)
            server.wait()


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("uvicorn", signal.SIGINT),
        ("uvicorn", signal.SIGTERM),
        ("uvicorn-reload", signal.SIGINT),
        ("gunicorn", signal.SIGTERM),
        ("hypercorn", signal.SIGINT),
        ("hypercorn", signal.SIGTERM),
    ],
)
async def test_one_open_stream_does_not_keep_a_server_from_stopping(
    start_server: list[ForeignServer],
    redis_url: str,
    prefix: str,
    tmp_path: Path,
    producer: Producer,
    run_id: str,
    kind: str,
    number: signal.Signals,
) -> None:
    """Ctrl-C did nothing for up to forty seconds while one page with a stream or a held poll was open."""
    server = ForeignServer(kind, tmp_path, redis_url, prefix)
    start_server.append(server)
    server.launch()
    await asyncio.to_thread(server.wait_ready)
    async with watchers(server, producer, run_id) as seen:
        began_s = time.monotonic()
        server.signal(number)
        await asyncio.to_thread(server.wait)
        took_s = time.monotonic() - began_s
        await eventually(lambda: seen.stream.closed and seen.poll.done(), "all clients were let go")
        await seen.socket.close_code()
        check_let_go(seen)
    assert took_s < SOON_S
    assert "Traceback" not in server.log


async def test_reload_is_as_quick_with_a_page_open(
    start_server: list[ForeignServer], redis_url: str, prefix: str, tmp_path: Path, producer: Producer, run_id: str
) -> None:
    """Every save of a file hung until the developer closed the page."""
    server = ForeignServer("uvicorn-reload", tmp_path, redis_url, prefix)
    start_server.append(server)
    server.launch()
    await asyncio.to_thread(server.wait_ready)
    (before,) = server.serving(1)
    async with watchers(server, producer, run_id) as seen:
        began_s = time.monotonic()
        (server.watched / "changed.py").write_text("")
        await seen.socket.close_code()
        await eventually(lambda: seen.stream.closed and seen.poll.done(), "all clients were let go")
        check_let_go(seen)

        def is_new() -> bool:
            try:
                return server.serving(1) != {before}
            except httpx.TransportError:
                return False

        while not await asyncio.to_thread(is_new):
            assert time.monotonic() - began_s < 2 * SOON_S, server.log


async def test_a_server_that_stops_without_a_signal_is_heard_of(
    redis_url: str, prefix: str, tmp_path: Path, producer: Producer, run_id: str
) -> None:
    """gunicorn's `--max-requests`, or a server in a thread: one open stream kept it for ever."""
    app = FastAPI()
    app.include_router(router(Settings(redis_url=redis_url, prefix=prefix, files=tmp_path)))
    listening = socket.create_server((HOST, 0))
    config = uvicorn.Config(app, limit_max_requests=1, log_level="warning")
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await eventually(lambda: server.started, "the server has started")
    url = f"http://{HOST}:{listening.getsockname()[1]}"
    await producer.say(run_id, "RENDERING", log="before")
    async with (
        httpx.AsyncClient(trust_env=False, timeout=60) as http,
        watch_stream(http, f"{url}/api/runs/{run_id}/events", run_id) as stream,
    ):
        await stream.frame("initial_state")
        await http.get(f"{url}/healthz")  # the last request: those that are answered are counted
        await eventually(serving.done, "the server has stopped", SOON_S)
        await eventually(lambda: stream.closed, "the stream was let go")
    await serving
