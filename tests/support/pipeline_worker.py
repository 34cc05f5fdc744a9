"""A real worker for the integration tests of the pipelines, and a run as it is seen in Redis."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import redis

from pipelines.shorts import STEPS
from runrelay.files import run_folder
from runrelay.progress import Event, step_specs
from runrelay.runlog import Batch, Keys, ProducerSequence, RunLog

ON_TIME_S = 150.0
_STOP_S = 20.0
_START = (
    "import json, sys\n"
    "from pipelines.shorts import pipeline\n"
    "run_id, request, attempt = json.load(sys.stdin)\n"
    "pipeline.start(run_id, pipeline.input_model.model_validate(request), attempt)\n"
)


@dataclass
class Live:
    """A worker on a Redis of its own."""

    url: str
    prefix: str
    files: Path
    env: dict[str, str]
    log: Path
    include: str = ""
    process: subprocess.Popen[bytes] | None = None
    client: redis.Redis = field(init=False)

    def __post_init__(self) -> None:
        self.client = redis.Redis.from_url(self.url)

    def start_worker(self, concurrency: int = 2) -> None:
        """Start (or start again) a prefork worker in a process group of its own."""
        arguments = ["-A", "pipelines.app:app", "worker", "--loglevel", "info", "--concurrency", str(concurrency)]
        if self.include:
            arguments += ["--include", self.include]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", *arguments],
                env=self.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill_worker(self) -> None:
        """End the worker with all of its children, as a machine that loses power does."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(_STOP_S)

    def start(self, run_id: str, request: dict[str, Any]) -> int:
        """Queue a run and send its work, as a relay does; returns the attempt."""
        event = Event(
            time.time_ns() // 1_000_000, state="QUEUED", kind="queue", pipeline="shorts", steps=step_specs(STEPS)
        )
        sequence = ProducerSequence.fresh()
        runlog = RunLog(self.url, Keys(self.prefix, f"{self.prefix}:progress"))
        attempt = runlog.commit(Batch(run_id, sequence.producer, sequence.next, [event])).attempt
        runlog.close()
        done = subprocess.run(
            [sys.executable, "-c", _START],
            input=json.dumps([run_id, request, attempt]),
            encoding="utf-8",
            env=self.env,
            capture_output=True,
            timeout=ON_TIME_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return attempt

    def events(self, run_id: str, attempt: int = 1) -> Iterator[dict[str, Any]]:
        """The run's events as they are committed, until the end of `attempt`; fails when that does not come in time."""
        stream, last = f"{self.prefix}:run:{{{run_id}}}:events", "0-0"
        deadline = time.monotonic() + ON_TIME_S
        while True:
            left_ms = round((deadline - time.monotonic()) * 1000)
            assert left_ms > 0, f"run {run_id} has not ended in {ON_TIME_S} s; the worker said:\n{self.said()}"
            reply = cast("Any", self.client.xread({stream: last}, block=min(left_ms, 2000)))
            for _, entries in reply.items() if isinstance(reply, dict) else reply:
                for entry in entries if isinstance(reply, list) else entries[0]:
                    last = entry[0]
                    event = json.loads(entry[1][b"e"])
                    yield event
                    if event["attempt"] >= attempt and event["status"] in ("succeeded", "failed", "cancelled"):
                        return

    def until(self, run_id: str, seen: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The run's first event that `seen` accepts."""
        return next(event for event in self.events(run_id) if seen(event))

    def length(self, run_id: str) -> int:
        """How many events the run has."""
        return int(self.client.xlen(f"{self.prefix}:run:{{{run_id}}}:events"))

    def folder(self, run_id: str) -> Path:
        """Where the run's files lie."""
        return run_folder(self.files, run_id)

    def said(self) -> str:
        """The worker's log."""
        return self.log.read_text(errors="replace")[-6000:]


def film_writers(folder: Path) -> list[int]:
    """The processes that have the half-written film in `folder` open."""
    part = str(folder / "film.part.mp4")
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(link) == part for link in (process / "fd").iterdir()):
                found.append(int(process.name))
        except OSError:
            continue  # it ended while we looked
    return found


@contextmanager
def live_worker(
    url: str, prefix: str, folder: Path, *, include: str = "", path: Path | None = None, **environ: str
) -> Iterator[Live]:
    """A worker with small films, without a key, on the Redis at `url`; it also imports `include` from `path`."""
    paths = [str(path)] if path is not None else []
    env = {
        **os.environ,
        "REDIS_URL": url,
        "RUNRELAY_PREFIX": prefix,
        "RUNRELAY_FILES": str(folder / "files"),
        "RUNRELAY_SHORTS_FORMAT": "144x256@8",
        "RUNRELAY_WORKER_HEARTBEAT_S": "1",
        "C_FORCE_ROOT": "1",
        "PYTHONPATH": os.pathsep.join([*paths, *sys.path]),
        **environ,
    }
    live = Live(url, prefix, folder / "files", env, folder / "worker.log", include)
    live.start_worker()
    try:
        yield live
    finally:
        live.kill_worker()
        live.client.close()
