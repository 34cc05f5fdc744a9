"""Everything on one machine: Valkey, relay and worker as child processes of one process, which ends them all."""

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
    """A child process that ends when this process does, even if that is killed (parent_death.py)."""

    def __init__(self, name: str, command: list[str], env: Mapping[str, str], cwd: Path | None = None) -> None:
        self.name = name
        # Its own session: the terminal's Ctrl-C reaches this process only, which stops the children in order.
        self.process = subprocess.Popen(
            parent_death.command(command, signal.SIGTERM), env=dict(env), cwd=cwd, start_new_session=True
        )

    def stop(self, timeout_s: float = _STOP_S) -> None:
        """Ask it to end (SIGTERM), and kill it after `timeout_s` seconds. Processes that it has started are killed."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout_s)
        # A process group exists while any process is in it, and its number is not given to another one until then.
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
    print_line: Callable[[str], None],
) -> int:
    """Start everything, wait for a signal or for the first child that ends, stop everything. Returns the exit code.

    Args:
        host, port: where the relay listens.
        state: folder for runs and files.
        worker: whether to start a Celery worker.
        reload: whether relay, worker and front end restart when sources change.
        concurrency: processes of the worker.
        channel: shown in the hint for `redis-cli SUBSCRIBE`.
        print_line: prints one line for people.

    Raises:
        OSError: `state` is not a folder that can be written.
        EmbeddedValkeyError: the embedded server cannot be started.
    """
    if not port_is_free(host, 0):
        print_line(f"cannot listen on {host!r}: it is not an address of this machine")
        return 1
    if not port_is_free(host, port):
        print_line(f"port {port} of {host} is taken by another program: choose one with --port (make run PORT=8001)")
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
            print_line(f"valkey     {valkey.url}   debug with: {valkey.redis_cli} SUBSCRIBE {shlex.quote(channel)}")
            if valkey.port_taken:  # these commands use 6379 by default, which is the other server
                print_line(f"           for runrelay tail, runs, publish and demo: export REDIS_URL={valkey.url}")
        else:
            print_line(f"redis      {without_password(env['REDIS_URL'])}")
        module = [sys.executable, "-m", "runrelay.cli"]
        children.append(Child("relay", [*module, "serve", *(["--reload"] if reload else [])], env))
        if worker:
            command = [*module, "worker", "--concurrency", str(concurrency)]
            children.append(Child("worker", [*command, *(["--reload"] if reload else [])], env))
        # not by npm: it does not end the process that it has started
        front_end = Path("frontend").resolve()
        vite = front_end / "node_modules" / ".bin" / "vite"
        if reload and vite.is_file():
            children.append(Child("front end", [str(vite), "build", "--watch"], env, cwd=front_end))
        print_line(f"dashboard  http://{f'[{host}]' if ':' in host else host}:{port}/   (Ctrl-C stops everything)")
        while not stopping.wait(0.2):
            ended = next((child for child in children if child.process.poll() is not None), None)
            if ended is not None:
                print_line(f"the {ended.name} has ended with code {ended.process.returncode}; stopping everything")
                return 1
            if valkey is not None and valkey.pid is None:
                print_line(f"the valkey has ended, its log is in {valkey.log_path}; stopping everything")
                return 1
        print_line("stopping …")
        return 0
    finally:
        # workers first: their last events are committed and delivered while relay and Valkey still run
        began = time.monotonic()
        for child in reversed(children):
            child.stop(max(1.0, _STOP_S - (time.monotonic() - began)))
        if valkey is not None:
            valkey.stop()
