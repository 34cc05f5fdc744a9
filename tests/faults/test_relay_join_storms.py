"""Many joins at once: whose turn it is, how many may wait, and what is done for who has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import orjson
import pytest
import pytest_asyncio

from runrelay.fanout import hub
from runrelay.fanout.join_queue import JoinQueue
from runrelay.fanout.repairs import Repairs
from runrelay.fanout.shared_reads import Join
from runrelay.runlog import Keys, RunView
from tests.support.clients import Client, eventually, watch
from tests.support.read_proxy import ReadProxy, read_proxy
from tests.support.relay import Producer, Served, StartRelay
from tests.support.servers import Server


@pytest_asyncio.fixture
async def link(valkey_server: Server) -> AsyncIterator[ReadProxy]:
    async with read_proxy(valkey_server.port) as link:
        yield link


async def _subscribe(client: Client, names: list[str]) -> None:
    for name in names:
        await client.say(type="subscribe", run_id=name)


async def _hold_reads(link: ReadProxy, relay: Served) -> None:
    """From now on no read is answered."""
    async with watch(relay.ws("held"), "held") as client:
        await client.frame("initial_state")
    link.flow.clear()


class _FirstCome(JoinQueue):
    """Joins take turns, not connections."""

    def _owner(self, join: Join) -> object:
        return "everybody"


@pytest.mark.parametrize("fair", [True, False])
async def test_who_asks_for_one_run_does_not_wait_behind_who_asks_for_hundreds(
    start_relay: StartRelay, link: ReadProxy, fair: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One page, or one attacker, that subscribes to everything would make everybody else wait.

    Without turns, it does.
    """
    if not fair:
        monkeypatch.setattr(hub, "JoinQueue", _FirstCome)
    relay = await start_relay(redis_url=link.url)
    await _hold_reads(link, relay)
    async with watch(relay.ws()) as flood, watch(relay.ws()) as honest:
        await _subscribe(flood, [f"flood {number}" for number in range(1_000)])
        await flood.ping()
        await _subscribe(honest, ["wanted"])
        await honest.ping()
        link.flow.set()
        await honest.frame("initial_state", run_id="wanted")
        before = sum(frame["type"] == "initial_state" for frame in flood.frames)
        await flood.until(lambda: sum(f["type"] == "initial_state" for f in flood.frames) == 1_000, "the flood's")
    assert (before < 500) is fair, f"{before} of 1,000 of the flood's were answered before"


async def test_a_read_whose_last_asker_has_gone_is_not_sent(start_relay: StartRelay, link: ReadProxy) -> None:
    """Clients that give up and come back would make the relay read for nobody, and those who stay wait for it."""
    relay = await start_relay(redis_url=link.url)
    await _hold_reads(link, relay)
    before = link.reads
    async with watch(relay.ws()) as client:
        await _subscribe(client, [f"run {number}" for number in range(500)])
        await client.ping()
        await _subscribe(client, ["left"])
        await client.say(type="unsubscribe", run_id="left")
        await client.ping()
    await eventually(lambda: relay.relay.limits.total == 0, "the client has gone")
    link.flow.set()
    async with watch(relay.ws("later"), "later") as client:
        await client.frame("initial_state")
    assert link.reads - before <= 66, "what was under way, and the last one's"
    assert relay.relay.hub.topics == 0


async def test_waiting_joins_are_bounded_and_told_when_to_come_back(
    start_relay: StartRelay, link: ReadProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits would grow with what clients ask for; and who fills the queue would shut everybody else out."""
    monkeypatch.setattr(hub, "JoinQueue", partial(JoinQueue, at_once=4))
    relay = await start_relay(redis_url=link.url, max_joining=10)
    await _hold_reads(link, relay)
    async with watch(relay.ws()) as flood, watch(relay.ws("one"), "one") as one, watch(relay.ws("two"), "two") as two:
        await asyncio.gather(one.ping(), two.ping())
        await _subscribe(flood, [f"flood {number}" for number in range(14)])
        await flood.ping()
        refused = [frame for frame in flood.frames if frame["type"] == "error"]
        assert [frame["run_id"] for frame in refused] == [f"flood {number}" for number in range(10, 14)]
        assert {frame["code"] for frame in refused} == {4429}
        assert all(200 <= frame["retry_in_ms"] <= 5000 for frame in refused)
        assert not flood.closed
        async with watch(relay.ws("three"), "three") as three, watch(relay.ws("four"), "four") as four:
            await asyncio.gather(three.ping(), four.ping())  # the last fifth is for who has nothing waiting
            async with watch(relay.ws("five")) as five:
                assert await five.close_code() == 4429
                assert five.frames[-1]["code"] == 4429
                assert 200 <= orjson.loads(five.connection.close_reason or "")["retry_in_ms"] <= 5000
            for path in ("", "/events"):
                answer = await relay.http.get(relay.run("six", path))
                assert answer.status_code == 429
                assert int(answer.headers["retry-after"]) > 0
            link.flow.set()
            for client in (one, two, three, four):
                await client.frame("initial_state")
            await flood.frame("initial_state", run_id="flood 9")
        await _subscribe(flood, ["flood 13"])
        await flood.frame("initial_state", run_id="flood 13")
    assert relay.relay.hub.topics == 0


def _all_at_once(*given: Any, **more: Any) -> Repairs:
    return Repairs(*given, **{**more, "at_once": 10_000})


@pytest.mark.parametrize("paced", [True, False])
async def test_a_join_does_not_wait_behind_the_repairs_of_an_outage(
    start_relay: StartRelay, link: ReadProxy, redis_url: str, keys: Keys, paced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes first after an outage would wait until the relay has caught up with everything that others watch.

    With all repairs at once, and no other read before theirs, they do.
    """
    count = 400
    if not paced:
        monkeypatch.setattr(hub, "Repairs", _all_at_once)
    relay = await start_relay(redis_url=link.url, check_s=1000, max_subscriptions=count)
    runlog, unheard = relay.relay.runlog, Producer(redis_url, Keys(keys.prefix, "another channel"))
    read, under_way, most = runlog.read, 0, 0

    def counted(run_id: str, *given: Any, later: bool = False, **more: Any) -> asyncio.Future[RunView]:
        nonlocal under_way, most
        answer = read(run_id, *given, later=later and paced, **more)
        if later:
            under_way += 1
            most = max(most, under_way)
            answer.add_done_callback(lambda _: over())
        return answer

    def over() -> None:
        nonlocal under_way
        under_way -= 1

    monkeypatch.setattr(runlog, "read", counted)
    names = [f"run {number}" for number in range(count)]
    async with watch(relay.ws()) as many:
        for name in names:
            many.expect(name)
        await _subscribe(many, names)
        await many.until(lambda: sum(f["type"] == "initial_state" for f in many.frames) == count, "all have joined")
        last = dict(
            zip(names, await asyncio.gather(*[unheard.say(name, log="unheard") for name in names]), strict=True)
        )
        link.flow.clear()
        check = asyncio.create_task(relay.relay.hub.check())
        await eventually(lambda: under_way >= (32 if paced else count), "repairs are under way")
        async with watch(relay.ws("wanted"), "wanted") as client:
            await client.ping()
            link.flow.set()
            await client.frame("initial_state")
            before = relay.relay.metrics.repairs
        await check
        for name, cursor in last.items():
            await many.reached(cursor, name)
    assert (most <= 32) is paced
    assert (before < count // 2) is paced, f"{before} of {count} repairs came before"
    await unheard.runlog.close()


async def test_a_subscription_holds_no_task(start_relay: StartRelay) -> None:
    """Thousands of clients with dozens of runs each would be a hundred thousand tasks that only wait."""
    relay = await start_relay()
    async with watch(relay.ws()) as client:
        await client.ping()
        before = len(asyncio.all_tasks())
        names = [f"run {number}" for number in range(300)]
        await _subscribe(client, names)
        await client.until(lambda: sum(f["type"] == "initial_state" for f in client.frames) == 300, "all have joined")
        await eventually(lambda: len(asyncio.all_tasks()) <= before + 5, "no task is left of them")
