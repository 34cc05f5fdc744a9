"""A worker is killed, comes too late, or has a wrong clock; the broker is restarted under it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runrelay.cli import parent_death
from tests.support.publisher_process import ROOT
from tests.support.servers import Server
from tests.support.stage import RUNS, OpenStage, Stage

StartServer = Callable[..., Server]


# Killed


async def _killed_after_a_flush(stage: Stage, broken: str = "") -> None:
    """A worker that believes its lines to be committed is killed; another goes on. Redis stands still meanwhile."""
    await stage.relay()
    publisher = await stage.publisher(RUNS, broken=broken)
    await stage.begin(publisher, 100)
    stage.watch(RUNS)
    await stage.begun()
    assert (await publisher.order("flush", 10))["committed"]
    stage.server.pause()
    for _ in range(5):  # the first may be on its way, and is carried out when Redis goes on
        await publisher.order("say", 20)
        await publisher.order("flush", 0.2)
    await publisher.kill()
    stage.server.resume()
    another = await stage.publisher(RUNS, 1)
    await another.order("go", 100)
    await stage.flowing()
    await stage.finish()


async def test_a_killed_worker(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """A line that `flush` has said is committed, and that is lost; a run whose next worker is not heard."""
    async with open_stage(start_valkey()) as stage:
        await _killed_after_a_flush(stage)


async def test_a_killed_worker_whose_flush_does_not_wait(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """The control."""
    async with open_stage(start_valkey(), patience_s=8.0) as stage:
        with pytest.raises(AssertionError, match="acknowledged lines are lost"):
            await _killed_after_a_flush(stage, "no_waiting")


# Too late


async def _late(stage: Stage, broken: str = "") -> None:
    """The run has ended, and a worker that does not know goes on telling of it."""
    await stage.relay(end_after_s=2.0)
    publisher = await stage.publisher(RUNS)
    zombie = await stage.publisher(RUNS, 1, broken=broken)
    await stage.begin(publisher, 100)
    stage.watch(RUNS)
    await stage.begun()
    await publisher.end()
    await stage.until(lambda: all(r.ended for v in stage.viewers for r in v.readings.values()), "everybody knows")
    shown = [reading.lines[-1] for viewer in stage.viewers for reading in viewer.readings.values()]
    await zombie.order("say", 10)
    assert (await zombie.order("leave", 10))["committed"], "it is told that nothing of it waits"
    zombie.acknowledged = 0  # and none of it is the run's
    await stage.seen_to_the_end()
    assert shown == [reading.lines[-1] for viewer in stage.viewers for reading in viewer.readings.values()]
    stage.verify()
    await stage.nothing_left()


async def test_events_after_the_end(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """A run that is shown as running again, or with lines after its end."""
    async with open_stage(start_valkey()) as stage:
        await _late(stage)


async def test_events_after_an_end_that_is_not_kept_to(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """The control: a script that lets everything in."""
    async with open_stage(start_valkey(), patience_s=4.0) as stage:
        with pytest.raises(AssertionError):
            await _late(stage, "no_end")


# A wrong clock


@pytest.mark.parametrize("off_by_h", [1, -1])
async def test_a_worker_whose_clock_is_wrong(start_valkey: StartServer, open_stage: OpenStage, off_by_h: int) -> None:
    """A run that is stalled, expired or last in the list because of its worker's clock, which nothing but `ts` shows.

    The control is in it: the events' `ts` are off by an hour.
    """
    async with open_stage(start_valkey()) as stage:
        relay = await stage.relay(stalled_after_s=1.0)
        switch = "an_hour_fast" if off_by_h > 0 else "an_hour_slow"
        publisher = await stage.publisher(RUNS, broken=switch)
        await stage.begin(publisher, 100)
        stage.watch(RUNS)
        await stage.begun()
        await asyncio.sleep(2.5)  # longer than a silent worker is waited for
        await stage.flowing()
        now_ms = time.time() * 1000
        runs = (await stage.http.get(f"{relay.url}/api/runs")).json()["runs"]
        assert {run["status"] for run in runs} == {"running"}
        assert all(abs(run["updated_at"] - now_ms) < 60_000 for run in runs)
        run = (await stage.http.get(relay.run(RUNS[0]))).json()
        assert abs(run["log_lines"][-1]["ts"] - off_by_h * 3_600_000 - now_ms) < 60_000
        await stage.finish()
        assert sum(viewer.unrecovered for viewer in stage.viewers) == 0


async def test_a_relay_whose_clock_is_wrong(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """A relay that takes living runs for stalled, or has leases that do not end, because its clock is off."""
    async with open_stage(start_valkey()) as stage:
        wrong = await stage.relay(stalled_after_s=1.0, broken="an_hour_fast")
        publisher = await stage.publisher(RUNS)
        await stage.begin(publisher, 100)
        stage.watch(RUNS)
        await stage.begun()
        await asyncio.sleep(2.5)  # the list's and the leases' own times
        runs = (await stage.http.get(f"{wrong.url}/api/runs")).json()["runs"]
        assert {run["status"] for run in runs} == {"running"}
        await stage.finish()


# The broker


@contextmanager
def _celery_worker(folder: Path, stage: Stage, broker: Server) -> Iterator[dict[str, str]]:
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "REDIS_URL": stage.server.url,
        "CELERY_BROKER_URL": broker.url,
        "RUNRELAY_PREFIX": stage.keys.prefix,
        "RUNRELAY_LOG_LINES": "1000000",
        "RUNRELAY_LOG_BYTES": "1000000000",
    }
    command = [
        "celery",
        "-A",
        "tests.support.broker_tasks",
        "worker",
        "--concurrency",
        "1",
        "--pool",
        "prefork",
        "--loglevel",
        "INFO",
    ]
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            parent_death.command([sys.executable, "-m", *command], signal.SIGKILL), cwd=folder, env=environ, stdout=log,
            stderr=log,
        )  # fmt: skip
    try:
        yield environ
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _broker_restarted(stage: Stage, broker: Server, folder: Path) -> None:
    """Two tasks are sent, the broker is killed while the first runs and the second waits, and is started again."""
    await stage.relay()
    with _celery_worker(folder, stage, broker) as environ:
        send = [sys.executable, "-m", "tests.support.broker_tasks", *RUNS]
        sending = await asyncio.create_subprocess_exec(*send, env=environ, cwd=folder)
        assert await sending.wait() == 0
        stage.watch(RUNS)
        await stage.until(lambda: any(r.lines for v in stage.viewers for r in v.readings.values()), "one runs", 60.0)
        broker.kill()
        broker.start()
        await stage.seen_to_the_end()
        for run_id in RUNS:
            assert stage.truth(run_id) == [*range(100)]
        stage.verify()
        await stage.nothing_left()


@pytest.mark.slow
async def test_the_broker_is_restarted(start_valkey: StartServer, open_stage: OpenStage, tmp_path: Path) -> None:
    """A run that is queued for ever, told twice, or not told on, because the broker was away for a moment."""
    broker = start_valkey(appendonly="yes", appendfsync="always")
    async with open_stage(start_valkey(), patience_s=90.0) as stage:
        await _broker_restarted(stage, broker, tmp_path)


@pytest.mark.slow
async def test_a_broker_that_forgets(start_valkey: StartServer, open_stage: OpenStage, tmp_path: Path) -> None:
    """The control: the task that waited is not there any more, and nobody sees its run begin."""
    async with open_stage(start_valkey(), patience_s=12.0) as stage:
        with pytest.raises(AssertionError, match="every client has seen the end"):
            await _broker_restarted(stage, start_valkey(), tmp_path)
