"""Pipelined commands on one connection: their order, and what a time-out means."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from runrelay.errors import RunlogError, RunlogUnavailable
from runrelay.progress import make_event
from runrelay.runlog import AsyncRunLog, Keys, RunView
from runrelay.runlog import pipelined as pipelined_module
from runrelay.runlog.pipelined import Pipelined
from tests.support.clients import eventually
from tests.support.read_proxy import ReadProxy, read_proxy
from tests.support.servers import Server

RUNS = [f"run {n}" for n in range(300)]


@pytest.fixture
def keys(prefix: str) -> Keys:
    return Keys(prefix, f"{prefix}:progress")


@pytest_asyncio.fixture
async def runlog(redis_url: str, keys: Keys) -> AsyncIterator[AsyncRunLog]:
    runlog = AsyncRunLog(redis_url, keys)
    yield runlog
    await runlog.close()


@pytest_asyncio.fixture
async def link(valkey_server: Server) -> AsyncIterator[ReadProxy]:
    async with read_proxy(valkey_server.port) as link:
        yield link


async def _outcomes(*answers: Any) -> list[Any]:
    return await asyncio.gather(*answers, return_exceptions=True)


async def test_many_reads_share_a_connection_and_each_gets_its_own_answer(runlog: AsyncRunLog) -> None:
    """A storm of subscribers must not open many connections, nor give a client another run."""
    for run_id in RUNS[:20]:
        await runlog.commit(run_id, [make_event(log=f"said by {run_id}")])
    with_clients = await runlog.redis.client_list()
    views = await asyncio.gather(*[runlog.read(run_id) for run_id in RUNS])
    assert len(await runlog.redis.client_list()) <= len(with_clients) + 1
    assert [view.snapshot.run_id for view in views] == RUNS
    said = [[line.message for line in view.snapshot.logs] for view in views]
    assert said == [[f"said by {run_id}"] for run_id in RUNS[:20]] + [[]] * 280


async def test_what_is_wrong_with_one_run_is_that_run_s_error(runlog: AsyncRunLog, keys: Keys) -> None:
    """One key that is not a run's must not fail the other reads of that moment."""
    await runlog.redis.set(keys.run("wrong")[0], "no run")
    await runlog.redis.hset(keys.run("odd")[0], mapping={"epoch": "e", "seq": "many"})
    await runlog.commit("right", [make_event(log="well")])
    wrong, odd, right, no_command = await _outcomes(
        runlog.read("wrong"), runlog.read("odd"), runlog.read("right"), runlog.read("x", event_bytes=object())  # type: ignore[arg-type]
    )  # fmt: skip
    for error in (wrong, odd, no_command):
        assert isinstance(error, RunlogError)
        assert not isinstance(error, RunlogUnavailable)
    assert isinstance(right, RunView)
    assert right.snapshot.logs[0].message == "well"


async def test_a_server_that_has_forgotten_the_script_is_told_it(
    start_valkey: Callable[..., Server], keys: Keys
) -> None:
    """After SCRIPT FLUSH, or a restart, reads must not fail."""
    runlog = AsyncRunLog(start_valkey().url, keys)
    await runlog.read("x")
    await runlog.redis.script_flush()
    views = await asyncio.gather(*[runlog.read(run_id) for run_id in RUNS])
    assert [view.snapshot.run_id for view in views] == RUNS
    await runlog.close()


async def test_a_read_that_nobody_waits_for_any_more_is_not_sent(link: ReadProxy, keys: Keys) -> None:
    """Clients that give up and come back must not let useless reads pile up."""
    runlog = AsyncRunLog(link.url, keys)
    await runlog.read("first")
    link.flow.clear()
    before = link.reads
    answers = [runlog.read(run_id) for run_id in RUNS]
    await eventually(lambda: link.reads - before == 64, "as many as may be under way are")
    for answer in answers:
        answer.cancel()
    last = runlog.read("last")
    link.flow.set()
    assert (await last).snapshot.run_id == "last"
    assert link.reads - before == 65, "the 236 that waited here were dropped"
    await runlog.close()


@pytest.mark.parametrize("each", [4, 1_000_000])
async def test_the_later_lane_gives_way_but_does_not_starve(
    link: ReadProxy, keys: Keys, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither repairs nor new subscribers may starve (without the later lane's share, repairs do)."""
    monkeypatch.setattr(pipelined_module, "_LATER_EACH", each)
    runlog = AsyncRunLog(link.url, keys)
    await runlog.read("first")
    order: list[str] = []

    def ask(run_id: str, *, later: bool) -> asyncio.Future[RunView]:
        answer = runlog.read(run_id, later=later)
        answer.add_done_callback(lambda _: order.append("later" if later else "first"))
        return answer

    answers = [ask(run_id, later=True) for run_id in RUNS] + [ask(run_id, later=False) for run_id in RUNS]
    await asyncio.gather(*answers)
    early = order[:300]
    if each == 4:
        assert 60 <= early.count("later") <= 80, "a fourth, at first"
        assert order[-1] == "later"
    else:
        assert early.count("later") == 0
    await runlog.close()


async def test_what_was_under_way_when_the_connection_broke_is_sent_again(link: ReadProxy, keys: Keys) -> None:
    """A connection that breaks must not be an error for all readers of that moment."""
    runlog = AsyncRunLog(link.url, keys)
    await runlog.read("first")
    link.flow.clear()
    before = link.reads
    answers = [runlog.read(run_id) for run_id in RUNS[:10]]
    await eventually(lambda: link.reads - before == 10, "all are under way")
    link.cut()
    link.flow.set()
    views = await asyncio.gather(*answers)
    assert [view.snapshot.run_id for view in views] == RUNS[:10]
    assert link.reads - before == 20
    await runlog.close()


async def test_a_server_that_is_gone_is_said_to_all_who_wait(start_valkey: Callable[..., Server], keys: Keys) -> None:
    """Commands during an outage, and after it, must not wait for ever."""
    server = start_valkey()
    runlog = AsyncRunLog(server.url, keys)
    await runlog.read("x")
    server.kill()
    for error in await _outcomes(*[runlog.read(run_id) for run_id in RUNS]):
        assert isinstance(error, RunlogUnavailable)
    server.start()
    assert (await runlog.read("x")).snapshot.run_id == "x"
    await runlog.close()


async def test_a_server_that_has_fallen_silent_is_given_up(start_valkey: Callable[..., Server], keys: Keys) -> None:
    """A connection that looks open and does not answer must time out."""
    server = start_valkey()
    runlog = AsyncRunLog(server.url, keys, timeout_s=0.5)
    await runlog.read("x")
    server.pause()
    (error,) = await _outcomes(runlog.read("x"))
    assert isinstance(error, RunlogUnavailable)
    server.resume()
    assert (await runlog.read("x")).snapshot.run_id == "x"
    await runlog.close()


@pytest.mark.parametrize("by_the_clock", [False, True])
async def test_a_loop_that_is_late_does_not_take_redis_for_silent(
    link: ReadProxy, keys: Keys, by_the_clock: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Load on this process must not look like an outage. With the clock instead of quiet ticks it does."""

    def tick(self: Pipelined) -> None:
        self.lose(RunlogUnavailable("by the clock"))

    runlog = AsyncRunLog(link.url, keys, timeout_s=0.2)
    await runlog.read("first")
    if by_the_clock:
        monkeypatch.setattr(Pipelined, "_tick", tick)
    link.flow.clear()
    before = link.reads
    answer = runlog.read("x")
    await eventually(lambda: link.reads > before, "it is under way")
    for _ in range(6):
        time.sleep(0.1)  # noqa: ASYNC251  # the loop has other things to do
        await asyncio.sleep(0)
    link.flow.set()
    await answer
    assert (link.reads - before > 1) is by_the_clock, "it was sent again, on another connection"
    await runlog.close()


async def test_a_time_in_our_own_queue_is_not_redis_time(link: ReadProxy, keys: Keys) -> None:
    """A command behind thousands of others must not be reported as a time-out of Redis."""
    runlog = AsyncRunLog(link.url, keys, timeout_s=0.3)
    await runlog.read("first")
    answers = [runlog.read(run_id) for run_id in RUNS]
    loop = asyncio.get_running_loop()
    begun_s = loop.time()

    async def let_through_now_and_then() -> None:
        while not all(answer.done() for answer in answers):
            link.flow.clear()
            await asyncio.sleep(0.1)
            link.flow.set()
            await asyncio.sleep(0)

    await asyncio.gather(let_through_now_and_then(), *answers)
    assert loop.time() - begun_s > 0.3, "the last has waited for longer than the time-out"
    await runlog.close()
