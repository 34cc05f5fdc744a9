"""Cancelling a run that no pipeline started: its work is stopped, or the answer says that it is not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis
from celery import chain, group
from fastapi import FastAPI

from runrelay.celery import send
from runrelay.fastapi import Settings, router
from runrelay.runlog import Keys
from tests.support import celery_tasks as tasks
from tests.support.celery_worker import sending, worker
from tests.support.clients import eventually
from tests.support.recording_pipeline import Works, start_run
from tests.support.relay import Served, StartRelay, serve_here
from tests.support.servers import Server

_BY_NAME = "tests.support.celery_tasks:app"


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys("cnc", "cnc:progress")


@pytest.fixture(scope="module")
def running(valkey_server: Server, keys: Keys) -> Iterator[redis.Redis]:
    """A worker of two processes; the client with which a test sees how far its tasks are."""
    with (
        sending(valkey_server.url, keys),
        worker(valkey_server.url, keys.prefix),
        valkey_server.client(decode_responses=True) as client,
    ):
        yield client


@pytest_asyncio.fixture
async def relay(valkey_server: Server, keys: Keys, tmp_path: Path) -> AsyncIterator[Served]:
    """A relay in an application that has the Celery application, too."""
    app = FastAPI()
    settings = Settings(redis_url=valkey_server.url, prefix=keys.prefix, files=tmp_path, drain_s=0.5)
    app.include_router(router(settings, {}, celery_app=tasks.app))
    async with serve_here({}, app=app) as served:
        yield served


async def _arrived(client: redis.Redis, *gates: str) -> list[int]:
    """The processes whose tasks wait at these gates."""
    found = []
    for gate in gates:
        answer: Any = await asyncio.to_thread(client.blpop, [f"{tasks.NAME}:at:{gate}"], 40)
        found.append(int(answer[1]))
    return found


def _is_gone(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the second one: it ends while its file is read
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def _are_gone(pids: list[int]) -> bool:
    return all(map(_is_gone, pids))


@pytest.mark.slow
async def test_the_work_of_any_run_that_send_sent_is_stopped(
    relay: Served, running: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The README's own flow: the run was shown as cancelled, and its task ran on to its end, for hours."""
    runs = {
        "one task": (tasks.gated.s("one task", "a"), ["a"]),
        "own steps": (tasks.gated_step.s("own steps", "b"), ["b"]),
        "members": (
            group(tasks.waits.s(run_id="members", gate=gate) for gate in ("c", "d")),
            ["c", "d"],
        ),
        "a chain": (chain(tasks.told.s(run_id="a chain"), tasks.waits.s(run_id="a chain", gate="e")), ["e"]),
    }
    for run_id, (work, gates) in runs.items():
        await asyncio.to_thread(send, work, run_id)
        pids = await _arrived(running, *gates)
        assert not any(map(_is_gone, pids))
        answer = await relay.http.post(relay.run(run_id, "/cancel"))
        assert answer.status_code == 202
        assert answer.json() == {"run_id": run_id, "status": "cancelled", "stops_work": True}
        await eventually(partial(_are_gone, pids), f"the processes of {run_id!r} are killed")
    assert (await relay.http.get("/api/pipelines")).json() == {"pipelines": [], "cancellable": True}


@pytest.mark.slow
async def test_without_the_application_it_says_that_the_work_goes_on(
    start_relay: StartRelay, running: redis.Redis, valkey_server: Server, keys: Keys
) -> None:
    """`{"status": "cancelled"}` alone was taken for it. The control: here the task does run on."""
    relay = await start_relay({}, prefix=keys.prefix)
    await asyncio.to_thread(send, tasks.gated.s("goes on", "f"), "goes on")
    (pid,) = await _arrived(running, "f")
    answer = (await relay.http.post(relay.run("goes on", "/cancel"))).json()
    assert (answer["status"], answer["stops_work"]) == ("cancelled", False)
    assert "not stopped" in answer["detail"]
    assert "RUNRELAY_CELERY_APP" in answer["detail"]
    assert (await relay.http.get("/api/pipelines")).json()["cancellable"] is False
    assert not _is_gone(pid)
    running.rpush(f"{tasks.NAME}:go:f", 1)


async def test_what_can_be_cancelled_is_known_before(start_relay: StartRelay, works: Works) -> None:
    """The button is offered only where it does something."""
    bare = replace(works.pipeline(), name="bare", cancel=None)
    cannot = await start_relay({"bare": bare, "test": Works().pipeline()})
    body = (await cannot.http.get("/api/pipelines")).json()
    assert ([pipeline["cancellable"] for pipeline in body["pipelines"]], body["cancellable"]) == ([False, True], False)
    await start_run(cannot, "x", pipeline="bare")
    assert (await cannot.http.post(cannot.run("x", "/cancel"))).json()["stops_work"] is False
    can = await start_relay({"bare": bare}, celery_app=_BY_NAME)
    body = (await can.http.get("/api/pipelines")).json()
    assert ([pipeline["cancellable"] for pipeline in body["pipelines"]], body["cancellable"]) == ([True], True)


async def test_an_application_that_cannot_be_imported_is_said_and_promises_nothing(
    start_relay: StartRelay, caplog: pytest.LogCaptureFixture
) -> None:
    """A relay often has the environment of the workers, and not their code: it must start."""
    with caplog.at_level(logging.ERROR, "runrelay.stopping"):
        relay = await start_relay({}, celery_app="no_such_shop.tasks:app")
    assert "RUNRELAY_CELERY_APP 'no_such_shop.tasks:app' cannot be imported" in caplog.text
    assert (await relay.http.get("/api/pipelines")).json()["cancellable"] is False
