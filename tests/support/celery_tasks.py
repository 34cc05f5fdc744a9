"""A Celery application for tests: tasks that do one thing each, and wait for the test by Redis lists and counters."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import redis
from celery import Celery, chain, chord, group
from celery.exceptions import Ignore, Reject

from runrelay import current_run, flush, publish_progress, run_progress
from runrelay.celery import install, signals

URL = os.environ.get("REDIS_URL", "redis://localhost:1/0")
NAME = os.environ.get("TEST_NAME", "test")

app = Celery(NAME, broker=URL, backend=URL)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    task_default_queue=NAME,
    broker_transport_options={"global_keyprefix": f"{NAME}-"},
    result_backend_transport_options={"global_keyprefix": f"{NAME}-"},
)
if "TEST_NO_GATE" in os.environ:  # the control: without the gate
    signals.Installation._why_unwanted = lambda self, task: None  # type: ignore[method-assign]
install(app)


def task(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`app.task`, with a type."""
    decorator: Callable[[Callable[..., Any]], Any] = app.task(**options)
    return decorator


def _gate(name: str) -> None:
    """Report to the test that a task has arrived, and wait until the test lets one go on."""
    client = redis.Redis.from_url(URL)
    client.rpush(f"{NAME}:at:{name}", os.getpid())
    client.blpop([f"{NAME}:go:{name}"], timeout=60)
    client.close()


def _count(name: str) -> int:
    client = redis.Redis.from_url(URL)
    try:
        return int(client.incr(f"{NAME}:count:{name}"))
    finally:
        client.close()


@task()
def good(run_id: str) -> dict[str, int]:
    publish_progress(run_id, "WORK", 0.5, "half")
    return {"answer": 42}


@task()
def many(run_id: str, lines: int) -> int:
    for i in range(lines):
        publish_progress(run_id, "WORK", i / lines, f"line {i}")
    return os.getpid()


@task()
def bad(run_id: str) -> None:
    publish_progress(run_id, "WORK", 0.5)
    raise ValueError("the disk is full")


@task(bind=True, max_retries=3)
def flaky(self: Any, run_id: str) -> str:
    publish_progress(run_id, log=f"try {self.request.retries}")
    try:
        if self.request.retries < 1:
            raise ConnectionError("no network")
    except ConnectionError as error:
        raise self.retry(countdown=0, exc=error) from error
    return "at last"


@task(bind=True)
def not_yet(self: Any, run_id: str) -> None:
    if self.request.retries < 1:
        raise self.retry(countdown=0)


@task(bind=True)
def replaced(self: Any, run_id: str) -> None:
    raise self.replace(good.s(run_id))


@task(bind=True)
def replaced_by_canvas(self: Any, run_id: str, shape: str) -> None:
    shapes = {
        "chain": lambda: chain(begin.si("nobodys"), good.si(run_id)),
        "chord": lambda: chord([begin.si("nobodys")] * 2, good.si(run_id)),
        "failing chain": lambda: chain(says.si(run_id), no_disk.si(), good.si(run_id)),
        "failing group": lambda: group(says.si(run_id), no_disk.si()),
        "failing chord": lambda: chord([says.si(run_id), no_disk.si()], good.si(run_id)),
    }
    raise self.replace(shapes[shape]())


@task()
def says(run_id: str) -> None:
    publish_progress(run_id, log=f"a part of {current_run()}")


@task()
def no_disk() -> None:
    raise OSError("no disk")


@task(autoretry_for=(OSError,), max_retries=2, retry_backoff=False, default_retry_delay=0)
def automatic(previous: Any, run_id: str) -> str:
    if _count(run_id) == 1:
        raise OSError("once")
    return "in the end"


@task()
def with_block(run_id: str) -> None:
    with run_progress(run_id, title="A block") as run:
        with run.span(0.0, 0.5, state="FIRST"):
            run.update(0.5, log="a quarter")
        run.result = {"made": "by the block"}


@task(bind=True, max_retries=1)
def flaky_block(self: Any, run_id: str) -> None:
    try:
        with run_progress(run_id):
            if self.request.retries < 1:
                raise ConnectionError("in the block")
    except ConnectionError as error:
        raise self.retry(countdown=0, exc=error) from error


@task()
def gated(run_id: str, gate: str) -> str:
    publish_progress(run_id, "BEFORE", 0.3, f"before {gate}")
    flush()
    _gate(gate)
    publish_progress(run_id, "AFTER", 0.9, f"after {gate}")
    return gate


@task()
def gated_step(run_id: str, gate: str) -> None:
    """A run of one task, which makes a step of its own."""
    with run_progress(run_id) as run, run.step("render"):
        _gate(gate)


@task()
def killed_once(run_id: str) -> str:
    publish_progress(run_id, "WORK", 0.6, "about to")
    flush()
    if _count(run_id) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


@task()
def killed_then_gated(run_id: str) -> None:
    if _count(run_id) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    _gate(run_id)


@task()
def says_it_badly() -> None:
    class Unlucky(Exception):
        """An error that cannot be pickled: its class cannot be found by its name."""

    raise Unlucky("13", 7)


@task(bind=True)
def says_it_badly_once(self: Any) -> None:
    class Unlucky(Exception):
        """An error that cannot be pickled."""

    if self.request.retries == 0:
        raise self.retry(countdown=0.5, exc=Unlucky("13", 7))


@task(time_limit=1)
def too_long(run_id: str) -> None:
    publish_progress(run_id, "WORK", 0.1)
    _gate(run_id)


@task()
def part(previous: Any, run_id: str) -> str:
    """A member of a canvas."""
    publish_progress(run_id, "PARTS", 0.5, "half of a part")
    return "part"


@task()
def counted(previous: Any, run_id: str, name: str) -> None:
    """Work that the test can see, whatever becomes of its run."""
    _count(name)


@task()
def begin(run_id: str) -> str:
    publish_progress(run_id, "BEGIN", 1.0)
    return "begun"


@task()
def finish(previous: Any, run_id: str) -> dict[str, Any]:
    return {"parts": previous}


@task()
def bad_part(previous: Any, run_id: str) -> None:
    raise RuntimeError("a part broke")


@task()
def sends_another(run_id: str) -> None:
    """A task that is sent from a task is not part of its run."""
    bystander.delay()


@task()
def bystander() -> None:
    _gate("bystander")
    raise ValueError("nobody's run")


@task()
def killed_part(previous: Any, run_id: str) -> str:
    publish_progress(run_id, None, 0.7, "about to")
    flush()
    if _count(run_id) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


# Members of canvases, and the ways in which a task ends


@task()
def told(*previous: Any, run_id: str, name: str = "told") -> Any:
    """A member that says one line, and returns what it was given, and its name."""
    publish_progress(run_id, log=f"{name} was here")
    return [*previous, name]


@task()
def breaks(*previous: Any, run_id: str, after: str | None = None) -> None:
    if after is not None:
        _gate(after)
    raise RuntimeError("a part broke")


@task()
def waits(*previous: Any, run_id: str, gate: str) -> str:
    _gate(gate)
    publish_progress(run_id, log=f"after {gate}")
    return gate


@task(bind=True)
def ends_as(self: Any, *previous: Any, run_id: str, how: str) -> Any:
    """A task that ends in one of the ways that Celery does not signal as success or failure."""
    publish_progress(run_id, log=f"ends as {how}")
    if how == "ignore":
        raise Ignore("somebody else has done it")
    if how == "ignore as failed":
        meta = {"exc_type": "ValueError", "exc_message": ["no disk"], "exc_module": "builtins"}
        self.update_state(state="FAILURE", meta=meta)
        raise Ignore
    if how == "ignore as succeeded":
        self.update_state(state="SUCCESS", meta={"answer": 7})
        raise Ignore
    if how == "reject":
        raise Reject("not for us", requeue=False)
    if how == "reject once" and _count(f"reject {run_id}") == 1:
        raise Reject("try another", requeue=True)
    if how == "retry that cannot be sent":
        raise self.retry(countdown=0, serializer="no such")
    if how == "enough":
        self.request.chain = None
    if how == "not json":
        return object()
    if how == "own words":
        publish_progress(run_id, "FAILED", error="by its own words")
        raise RuntimeError("and an exception")
    return how


@task(acks_late=False)
def exits(*previous: Any, run_id: str) -> None:
    sys.exit(3)


@task()
def add(x: int, y: int) -> int:
    return x + y
