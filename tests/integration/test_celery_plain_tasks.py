"""Celery tasks that are sent with `delay()` alone, beside others, and what they log; with real workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from celery import chain

from runrelay.celery import send
from runrelay.publisher import configure
from runrelay.publisher.publish import use_sink
from runrelay.runlog import Keys, RunLog
from runrelay.settings import PublisherSettings
from tests.support import plain_tasks as tasks
from tests.support.announced import Watch
from tests.support.servers import Server

pytestmark = pytest.mark.slow
_DEADLINE_S = 40.0
KEYS = Keys("pla", "pla:progress")


@contextmanager
def _worker(url: str, pool: str, queue: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [
            sys.executable, "-m", "celery", "-A", "tests.support.plain_tasks", "worker", "-n", f"{pool}@%h",
            "-Q", queue, "--pool", pool, "-c", "2", "-l", "info",
            "--without-gossip", "--without-mingle", "--without-heartbeat",
        ],
        env={
            **os.environ, "REDIS_URL": url, "RUNRELAY_PREFIX": KEYS.prefix, "TEST_NAME": tasks.NAME,
            "RUNRELAY_WORKER_HEARTBEAT_S": "0.2",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(_DEADLINE_S)


@pytest.fixture(scope="module")
def running(valkey_server: Server) -> Iterator[None]:
    """A prefork worker on the queue `plain`, and one of threads on `plain-threads`."""
    url = tasks.URL = valkey_server.url
    tasks.app.conf.update(broker_url=url, result_backend=url)
    configure(PublisherSettings(redis_url=url, keys=KEYS))
    with ExitStack() as stack:
        processes = [stack.enter_context(_worker(url, pool, queue)) for pool, queue in _WORKERS.items()]
        deadline = time.monotonic() + _DEADLINE_S
        while len(tasks.app.control.ping(timeout=1.0)) < len(processes):
            assert all(process.poll() is None for process in processes), "a worker has ended"
            assert time.monotonic() < deadline, "the workers do not answer"
        yield
    use_sink(None)
    tasks.app.close()


_WORKERS = {"prefork": tasks.NAME, "threads": f"{tasks.NAME}-threads"}


@pytest.fixture
def watch(valkey_server: Server, running: None) -> Iterator[Watch]:
    with valkey_server.client() as client:
        watching = Watch(client, KEYS)
        yield watching
        watching.close()


def _logged(watch: Watch, run_id: str) -> list[str]:
    return [event["log"] for event in watch.of(run_id) if event["log"]]


def test_a_run_fails_with_the_task_that_publishes_to_it(watch: Watch) -> None:
    """A run that is shown as running for a day, because its task was sent without the header and has failed."""
    tasks.fails.delay("p-fails")
    end = watch.ended("p-fails")
    assert (end["status"], end["error"].splitlines()[0]) == ("failed", "ValueError: the disk is full")
    assert end["attempt"] == 1


def _alive(watch: Watch, run_id: str) -> bool:
    return watch.client.zscore(KEYS.alive, run_id) is not None


def _eventually(watch: Watch, run_id: str, alive: bool) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while _alive(watch, run_id) is not alive:
        assert time.monotonic() < deadline, f"alive is not {alive}"
        time.sleep(0.01)


def test_a_run_whose_worker_dies_can_become_stalled(watch: Watch) -> None:
    """A run of a dead worker that is shown as running for a day: no heartbeat was ever sent for it."""
    tasks.dies.delay("p-dies")
    watch.until(lambda e: e["run_id"] == "p-dies")
    _eventually(watch, "p-dies", alive=True)  # from now on, silence makes the reaper mark it
    watch.client.rpush(f"{tasks.NAME}:go:dies", 1)


def test_a_run_whose_task_returns_does_not_become_stalled(watch: Watch) -> None:
    """`stalled: no heartbeat` said of a run whose task has simply returned, and which others go on with."""
    log = RunLog(tasks.URL, KEYS)
    tasks.returns.apply_async(("p-returns",)).get(timeout=_DEADLINE_S)
    log.heartbeat(["p-returns"])  # as if the task had been seen by the heartbeat just before its end
    tasks.returns.apply_async(("p-returns",)).get(timeout=_DEADLINE_S)
    log.close()
    _eventually(watch, "p-returns", alive=False)
    assert watch.fields("p-returns")["status"] == "running"


def test_a_task_that_publishes_to_several_runs_fails_none_of_them(watch: Watch) -> None:
    """A supervisor that fails, and with it all runs that it looks after."""
    with pytest.raises(ValueError, match="neither"):
        tasks.looks_after_two.delay("p-one", "p-two").get(timeout=_DEADLINE_S)
    assert [watch.fields(run_id)["status"] for run_id in ("p-one", "p-two")] == ["running", "running"]


def test_a_run_that_has_an_owner_is_not_failed_by_others(watch: Watch) -> None:
    """A run that fails, and whose task is no longer heard, because a task that it has sent has failed."""
    send(tasks.owner.s("p-owned"), "p-owned")
    watch.until(lambda e: e["run_id"] == "p-owned" and e["log"] == "half")
    with pytest.raises(ValueError, match="full"):  # in the same process, which is the only one that is free
        tasks.fails.delay("p-owned").get(timeout=_DEADLINE_S)
    assert watch.fields("p-owned")["status"] == "running"
    watch.client.rpush(f"{tasks.NAME}:go:owner", 1)
    end = watch.ended("p-owned")
    assert (end["status"], end["result"], end["attempt"]) == ("succeeded", "all the same", 1)


def test_a_block_in_such_a_task_is_its_own_run(watch: Watch) -> None:
    """A block that takes the task for its run's, which does not end it: the run never ends."""
    tasks.with_block.delay("p-block")
    end = watch.ended("p-block")
    assert (end["status"], end["result"], end["attempt"]) == ("succeeded", {"made": "p-block"}, 1)


def test_such_a_task_may_be_retried(watch: Watch) -> None:
    """A run that has failed for good when its task is only retried."""
    tasks.retried.delay("p-retried")
    assert watch.ended("p-retried")["status"] == "succeeded"
    assert [event["status"] for event in watch.of("p-retried") if event["status"] == "retrying"] == ["retrying"]
    assert _logged(watch, "p-retried")[:2] == ["try 0", "retrying: ConnectionError: no network"]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_lines_of_one_task_are_not_in_another_s_run(watch: Watch, pool: str) -> None:
    """Lines, bars and threads of a task of no run that go into the run of the only other task in the process; and a
    task's own lines that are lost, because Celery has taken the handler away."""
    run_id, queue = f"l-{pool}", _WORKERS[pool]
    send(tasks.logs.s(run_id), run_id, queue=queue)
    watch.client.blpop([f"{tasks.NAME}:at:logs"], timeout=int(_DEADLINE_S))
    seen: Any = tasks.bystander.apply_async((f"aside-{pool}",), queue=queue).get(timeout=_DEADLINE_S)
    watch.client.rpush(f"{tasks.NAME}:go:logs", 1)
    watch.ended(run_id)
    assert seen == [None, None]
    assert _logged(watch, run_id) == [f"of {run_id}, by a module's logger", f"of {run_id}, by the task's logger"]
    assert not [event for event in watch.events if "aside" in (event["log"] or "")]


def test_a_run_whose_task_no_worker_knows_fails(watch: Watch) -> None:
    """A run that stays queued for ever, because the worker has thrown its message away."""
    send(tasks.app.signature("shop.nobody"), "u-single")
    end = watch.ended("u-single")
    assert (end["status"], "has no task of the name 'shop.nobody'" in end["error"]) == ("failed", True)
    send(chain(tasks.app.signature("shop.nobody"), tasks.logs.si("u-chain")), "u-chain")
    end = watch.ended("u-chain")
    assert (end["status"], "has no task of the name" in end["error"]) == ("failed", True)
