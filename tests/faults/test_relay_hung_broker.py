"""A broker that accepts connections and does not answer, or answers late: what else a relay does goes on, and work
that is sent after its run was answered 503 is not done.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery import Celery, Signature, chain, group

from runrelay.celery import send
from runrelay.files import run_folder
from runrelay.pipelines import Pipeline
from runrelay.progress import Event
from runrelay.publisher import configure
from runrelay.publisher.publish import use_sink
from runrelay.runlog import Keys
from runrelay.settings import PublisherSettings
from tests.support import celery_tasks as tasks
from tests.support.celery_worker import worker
from tests.support.clients import DEADLINE_S, eventually
from tests.support.late_broker import LateBroker
from tests.support.recording_pipeline import Input, Works, problem, start_run
from tests.support.relay import Producer, StartProcess, StartRelay
from tests.support.servers import Server

HANGS_S = 60.0


@pytest.fixture
def hung() -> Iterator[LateBroker]:
    """A broker that accepts and never answers."""
    broker = LateBroker()
    yield broker
    broker.close()


@pytest.fixture
def late(valkey_server: Server) -> Iterator[LateBroker]:
    """A broker that accepts and answers when it is told to."""
    broker = LateBroker(valkey_server.port)
    yield broker
    broker.close()


def _sends_to(broker: LateBroker) -> Pipeline:
    """A pipeline whose Celery application has no time-outs: a start waits for ever."""
    app = Celery("hung", broker=f"redis://127.0.0.1:{broker.port}/0")
    app.conf.update(task_ignore_result=True, broker_pool_limit=None)

    def start(run_id: str, value: Input, attempt: int) -> None:
        app.send_task("nobodys", task_id=run_id)

    return Pipeline("test", "Hung", Input, start, steps={})


async def test_files_and_deletions_do_not_wait_behind_a_broker_that_hangs(
    start_relay: StartRelay, producer: Producer, hung: LateBroker, tmp_path: Path
) -> None:
    """Starts that hang must not take the threads that read files and delete runs; and beyond a bound they are refused
    at once, with the time to come back.
    """
    relay = await start_relay(
        {"test": _sends_to(hung)}, files=tmp_path, pipeline_threads=4, pipeline_waiting=8, pipeline_timeout_s=HANGS_S
    )
    await producer.say("ended", "END")
    folder = run_folder(tmp_path, "ended")
    folder.mkdir()
    (folder / "film.mp4").write_bytes(b"film")
    starts = [asyncio.create_task(start_run(relay, f"hangs-{n}"), name="start") for n in range(40)]
    try:
        await eventually(lambda: hung.accepted.acquire(blocking=False), "a start hangs")
        await eventually(lambda: sum(start.done() for start in starts) >= 28, "the others are refused")
        async with asyncio.timeout(DEADLINE_S / 3):
            assert (await relay.http.get(relay.run("ended", "/files/film.mp4"))).content == b"film"
            assert (await relay.http.delete(relay.run("ended"))).status_code == 204
        refused = [start.result() for start in starts if start.done()]
        assert len(refused) == 28
        for answer in refused:
            assert "12 calls are being made or wait" in problem(answer, 503)["detail"]
            assert int(answer.headers["retry-after"]) > 0
        listed = (await relay.http.get("/api/runs")).json()["runs"]
        assert len(listed) == 12, "a refused start leaves no run"
    finally:
        for start in starts:
            start.cancel()
        await asyncio.gather(*starts, return_exceptions=True)


async def test_a_start_that_waits_and_is_given_up_is_never_sent(start_relay: StartRelay, works: Works) -> None:
    """A caller that was told 503 while its start waited for a sender must not find its work done later."""
    go_on, at_work = threading.Event(), threading.Event()

    def start(run_id: str, value: Input, attempt: int) -> None:
        at_work.set()
        assert go_on.wait(DEADLINE_S)
        works.start(run_id, value, attempt)

    pipeline = Pipeline("test", "Slow", Input, start)
    relay = await start_relay({"test": pipeline}, pipeline_threads=1, pipeline_timeout_s=0.4)
    try:
        first = asyncio.create_task(start_run(relay, "in-the-middle"), name="first")
        await eventually(at_work.is_set, "the first start is being made")
        second = await start_run(relay, "waits")
        assert problem(second, 503)["run_id"] == "waits"
        problem(await first, 503)
        held = problem(await start_run(relay, "comes-later"), 503)["detail"]
        assert "in calls that do not return" in held
        go_on.set()
        await eventually(lambda: works.started, "the first start has ended")
        assert (await start_run(relay, "well")).status_code == 202
        assert [run_id for run_id, _, _ in works.started] == ["in-the-middle", "well"]
        for run_id in ("in-the-middle", "waits"):
            assert (await relay.http.get(relay.run(run_id))).json()["status"] == "failed"
        assert (await relay.http.get(relay.run("comes-later"))).status_code == 404
    finally:
        go_on.set()


@pytest.mark.parametrize("condition", ["unbegun", None], ids=["safe", "control"])
async def test_a_start_that_was_sent_after_all_is_not_called_off(
    start_relay: StartRelay, producer: Producer, condition: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has begun before the relay gives up goes on, and the caller hears 202."""
    if condition is None:
        from runrelay.relay.withdrawals import Withdrawals

        commit = Withdrawals._commit

        async def without(self: Withdrawals, withdrawal: Any) -> bool:
            return await commit(self, withdrawal._replace(event=withdrawal.event._replace(precondition=None)))

        monkeypatch.setattr(Withdrawals, "_commit", without)
    go_on, at_work = threading.Event(), threading.Event()

    def start(run_id: str, value: Input, attempt: int) -> None:
        at_work.set()
        assert go_on.wait(DEADLINE_S)

    relay = await start_relay({"test": Pipeline("test", "Slow", Input, start)}, pipeline_timeout_s=1)
    try:
        asked = asyncio.create_task(start_run(relay, "begins"), name="start")
        await eventually(at_work.is_set, "it is being sent")
        await producer.commit("begins", [Event(1, state="STARTED", kind="start", base_attempt=1)])
        answer = await asked
        status = (await relay.http.get(relay.run("begins"))).json()["status"]
        assert (answer.status_code, status) == ((202, "running") if condition else (503, "failed"))
    finally:
        go_on.set()


async def test_a_start_that_fails_while_redis_is_away_is_called_off_later(
    start_relay: StartRelay, start_valkey: Callable[..., Server], prefix: str
) -> None:
    """A run whose start failed in an outage must not wait as queued for ever."""
    server = start_valkey(appendonly="yes", appendfsync="always")
    stopped = threading.Event()

    def start(run_id: str, value: Input, attempt: int) -> None:
        assert stopped.wait(DEADLINE_S)
        raise ConnectionError("no broker")

    relay = await start_relay({"test": Pipeline("test", "Away", Input, start)}, redis_url=server.url)
    asked = asyncio.create_task(start_run(relay, "away"), name="start")
    with server.client() as look:
        await eventually(lambda: look.exists(Keys(prefix, "").run("away")[0]), "the run is queued")
    server.stop()
    stopped.set()
    problem(await asked, 503)
    server.start()
    await eventually(lambda: relay.relay.ready, "Redis is back")

    def status() -> bytes | None:
        with server.client() as look:
            found: bytes | None = look.hget(Keys(prefix, "").run("away")[0], "status")  # type: ignore[assignment]
            return found

    await eventually(lambda: status() == b"failed", "the run has ended")


@pytest.fixture
def late_pipeline(late: LateBroker, valkey_server: Server, keys: Keys) -> Iterator[Pipeline]:
    """Sends the tests' tasks, single or as a canvas, through the late broker. The worker's own is on time."""
    tasks.URL = valkey_server.url
    tasks.app.conf.update(broker_url=valkey_server.url, result_backend=valkey_server.url)
    sender = Celery("sender", broker=f"redis://127.0.0.1:{late.port}/0")
    sender.conf.update(
        task_ignore_result=True,
        task_default_queue=tasks.NAME,
        broker_transport_options=tasks.app.conf.broker_transport_options,
    )
    publisher = configure(PublisherSettings(redis_url=valkey_server.url, keys=keys))

    def start(run_id: str, value: Input, attempt: int) -> None:
        def part(n: int) -> Signature:
            return sender.signature(tasks.counted.name, (None, run_id, f"{run_id}-{n}"), immutable=True)

        shapes = {"single": part(1), "chain": chain(part(1), part(2)), "group": group(part(1), part(2))}
        send(shapes[value.prompt], run_id, attempt=attempt)

    yield Pipeline("test", "Late", Input, start)
    publisher.close()
    use_sink(None)
    sender.close()
    tasks.app.close()


@pytest.mark.slow
@pytest.mark.parametrize("gate", [True, False], ids=["safe", "control"])
@pytest.mark.parametrize("shape", ["single", "chain", "group"])
async def test_work_that_is_sent_late_is_not_done(
    start_relay: StartRelay, valkey_server: Server, late: LateBroker, late_pipeline: Pipeline, prefix: str,
    tmp_path: Path, shape: str, gate: bool,
) -> None:  # fmt: skip
    """The broker takes the message after the caller was told 503: the run stays FAILED, and no line of the work is
    executed; a retry's work is.
    """
    relay = await start_relay({"test": late_pipeline}, pipeline_timeout_s=0.5)
    run_id = f"{shape}-{prefix}"
    answer = await start_run(relay, run_id, input={"prompt": shape})
    assert problem(answer, 503)["run_id"] == run_id
    off = {} if gate else {"TEST_NO_GATE": "1"}
    log = tmp_path / "worker.log"
    with valkey_server.client() as look:

        def count(n: int) -> int:
            return int(look.get(f"{tasks.NAME}:count:{run_id}-{n}") or 0)

        with await asyncio.to_thread(_entered, worker(valkey_server.url, prefix, log=log, **off)):
            late.release()
            if not gate:
                await eventually(lambda: count(1), "the late work is done")
                return
            heard = 2 if shape == "group" else 1
            await eventually(lambda: log.read_text().count("is not executed") == heard, "it is left", 2 * DEADLINE_S)
            assert count(1) == count(2) == 0
            run = (await relay.http.get(relay.run(run_id))).json()
            assert (run["status"], run["attempt"]) == ("failed", 1)
            assert (await relay.http.post(relay.run(run_id, "/retry"))).json()["attempt"] == 2
            parts = 1 if shape == "single" else 2
            await eventually(lambda: [count(n + 1) for n in range(parts)] == [1] * parts, "the retry's is done")


class _entered:
    """A context manager whose entrance has been waited for in a thread."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self.value = manager.__enter__()

    def __enter__(self) -> Any:
        return self.value

    def __exit__(self, *error: object) -> None:
        self._manager.__exit__(*error)


@pytest.mark.slow
def test_a_relay_whose_broker_hangs_ends_when_it_is_told_to(start_process: StartProcess, hung: LateBroker) -> None:
    """A thread that waits for the broker must not keep the process: a supervisor would have to kill it."""
    broker = {"CELERY_BROKER_URL": f"redis://127.0.0.1:{hung.port}/0"}
    relay = start_process(environ=broker, pipeline_timeout_s=0.5)
    with httpx.Client(trust_env=False, timeout=30) as http:
        answer = http.post(f"{relay.url}/api/runs", json={"pipeline": "shorts", "input": {"prompt": "a cat"}})
    assert answer.status_code == 503, answer.text
    began_s = time.monotonic()
    relay.signal(signal.SIGTERM)
    relay.wait(30)
    assert time.monotonic() - began_s < 4, "it waited for its sender"


_START = """
import sys, time
from pipelines.shorts import pipeline
began = time.monotonic()
try:
    if sys.argv[1] == "start":
        pipeline.start("r", pipeline.input_model(prompt="x"), 1)
    else:
        pipeline.cancel("r", 1)
except Exception as error:
    print(type(error).__name__, time.monotonic() - began)
"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["redis", "amqp"])
@pytest.mark.parametrize("what", ["start", "cancel"])
def test_the_reference_application_gives_up_a_broker_that_hangs(
    hung: LateBroker, redis_url: str, scheme: str, what: str
) -> None:
    """Without time-outs of its own a sender waits for ever, and after a few starts none is left."""
    environ = {**os.environ, "REDIS_URL": redis_url, "CELERY_BROKER_URL": f"{scheme}://127.0.0.1:{hung.port}/0"}
    done = subprocess.run(
        [sys.executable, "-c", _START, what], env=environ, capture_output=True, text=True, timeout=30, check=True
    )
    name, seconds = done.stdout.split()
    assert name == "OperationalError"
    assert float(seconds) < 10
