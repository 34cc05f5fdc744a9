"""Everything on one machine: Valkey, relay and worker as children of one process, which ends them all."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ..runlog.server_url import without_password
from . import parent_death
from .embedded_valkey import EmbeddedValkey
from .ports import port_is_free

__all__ = ["Child", "run_all"]

_STOP_S = 15.0


class Child:
    """One process of several, on a leash: it ends when this process does, however that ends."""

    def __init__(self, name: str, command: list[str], env: Mapping[str, str], cwd: Path | None = None) -> None:
        self.name = name
        # its own group: the terminal's Ctrl-C reaches this process only, which stops the others in order
        self.process = subprocess.Popen(
            parent_death.command(command, signal.SIGTERM), env=dict(env), cwd=cwd, start_new_session=True
        )

    def stop(self, timeout_s: float = _STOP_S) -> None:
        """Ask it to end; after `timeout_s` seconds, make it. What it has started and left behind ends, too."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout_s)
        # A group outlives its leader while anything is in it, and its number is nobody else's till then.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def run_all(
    *,
    host: str,
    port: int,
    state: Path,
    worker: bool,
    reload: bool,
    concurrency: int,
    channel: str,
    say: Callable[[str], None],
) -> int:
    """Start everything, wait for a signal or for the first child that ends, stop everything. Returns the exit code.

    Raises:
        OSError: `state` is not a folder that can be written.
        EmbeddedValkeyError: the embedded server cannot be started.
    """
    if not port_is_free(host, 0):
        say(f"cannot listen on {host!r}: it is not an address of this machine")
        return 1
    if not port_is_free(host, port):
        say(f"port {port} of {host} is taken by another program: choose one with --port (make run PORT=8001)")
        return 1
    state.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "PORT": str(port), "RUNRELAY_HOST": host, "PYTHONUNBUFFERED": "1"}
    env.setdefault("RUNRELAY_FILES", str((state / "files").resolve()))
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())

    valkey = None
    children: list[Child] = []
    try:
        if "REDIS_URL" not in env:
            valkey = EmbeddedValkey(state / "valkey").start()
            env["REDIS_URL"] = valkey.url
            say(f"valkey     {valkey.url}   debug with: {valkey.redis_cli} SUBSCRIBE {shlex.quote(channel)}")
            if valkey.port_taken:  # they look at 6379 by themselves: at the other server
                say(f"           for runrelay tail, runs, publish and demo: export REDIS_URL={valkey.url}")
        else:
            say(f"redis      {without_password(env['REDIS_URL'])}")
        module = [sys.executable, "-m", "runrelay.cli"]
        children.append(Child("relay", [*module, "serve", *(["--reload"] if reload else [])], env))
        if worker:
            command = [*module, "worker", "--concurrency", str(concurrency)]
            children.append(Child("worker", [*command, *(["--reload"] if reload else [])], env))
        # Not by npm, which lets go of what it started when it is told to end.
        front_end = Path("frontend").resolve()
        vite = front_end / "node_modules" / ".bin" / "vite"
        if reload and vite.is_file():
            children.append(Child("front end", [str(vite), "build", "--watch"], env, cwd=front_end))
        say(f"dashboard  http://{f'[{host}]' if ':' in host else host}:{port}/   (Ctrl-C stops everything)")
        while not stopping.wait(0.2):
            ended = next((child for child in children if child.process.poll() is not None), None)
            if ended is not None:
                say(f"the {ended.name} has ended with code {ended.process.returncode}; stopping everything")
                return 1
            if valkey is not None and valkey.pid is None:
                say(f"the valkey has ended, its log is in {valkey.log_path}; stopping everything")
                return 1
        say("stopping …")
        return 0
    finally:
        # workers first: what they still say is committed and shown while the others are there
        began = time.monotonic()
        for child in reversed(children):
            child.stop(max(1.0, _STOP_S - (time.monotonic() - began)))
        if valkey is not None:
            valkey.stop()
