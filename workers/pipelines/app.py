"""The Celery application of the reference pipelines: `celery -A pipelines.app:app worker`."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Final, ParamSpec, Protocol, cast

from celery import Celery, Signature

from pipelines.settings import WorkerSettings
from runrelay.celery import install
from runrelay.pipelines import ENTRY_POINT_GROUP

__all__ = ["TaskOf", "app", "settings", "task"]

_P = ParamSpec("_P")

_TIME_LIMIT_S: Final = 300
_SOFT_TIME_LIMIT_S: Final = 240
_VISIBILITY_S: Final = 600
"""The broker delivers a message again if its worker has not acknowledged it by then. It must exceed the time limit."""
_BROKER_TIMEOUT_S: Final = 2.0
"""The timeout for a broker that accepts the connection and does not answer. Two retries make it three times, within the
ten seconds that a relay waits. It must exceed the second for which a worker's BRPOP waits."""
_RESULT_TIMEOUT_S: Final = 10.0
"""The timeout for the result store. It may be longer, because only workers wait for it, and they retry."""

settings: Final = WorkerSettings.from_env(os.environ)


def _task_modules() -> list[str]:
    """The modules with the tasks of this package's pipelines: tasks.py beside each entry point."""
    modules = [entry.module for entry in entry_points(group=ENTRY_POINT_GROUP)]
    return [f"{module}.tasks" for module in modules if module.startswith("pipelines.")]


app: Final = Celery(
    "pipelines",
    broker=settings.broker.url,
    backend=settings.results.url,
    include=_task_modules(),
)
app.conf.update(
    # A task is acknowledged after its end. So another worker runs the tasks of a killed worker again.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_track_started=True,
    task_time_limit=_TIME_LIMIT_S,
    task_soft_time_limit=_SOFT_TIME_LIMIT_S,
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=_BROKER_TIMEOUT_S,
    redis_socket_connect_timeout=_BROKER_TIMEOUT_S,
    redis_socket_timeout=_RESULT_TIMEOUT_S,
    # A relay that starts a run waits for the send: without a broker it must fail within seconds.
    task_publish_retry_policy={"max_retries": 2, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5},
    result_expires=3600,
    result_backend_transport_options={"global_keyprefix": "pipelines:", **settings.results.transport_options},
)
if settings.broker.url.startswith(("redis", "valkey", "sentinel")):
    app.conf.broker_transport_options = {
        "visibility_timeout": _VISIBILITY_S,
        "socket_connect_timeout": _BROKER_TIMEOUT_S,
        # Without a timeout, a sender and a polling worker would wait for ever for a Redis that hangs.
        "socket_timeout": _BROKER_TIMEOUT_S,
        "global_keyprefix": "pipelines:",
        **settings.broker.transport_options,
    }
if settings.broker.use_ssl is not None:
    app.conf.broker_use_ssl = settings.broker.use_ssl
if settings.results.use_ssl is not None:
    app.conf.redis_backend_use_ssl = settings.results.use_ssl
install(app)


class TaskOf(Protocol[_P]):
    """A Celery task with the types of its arguments."""

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> object:
        """Run the task in this process."""

    def si(self, *args: _P.args, **kwargs: _P.kwargs) -> Signature:
        """A signature with exactly these arguments: the result of an earlier task of a chain is not added."""


def task(name: str, **options: Any) -> Callable[[Callable[_P, object]], TaskOf[_P]]:
    """`app.task` with types, which Celery does not have."""
    return cast("Callable[[Callable[_P, object]], TaskOf[_P]]", app.task(name=name, **options))
