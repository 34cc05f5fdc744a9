"""Who is measured: Runrelay as `runrelay serve` runs it, and the peers."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Final

from ..generator import BenchmarkError, Target
from ..paths import BUILD, HERE, ROOT

__all__ = [
    "CHANNELS",
    "CONTESTANTS",
    "NCHAN",
    "NCHAN_OVER_REDIS",
    "PLAIN",
    "PLAIN_DEFLATE",
    "RUNRELAY",
    "SOCKETIO",
    "MeasuredServer",
    "install_peers",
]

_PEERS: Final = BUILD / "peers"
_REQUIREMENTS: Final = HERE / "servers" / "requirements.txt"
_NCHAN_MODULES: Final = (
    Path("/usr/lib/nginx/modules/ngx_nchan_module.so"),
    Path("/usr/local/lib/nginx/modules/ngx_nchan_module.so"),
)
_DEFLATE: Final = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
"""What Chromium and Firefox offer."""


@dataclass(frozen=True, slots=True)
class MeasuredServer:
    """A server under measurement and how one publishes to it."""

    name: str
    label: str
    serve: Callable[[int, str, int], list[str]]
    """The server's command: port, Redis URL, processes."""
    publish: Callable[[int, str, int], list[str]]
    """The publisher's command: port, Redis URL, how many runs."""
    greetings: int
    """Frames that a client gets before any message."""
    version: Callable[[], str]
    path: Callable[[str, str], str] = lambda run, cursor: f"/ws/{run}"
    hello: bytes = b""
    headers: str = ""
    opaque: bool = False
    """Its messages cannot be looked into, only counted: they are compressed."""
    ready_path: str = ""
    """Answers 200 when clients may come; empty: when the port answers."""
    missing: Callable[[], str] = lambda: ""
    """What is not installed, and how to get it; empty: nothing."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def target(self, port: int) -> Target:
        """What clients of this server connect to."""
        return Target(port, self.path, self.hello, self.headers)


def _runrelay_serve(port: int, redis_url: str, processes: int) -> list[str]:
    del redis_url  # it is in the environment
    program = str(Path(sys.executable).parent / "runrelay")
    return [program, "serve", "--port", str(port), "--workers", str(processes), "--log-level", "warning"]


def _own_publisher(kind: str) -> Callable[[int, str, int], list[str]]:
    def command(port: int, redis_url: str, runs: int) -> list[str]:
        where = f"127.0.0.1:{port}" if kind == "nchan" else redis_url
        return [sys.executable, "-m", "benchmarks.publisher", kind, where, str(runs)]

    return command


def _uvicorn(module: str) -> Callable[[int, str, int], list[str]]:
    def command(port: int, redis_url: str, processes: int) -> list[str]:
        del redis_url  # it is in the environment
        return [
            *(str(_PEERS / "bin" / "uvicorn"), f"benchmarks.servers.{module}:app", "--port", str(port)),
            *("--workers", str(processes), "--backlog", "4096", "--log-level", "error", "--no-access-log"),
        ]

    return command


def _peer_publisher(module: str) -> Callable[[int, str, int], list[str]]:
    def command(port: int, redis_url: str, runs: int) -> list[str]:
        del port
        return [str(_PEERS / "bin" / "python"), "-m", f"benchmarks.servers.{module}", redis_url, str(runs)]

    return command


def _versions(*packages: str) -> Callable[[], str]:
    """Versions of the peers' packages, as pinned."""

    def version() -> str:
        pins = dict(re.findall(r"^([A-Za-z_-]+)(?:\[\w+\])?==(\S+)$", _REQUIREMENTS.read_text(), re.MULTILINE))
        return ", ".join(f"{package} {pins[package]}" for package in packages)

    return version


def _runrelay_version() -> str:
    used = ("runrelay", "uvicorn", "uvloop", "hiredis")
    return ", ".join(f"{package} {metadata.version(package)}" for package in used)


@functools.cache
def _nchan_module() -> Path | None:
    return next((path for path in _NCHAN_MODULES if path.exists()), None)


def _nchan_missing() -> str:
    if shutil.which("nginx", path=_system_path()) is None or _nchan_module() is None:
        return "nginx with its Nchan module is not installed: apt-get install nginx-light libnginx-mod-nchan"
    return ""


def _system_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin"


def _nchan(*, over_redis: bool) -> Callable[[int, str, int], list[str]]:
    def command(port: int, redis_url: str, processes: int) -> list[str]:
        del processes
        nginx, folder = shutil.which("nginx", path=_system_path()), BUILD / "nginx"
        if nginx is None:
            raise BenchmarkError(_nchan_missing())
        upstream, storage = f"upstream redis {{ nchan_redis_server {redis_url}; }}", "nchan_redis_pass redis;"
        folder.mkdir(parents=True, exist_ok=True)
        config = (
            (HERE / "servers" / "nchan.conf")
            .read_text()
            .format(
                module=_nchan_module(),
                folder=folder,
                port=port,
                upstream=upstream if over_redis else "",
                storage=storage if over_redis else "",
            )
        )
        (folder / "nginx.conf").write_text(config)
        return [nginx, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log"), "-p", str(folder)]

    return command


def _nchan_version() -> str:
    nginx = shutil.which("nginx", path=_system_path()) or "nginx"
    said = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
    packages = ["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"]
    module = subprocess.run(packages, capture_output=True, text=True, check=False).stdout
    return f"{said.strip().rpartition(' ')[2]}, nchan {module or 'unknown'}"


RUNRELAY: Final = MeasuredServer(
    "runrelay",
    "Runrelay",
    _runrelay_serve,
    _own_publisher("runrelay"),
    greetings=1,
    version=_runrelay_version,
    path=lambda run, cursor: f"/ws/{run}?after={cursor}" if cursor else f"/ws/{run}",
    ready_path="/readyz",
    # The limits are on; all clients here come from one address.
    environment={
        "RUNRELAY_MAX_CONNECTIONS": "15000",
        "RUNRELAY_MAX_CONNECTIONS_PER_ADDRESS": "15000",
        "RUNRELAY_MAX_CONNECTIONS_PER_RUN": "15000",
        "RUNRELAY_MAX_HALF_OPEN": "15000",
        "RUNRELAY_MAX_HALF_OPEN_PER_ADDRESS": "15000",
    },
)
PLAIN: Final = MeasuredServer(
    "plain",
    "plain loop",
    _uvicorn("plain_loop"),
    _own_publisher("redis"),
    greetings=1,
    version=_versions("fastapi", "uvicorn", "websockets", "uvloop"),
)
PLAIN_DEFLATE: Final = MeasuredServer(
    "plain-deflate",
    "plain loop, deflate",
    _uvicorn("plain_loop"),
    _own_publisher("redis"),
    greetings=1,
    version=PLAIN.version,
    headers=_DEFLATE,
    opaque=True,
)
SOCKETIO: Final = MeasuredServer(
    "socketio",
    "python-socketio",
    _uvicorn("socketio_app"),
    _peer_publisher("socketio_app"),
    greetings=2,  # Engine.IO's open, Socket.IO's connect
    version=_versions("python-socketio", "uvicorn", "websockets"),
    path=lambda run, cursor: f"/socket.io/?EIO=4&transport=websocket&run_id={run}",
    hello=b"\x81\x82\0\0\0\x0040",  # Socket.IO's connect, masked with zeros
)
CHANNELS: Final = MeasuredServer(
    "channels",
    "Django Channels",
    _uvicorn("channels_app"),
    _peer_publisher("channels_app"),
    greetings=1,
    version=_versions("channels", "channels_redis", "Django", "uvicorn"),
)
NCHAN: Final = MeasuredServer(
    "nchan",
    "Nchan",
    _nchan(over_redis=False),
    _own_publisher("nchan"),
    greetings=0,
    version=_nchan_version,
    missing=_nchan_missing,
)
"""It keeps messages in its own memory: they end with it."""
NCHAN_OVER_REDIS: Final = replace(NCHAN, name="nchan-redis", label="Nchan over Redis", serve=_nchan(over_redis=True))
"""The same, but a message is in Redis before anybody gets it, as it is with Runrelay."""
CONTESTANTS: Final = (RUNRELAY, NCHAN, NCHAN_OVER_REDIS, PLAIN, PLAIN_DEFLATE, SOCKETIO, CHANNELS)


def install_peers() -> None:
    """Make the peers' environment, unless it is as pinned. Nothing of it reaches the project's own.

    Raises:
        BenchmarkError: pip could not.
    """
    stamp, wanted = _PEERS / "requirements.sha256", hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("installing the peers into an environment of their own …", flush=True)
    commands = (
        [sys.executable, "-m", "venv", "--clear", str(_PEERS)],
        [str(_PEERS / "bin" / "python"), "-m", "pip", "install", "--quiet", "--requirement", str(_REQUIREMENTS)],
    )
    for command in commands:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkError(f"the peers cannot be installed:\n{done.stderr[-2000:]}")
    stamp.write_text(wanted)
