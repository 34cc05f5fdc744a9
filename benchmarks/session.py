"""One measurement's processes: Valkey, a server on its own core, clients that have joined, a publisher."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

import redis

from runrelay.cli.embedded_valkey import EmbeddedValkey

from .generator import BenchmarkError, Clients
from .machine import Cores, descendants
from .paths import BUILD, ROOT
from .publishing import run_names
from .servers.measured import MeasuredServer

__all__ = ["Publisher", "Server", "Session", "Stage", "free_port"]

_READY_TIMEOUT_S: Final = 30.0
_JOIN_TIMEOUT_S: Final = 120.0


def free_port() -> int:
    """A port that nobody uses, below those that the kernel takes for outgoing connections."""
    for port in range(18_000, 19_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise BenchmarkError("no free port from 18000 to 18999")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers."""

    measured: MeasuredServer
    port: int
    process: subprocess.Popen[bytes]

    @property
    def pids(self) -> list[int]:
        """The server's processes."""
        return descendants(self.process.pid)

    def get(self, path: str) -> bytes:
        """An HTTP answer of the server's."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            body: bytes = answer.read()
            return body


class Publisher:
    """A publisher process; see publishing.follow_orders."""

    def __init__(self, process: subprocess.Popen[str], runs: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._orders: IO[str] = process.stdin
        self._answers: IO[str] = process.stdout
        self._runs = runs
        self._open = 0
        self.published = 0
        self._answer()

    def _answer(self) -> dict[str, int]:
        line = self._answers.readline()
        if not line:
            raise BenchmarkError(f"the publisher has ended ({self._process.wait()}); its error is above")
        answer: dict[str, int] = json.loads(line)
        return answer

    def order(self, count: int, rate: float = 0.0, *, at_random: bool = False, flush: bool = False) -> None:
        """Have so many messages published, to the runs in turn; returns at once."""
        order = {"count": count, "rate": rate, "at_random": at_random, "flush": flush}
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()
        self.published += count
        self._open += 1

    def finish(self) -> list[dict[str, int]]:
        """Wait until everything ordered is published: when each order began and ended (CLOCK_MONOTONIC, ns)."""
        answers = [self._answer() for _ in range(self._open)]
        self._open = 0
        return answers

    @property
    def number(self) -> int:
        """How many messages each run has got."""
        return self.published // self._runs


@dataclass(slots=True)
class Session:
    """A server with clients that have joined, and a publisher."""

    server: Server
    clients: Clients
    publisher: Publisher
    runs: Sequence[str]

    def expected(self, count: int) -> int:
        """Deliveries that `count` messages make."""
        return count * self.clients.count // len(self.runs)


@dataclass(slots=True)
class Stage:
    """What all measurements share."""

    cores: Cores
    valkey: EmbeddedValkey
    failures: dict[str, str] = field(default_factory=dict)
    """What could not be measured, and why."""

    @contextlib.contextmanager
    def server(
        self, measured: MeasuredServer, *, processes: int = 1, environment: Mapping[str, str] | None = None
    ) -> Iterator[Server]:
        """A fresh server on its own core, over an empty Valkey."""
        with redis.Redis.from_url(self.valkey.url) as client:
            client.flushall()
        port = free_port()
        command = ["taskset", "--cpu-list", str(self.cores.server), *measured.serve(port, self.valkey.url, processes)]
        given = _environment({"REDIS_URL": self.valkey.url, **measured.environment, **(environment or {})})
        with (BUILD / f"{measured.name}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=given, stdout=log, stderr=log)
        server = Server(measured, port, process)
        try:
            _wait_until_ready(server)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @contextlib.contextmanager
    def publisher(
        self,
        measured: MeasuredServer,
        port: int,
        runs: int,
        *,
        core: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Publisher]:
        """A publisher for so many runs, by default on the generator's core."""
        command = measured.publish(port, self.valkey.url, runs)
        command = ["taskset", "--cpu-list", str(self.cores.generator if core is None else core), *command]
        given = _environment(environment or {})
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, env=given, stdin=pipe, stdout=pipe, text=True) as process:
            try:
                yield Publisher(process, runs)
            finally:
                assert process.stdin is not None
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()

    @contextlib.contextmanager
    def session(
        self,
        measured: MeasuredServer,
        clients: int,
        runs: int,
        *,
        processes: int = 1,
        environment: Mapping[str, str] | None = None,
        publisher_environment: Mapping[str, str] | None = None,
    ) -> Iterator[Session]:
        """A server, clients that hear their runs, and a publisher that they hear."""
        names = run_names(runs)
        with (
            self.server(measured, processes=processes, environment=environment) as server,
            self.publisher(measured, server.port, runs, environment=publisher_environment) as publisher,
            Clients(measured.target(server.port), names, clients) as joined,
        ):
            session = Session(server, joined, publisher, names)
            join(session)
            yield session


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """This process' environment, from which the peers' interpreter finds this package too."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, **given}


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    measured = server.measured
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            if measured.ready_path:
                server.get(measured.ready_path)
            else:
                socket.create_connection(("127.0.0.1", server.port), 1).close()
            return
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    path = BUILD / f"{measured.name}.log"
    lines = path.read_text(errors="replace").split("\n")
    said = next((line for line in reversed(lines) if line), "nothing")
    raise BenchmarkError(f"{measured.label} does not come up, its last line in {path.relative_to(ROOT)}: {said}")


def join(session: Session) -> None:
    """Connect all clients and publish until each of them hears."""
    clients, publisher = session.clients, session.publisher
    greetings = session.server.measured.greetings * clients.count
    clients.connect(timeout_s=_JOIN_TIMEOUT_S)
    clients.poll_until(
        lambda: clients.counts.greetings + clients.counts.states >= greetings, _JOIN_TIMEOUT_S, "the greetings"
    )
    each = not session.server.measured.opaque
    for _ in range(5):
        clients.reset(publisher.number, each=each)
        publisher.order(len(session.runs))
        with contextlib.suppress(BenchmarkError):
            clients.poll_until(lambda: clients.fewest_messages == 1, 10.0, "the first message")
            break
    else:
        raise BenchmarkError(f"not all clients hear {session.server.measured.label}: {clients.describe()}")
    publisher.finish()
