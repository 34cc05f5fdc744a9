"""A real prefork worker for the tests' Celery application, `celery_tasks.py`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runrelay.outbox import Publisher
from runrelay.publisher import configure
from runrelay.publisher.publish import use_sink
from runrelay.runlog import Keys
from runrelay.settings import PublisherSettings
from tests.support import celery_tasks as tasks

__all__ = ["sending", "worker"]

_DEADLINE_S = 40.0


@contextmanager
def sending(url: str, keys: Keys) -> Iterator[Publisher]:
    """This process sends: its Celery application and its publisher use the server at `url`."""
    tasks.URL = url
    tasks.app.conf.update(broker_url=url, result_backend=url)
    publisher = configure(PublisherSettings(redis_url=url, keys=keys))
    yield publisher
    publisher.close()
    use_sink(None)
    tasks.app.close()


@contextmanager
def worker(
    url: str, prefix: str, *options: str, log: Path | None = None, **environ: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A prefork worker of two processes, ready for tasks. Its output goes to `log`, if that is given."""
    environ = {**os.environ, "REDIS_URL": url, "RUNRELAY_PREFIX": prefix, "TEST_NAME": tasks.NAME, **environ}
    environ["RUNRELAY_WORKER_HEARTBEAT_S"] = "0.2"
    output = None if log is None else log.open("ab")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "celery", "-A", "tests.support.celery_tasks", "worker",
            "--pool", "prefork", "-c", "2", "-l", "warning", "--without-gossip", "--without-mingle", *options,
        ],
        env=environ,
        stdout=output,
        stderr=output,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + _DEADLINE_S
        while not tasks.app.control.ping(timeout=1.0):
            assert process.poll() is None, "the worker has ended"
            assert time.monotonic() < deadline, "the worker does not answer"
        yield process
    finally:
        process.terminate()
        process.wait(_DEADLINE_S)
        if output is not None:
            output.close()
