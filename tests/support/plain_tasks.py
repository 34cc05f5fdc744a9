"""A Celery application whose tasks are sent with `delay()` alone, and log: what somebody tries first."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import redis
from celery import Celery
from celery.utils.log import get_task_logger

from runrelay import RunLogHandler, current_run, flush, publish_progress, run_progress
from runrelay.celery import install
from runrelay.publisher.tqdm import tqdm

URL = os.environ.get("REDIS_URL", "redis://localhost:1/0")
NAME = os.environ.get("TEST_NAME", "plain")

app = Celery(NAME, broker=URL, backend=URL)
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue=NAME,
    broker_transport_options={"global_keyprefix": f"{NAME}-"},
    result_backend_transport_options={"global_keyprefix": f"{NAME}-"},
)
install(app, capture_logs=True)

_log = logging.getLogger("shop.films")
_task_log = get_task_logger("shop.tasks")


def task(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`app.task`, with a type."""
    decorator: Callable[[Callable[..., Any]], Any] = app.task(**options)
    return decorator


def _wait(name: str) -> None:
    client = redis.Redis.from_url(URL)
    client.rpush(f"{NAME}:at:{name}", os.getpid())
    client.blpop([f"{NAME}:go:{name}"], timeout=60)
    client.close()


@task()
def fails(run_id: str) -> None:
    publish_progress(run_id, "WORK", 0.5, "half")
    raise ValueError("the disk is full")


@task()
def returns(run_id: str) -> None:
    publish_progress(run_id, "WORK", 0.5, "half")
    flush()


@task()
def dies(run_id: str) -> None:
    publish_progress(run_id, "WORK", 0.5, "half")
    flush()
    _wait("dies")
    os.kill(os.getpid(), signal.SIGKILL)


@task()
def looks_after_two(one: str, two: str) -> None:
    publish_progress(one, "WORK", 0.5)
    publish_progress(two, "WORK", 0.5)
    raise ValueError("neither's fault")


@task()
def with_block(run_id: str) -> None:
    publish_progress(run_id, "BEFORE", 0.1)
    with run_progress(run_id) as run:
        run.result = {"made": current_run()}


@task(bind=True, max_retries=1)
def retried(self: Any, run_id: str) -> None:
    publish_progress(run_id, log=f"try {self.request.retries}")
    try:
        if self.request.retries < 1:
            raise ConnectionError("no network")
    except ConnectionError as error:
        raise self.retry(countdown=0, exc=error) from error
    publish_progress(run_id, "END")


@task()
def logs(run_id: str) -> None:
    """Sent as a run: its own lines."""
    _log.warning("of %s, by a module's logger", run_id)
    _task_log.warning("of %s, by the task's logger", run_id)
    _wait("logs")


@task()
def bystander(words: str) -> list[Any]:
    """Of no run, beside another task: nothing of it is that task's."""
    _log.warning(words)
    seen = [current_run()]

    def aside() -> None:
        _log.warning(words)
        seen.append(current_run())

    thread = threading.Thread(target=aside)
    thread.start()
    thread.join()
    list(tqdm(range(3), desc=words))
    handler = RunLogHandler()
    handler.handle(logging.LogRecord("shop.films", logging.WARNING, "f.py", 1, words, (), None))
    return seen


@task()
def owner(run_id: str) -> str:
    """Sent as a run: it sends a task that reports to its run, and fails."""
    fails.delay(run_id)
    _wait("owner")
    return "all the same"
