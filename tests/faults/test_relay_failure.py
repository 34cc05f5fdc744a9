"""A relay whose own life has failed ends its process, so that a supervisor starts another."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from runrelay.fanout import hub
from tests.support.clients import eventually, watch
from tests.support.relay import Producer, RelayProcess, StartProcess, StartRelay

ROOT = Path(__file__).parents[2]

DYING = """
import os, asyncio
from pathlib import Path
import runrelay.fanout.hub as hub

async def dying(self):
    while not (Path("die") / str(os.getpid())).exists():
        await asyncio.sleep(0.02)
    {how}

hub.Hub._tick = dying
"""
HOW = {"raised": 'raise KeyError("a fault of ours")', "cancelled": "raise asyncio.CancelledError", "ended": "return"}


@pytest.fixture
def dying_relay(start_process: StartProcess, tmp_path: Path) -> Callable[..., RelayProcess]:
    """A relay of which a part dies as soon as its process' number is a file in the folder `die`."""

    def start(how: str, **settings: Any) -> RelayProcess:
        (tmp_path / "die").mkdir()
        (tmp_path / "sitecustomize.py").write_text(DYING.format(how=HOW[how]))
        path = os.pathsep.join((str(tmp_path), str(ROOT)))
        return start_process(environ={"PYTHONPATH": path}, drain_s=2, **settings)

    return start


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW)
async def test_a_relay_that_has_failed_ends_with_a_code(
    dying_relay: Callable[..., RelayProcess], tmp_path: Path, run_id: str, how: str
) -> None:
    """It went on answering /healthz, so no supervisor started another. That a part of it ended was not even noticed."""
    relay = dying_relay(how)
    (pid,) = relay.serving(1)
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        (tmp_path / "die" / str(pid)).touch()
        assert await client.close_code() == 1012
    assert await asyncio.to_thread(relay.wait) == 70
    assert "the process ends with code 70" in relay.log


@pytest.mark.slow
def test_a_worker_process_that_has_failed_is_replaced(dying_relay: Callable[..., RelayProcess], tmp_path: Path) -> None:
    """It kept its share of the port: every second client was sent away, for good."""
    relay = dying_relay("raised", workers=2)
    before = relay.serving()
    assert len(before) == 2
    dead = min(before)
    (tmp_path / "die" / str(dead)).touch()

    async def replaced() -> None:
        await eventually(lambda: len(now := _answering(relay)) == 2 and dead not in now, "it is replaced", 30)

    asyncio.run(replaced())


@pytest.mark.slow
async def test_the_processes_of_a_killed_supervisor_end(
    start_process: StartProcess, producer: Producer, run_id: str
) -> None:
    """They served on for good, kept their share of the port, and nobody would have replaced one that dies."""
    relay = start_process(workers=2)
    pids = relay.serving()
    assert len(pids) == 2
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        relay.kill()
        assert await client.close_code() == 1012
    await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "they have ended")


def _answering(relay: RelayProcess) -> set[int]:
    try:
        return relay.serving(20)
    except httpx.TransportError:  # it was at the one that was just dying
        return set()


async def test_where_the_process_is_another_s_health_says_it(
    start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application that includes the router is not ours to end; but /healthz stayed 200."""
    dies = asyncio.Event()

    async def dying(self: hub.Hub) -> None:
        await dies.wait()
        raise KeyError("a fault of ours")

    monkeypatch.setattr(hub.Hub, "_tick", dying)
    relay = await start_relay()
    assert (await relay.http.get("/healthz")).status_code == 200
    dies.set()
    await eventually(lambda: relay.relay.failure is not None, "it has died")
    for path in ("/healthz", "/readyz"):
        answer = await relay.http.get(path)
        assert answer.status_code == 503
        assert "a task of the relay has died" in answer.json()["detail"]


def test_redis_is_asked_as_the_issue_does(redis_url: str, prefix: str, start_process: StartProcess) -> None:
    """`ZADD autoshorts:runs inf boom` ended the relay that keeps the list, and then the next one."""
    look = redis.Redis.from_url(redis_url)
    look.zadd(f"{prefix}:runs", {"boom": "inf", "bust": "-inf", "": 7, "a{b": 8})
    look.zadd(f"{prefix}:alive", {"boom": "inf", "bust": "-inf"})
    look.zadd(f"{prefix}:alive", {b"\xff": 7})
    relay = start_process()

    async def pruned() -> None:
        await eventually(lambda: not look.zcard(f"{prefix}:runs") and look.zcard(f"{prefix}:alive") <= 1, "pruned", 20)

    asyncio.run(pruned())
    look.close()
    with httpx.Client(trust_env=False, timeout=10, base_url=relay.url) as http:
        assert http.get("/api/runs").json() == {"runs": [], "next_cursor": None}
        assert http.get("/healthz").status_code == http.get("/readyz").status_code == 200
    assert "Traceback" not in relay.log
