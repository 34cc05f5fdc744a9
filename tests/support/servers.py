"""Real servers for the tests: Valkey (from PyPI) and Debian's redis-server, one process each.

A server keeps its port when it is stopped and started again, which is what a client that reconnects sees. It
ends with the test process, however that ends.
"""

import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from runrelay.cli import parent_death
from runrelay.cli.embedded_valkey import valkey_binary
from runrelay.cli.ports import port_is_free, wait_until_ready

__all__ = ["Server", "free_port", "make_certificate", "redis_server_binary", "valkey_binary"]

HOST = "127.0.0.1"
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 15.0
# Below the range from which the kernel takes ports for outgoing connections (32768 upwards): there, another
# socket could take a stopped server's port, and a client that reconnects to it can even connect to itself.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port that nothing listens on and that no outgoing connection is given."""
    for port in random.sample(_PORTS, 100):
        if port_is_free(HOST, port):
            return port
    raise RuntimeError(f"none of 100 ports tried in {_PORTS.start}..{_PORTS.stop - 1} is free")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate for this machine, signed by itself. Skips the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine (Debian: apt-get install openssl)")
    key, certificate = folder / "tls.key", folder / "tls.crt"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=runrelay-test"
    names = ["-addext", f"subjectAltName=IP:{HOST}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return key, certificate


def redis_server_binary() -> Path | None:
    """Return Debian's redis-server, or None where it is not installed."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


class Server:
    """One server process; nothing runs before `start`.

    Arguments: `binary`, a valkey-server or redis-server; `data_dir`, which must exist and is kept; `config`,
    options by their names in the configuration file. Without options nothing is persisted.
    """

    def __init__(self, binary: Path, data_dir: Path, config: dict[str, str] | None = None) -> None:
        self.binary = binary
        self.data_dir = data_dir
        self.config = {"save": "", "appendonly": "no", **(config or {})}
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id; raises RuntimeError when it is not running."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What the server has logged since it was first started."""
        return (self.data_dir / "server.log").read_text(errors="replace")

    def start(self) -> None:
        """Start, or start again on the same port, and wait until it answers."""
        if self.is_running:
            raise RuntimeError(f"already running as process {self.pid}")
        if self.port:
            self._start()
            return
        for _ in range(5):  # another process may take the port between the look and the start
            self.port = free_port()
            try:
                self._start()
            except ChildProcessError:
                continue
            return
        raise RuntimeError(f"{self.binary.name} does not start:\n{self.log}")

    def _start(self) -> None:
        options = {"bind": HOST, "port": str(self.port), "dir": str(self.data_dir), **self.config}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        with (self.data_dir / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                parent_death.command([str(self.binary), *arguments], signal.SIGKILL),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until_ready(self._process, HOST, self.port, timeout_s=START_TIMEOUT_S)

    def stop(self) -> None:
        """Shut down in order (what is persisted is written) and wait; does nothing when it has ended."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does, and wait for the end."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers, as when a network swallows packets."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._running().send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a paused process does not act on SIGTERM
        process.wait(STOP_TIMEOUT_S)

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"{self.binary.name} on port {self.port} is not running")
        return self._process

    @contextmanager
    def client(self, *, decode_responses: bool = False) -> Iterator["redis.Redis"]:
        """A client of its own for the test to look with; closed at the end."""
        client = redis.Redis(host=HOST, port=self.port, decode_responses=decode_responses, socket_timeout=10)
        try:
            yield client
        finally:
            client.close()

    def accepts_connections(self) -> bool:
        """Say whether something listens on the port."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((HOST, self.port)) == 0
