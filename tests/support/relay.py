"""Relays for the tests: served in the test's own loop, or as processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from runrelay.api import create_app
from runrelay.api.server import plain_path_reason
from runrelay.cli import parent_death
from runrelay.pipelines import Pipeline
from runrelay.progress import make_event
from runrelay.relay import Settings
from runrelay.relay.relay import Relay
from runrelay.runlog import AsyncRunLog, Committed, Keys, ProducerSequence
from tests.support.clients import DEADLINE_S, Client, eventually, watch
from tests.support.publisher_process import ROOT, program
from tests.support.servers import HOST, free_port

__all__ = [
    "BOTH_PROTOCOLS",
    "FAST",
    "STANDARD",
    "Producer",
    "QuietServer",
    "RelayProcess",
    "Served",
    "StartProcess",
    "StartRelay",
    "serve_here",
    "told_all",
]

START_TIMEOUT_S = 30.0
FAST = "runrelay.fanout.uvicorn:FanoutProtocol"
FAST_HTTP = "runrelay.api.handshake:FirstBytes"
STANDARD = "websockets-sansio"
BOTH_PROTOCOLS = pytest.mark.parametrize("protocol", [FAST, STANDARD], ids=["fast", "standard"])


class Address:
    """Where a relay is."""

    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def ws(self, run_id: str | None = None, query: str = "") -> str:
        """The WebSocket URL of a run, or of the multiplexed connection."""
        path = "/ws" if run_id is None else f"/ws/{quote(run_id, safe='')}"
        return f"ws://{HOST}:{self.port}{path}" + (f"?{query}" if query else "")

    def run(self, run_id: str, tail: str = "") -> str:
        """The URL of a run in the API."""
        return f"{self.url}/api/runs/{quote(run_id, safe='')}{tail}"


class QuietServer(uvicorn.Server):
    """Leaves the test process' signal handlers alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Served(Address):
    """A relay in this loop: its parts can be looked into."""

    def __init__(self, relay: Relay, server: uvicorn.Server, port: int, http: httpx.AsyncClient) -> None:
        self.relay = relay
        self.server = server
        self.port = port
        self.http = http


@asynccontextmanager
async def serve_here(
    settings: dict[str, Any],
    pipelines: dict[str, Pipeline] | None = None,
    *,
    ws: str = FAST,
    ready: bool = True,
    app: FastAPI | None = None,
    http: str = FAST_HTTP,
) -> AsyncIterator[Served]:
    """Serve a relay on a free port in this loop, ready unless told otherwise; or an application that has one in it.

    An application of our own answers handshakes at once, as `runrelay serve` does; anybody else's does not. With a
    uvicorn that the fast path is not made for (scripts/versions.py), everything takes the plain one.
    """
    if plain_path_reason() is not None:
        http, ws = http.replace(FAST_HTTP, "httptools"), ws.replace(FAST, STANDARD)
    answers_handshakes = app is None
    app = app or create_app(Settings(**{"dashboard": False, "drain_s": 0.5, **settings}), pipelines or {})
    listening = socket.create_server((HOST, 0), backlog=512)
    config = uvicorn.Config(
        app,
        http=http,
        ws=ws,
        lifespan="on",
        log_level="warning",
        timeout_graceful_shutdown=2,
        ws_per_message_deflate=False,
        ws_max_size=1 << 20,
    )
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="uvicorn")
    try:
        await eventually(lambda: server.started or serving.done(), "the server has started")
        if serving.done():
            serving.result()
        relay: Relay = app.state.runrelay
        relay.answers_handshakes = answers_handshakes
        if ready:
            await eventually(lambda: relay.ready, "the relay is ready")
        async with httpx.AsyncClient(base_url=f"http://{HOST}", timeout=DEADLINE_S, trust_env=False) as client:
            port = listening.getsockname()[1]
            client.base_url = httpx.URL(f"http://{HOST}:{port}")
            yield Served(relay, server, port, client)
    finally:
        server.should_exit = True
        await serving
        listening.close()


class RelayProcess(Address):
    """`runrelay serve` as a process of its own. It keeps its port when it is killed and started again.

    broken: switches of tests/support/weakened.py, for a negative control.
    ulimit: arguments of the shell's command, `-n 512` for example.
    """

    def __init__(
        self,
        folder: Path,
        redis_url: str,
        prefix: str,
        *,
        broken: str = "",
        ulimit: str = "",
        environ: dict[str, str] | None = None,
        workers: int = 1,
        **settings: object,
    ) -> None:
        self.port = free_port()
        arguments = ("serve", "--port", str(self.port), "--workers", str(workers))
        self._program = program("runrelay.cli", *arguments, broken=broken)
        if ulimit:
            self._program = ["/bin/sh", "-c", f'ulimit {ulimit}; exec "$@"', "sh", *self._program]
        self._log_path = folder / f"relay-{self.port}.log"
        self._folder = folder
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": redis_url,
            "RUNRELAY_PREFIX": prefix,
            "RUNRELAY_DASHBOARD": "false",
            **{f"RUNRELAY_{name.upper()}": str(value) for name, value in settings.items()},
            **(environ or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; raises when it is not running."""
        assert self._process is not None, "the relay is not running"
        return self._process.pid

    @property
    def open_files(self) -> int:
        """How many files it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def serving(self, tries: int = 40) -> set[int]:
        """The processes that answer on the port: each connection is one of theirs."""
        found = set()
        for _ in range(tries):
            with httpx.Client(trust_env=False, timeout=10) as http:
                found.add(http.get(f"{self.url}/api/stats").json()["pid"])
        return found

    @property
    def log(self) -> str:
        """What the relay has logged since it was first started."""
        return self._log_path.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start, or start again, without waiting for anything."""
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                parent_death.command(self._program, signal.SIGKILL),
                cwd=self._folder,
                env=self._environ,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self) -> None:
        """Start, or start again, and wait until it is ready."""
        self.launch()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until it is ready. The kernel ends the process with the thread that has called `launch`."""
        deadline = time.monotonic() + START_TIMEOUT_S
        with httpx.Client(trust_env=False) as http:
            while True:
                if not self.is_running:
                    raise AssertionError(f"the relay has ended:\n{self.log}")
                try:
                    if http.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                if time.monotonic() > deadline:
                    raise AssertionError(f"the relay is not ready within {START_TIMEOUT_S} s:\n{self.log}")
                time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None, "the relay is not running"
        self._process.send_signal(number)

    def wait(self, timeout_s: float = DEADLINE_S) -> int:
        """Wait for its end; returns its code."""
        assert self._process is not None, "the relay is not running"
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self.wait()


class Producer:
    """A worker as the relay sees it: commits events, and remembers what it committed."""

    def __init__(self, redis_url: str, keys: Keys) -> None:
        self.keys = keys
        self.runlog = AsyncRunLog(redis_url, keys)
        self.cursors: dict[str, list[str]] = {}
        self._sequences: dict[str, ProducerSequence] = {}

    def sequence(self, run_id: str) -> ProducerSequence:
        """The sequence of this producer for a run."""
        return self._sequences.setdefault(run_id, ProducerSequence.fresh())

    async def say(
        self, run_id: str, state: str | None = None, progress: float | None = None, log: str | None = None, **more: Any
    ) -> str:
        """Commit one event; returns the cursor after it."""
        done = await self.commit(run_id, [make_event(state, progress, log, **more)])
        return str(done.cursor)

    async def commit(self, run_id: str, events: Any) -> Committed:
        """Commit events."""
        done = await self.runlog.commit(run_id, events, self.sequence(run_id))
        self.cursors.setdefault(run_id, []).append(str(done.cursor))
        return done

    async def lines(self, run_id: str, first: int, count: int, text: str = "line") -> str:
        """Commit log lines `line <first>` … one by one; returns the last cursor."""
        cursor = ""
        for number in range(first, first + count):
            cursor = await self.say(run_id, log=f"{text} {number}")
        return cursor

    async def publish(self, raw: bytes | str) -> int:
        """Publish on the channel as anyone can; returns how many heard it."""
        return await self.runlog.publish(self.keys.channel, raw.encode() if isinstance(raw, str) else raw)


class StartRelay(Protocol):
    """Starts a relay in this loop; settings are those of `runrelay.api.Settings`."""

    def __call__(self, pipelines: Any = None, *, ready: bool = True, **settings: Any) -> Awaitable[Served]: ...


StartProcess = Callable[..., RelayProcess]


async def told_all(relay: Served, producer: Producer, client: Client, last: str) -> bool:
    """Whether a client has been told all, once the relay has heard everything that was published before now.

    Raises AssertionError if it was told something that it may not.
    """
    await producer.say("marker", log="known before it is watched, so that no repair is needed")
    async with watch(relay.ws("marker"), "marker") as witness:
        await witness.frame("initial_state")
        await witness.reached(await producer.say("marker", log="now"))
    await eventually(lambda: all(t.is_quiet for t in relay.relay.hub.statistics().topics.values()), "quiet")
    await client.ping()
    return client.story.position == last
