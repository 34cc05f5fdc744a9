"""Adoption of raw messages: exactly once under one holder of the lease, at most once while it changes hands."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise

import pytest

from runrelay.metrics import RelayMetrics
from runrelay.relay import Adopter
from runrelay.relay import relay as relay_module
from runrelay.runlog import AsyncRunLog
from tests.support.clients import eventually, watch
from tests.support.pubsub_proxy import PubSubProxy, pubsub_proxy
from tests.support.relay import Producer, StartProcess, StartRelay
from tests.support.servers import Server


@pytest.fixture
async def link(valkey_server: Server) -> AsyncIterator[PubSubProxy]:
    async with pubsub_proxy(valkey_server.port) as link:
        yield link


class _WithoutMarker(Adopter):
    """Adopts whatever it hears while it holds the lease, however old."""

    def __init__(self, runlog: AsyncRunLog, metrics: RelayMetrics) -> None:
        super().__init__(runlog, metrics, marker=False)


@pytest.mark.parametrize("marked", [True, False])
async def test_what_the_old_holder_adopted_is_left_by_the_new_one(
    start_relay: StartRelay, link: PubSubProxy, producer: Producer, run_id: str, marked: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Safe because the new holder takes nothing that it hears before its own marker comes back: that was published
    before it had the lease.
    """
    first = await start_relay()
    await eventually(lambda: first.relay.adopter.statistics().after_marker, "the first relay adopts")
    if not marked:
        monkeypatch.setattr(relay_module, "Adopter", _WithoutMarker)
    second = await start_relay(redis_url=link.url)
    link.hold()  # the second hears late what the first hears now
    await producer.publish(f'{{"run_id": "{run_id}", "log": "by hand"}}')
    await eventually(lambda: first.relay.metrics.adopted == 1, "the first has adopted")
    # the first loses the lease: it is as if its process had stopped here
    lease = producer.keys.lease("adoption")
    await producer.runlog.redis.set(lease, second.relay.listener.relay_id, px=5000)
    await eventually(lambda: second.relay.adopter.statistics().holds_lease, "the second holds the lease")
    link.release()
    await producer.publish(f'{{"run_id": "{run_id}", "state": "QA"}}')
    await eventually(lambda: second.relay.metrics.messages >= 2, "the second has heard both")
    await eventually(lambda: not second.relay.adopter.statistics().queued, "and has adopted what it will")
    logs = (await first.http.get(first.run(run_id))).json()["logs"]
    assert logs == (["by hand"] if marked else ["by hand", "by hand"])


async def test_a_lost_lease_is_known_before_another_has_it(
    start_relay: StartRelay, producer: Producer, run_id: str
) -> None:
    """Safe because a holder's own clock ends its lease before Redis does: what it reads later it leaves."""
    relay = await start_relay()
    lease = relay.relay.adopter._lease
    assert lease is not None
    await eventually(lambda: relay.relay.adopter.statistics().after_marker, "the relay adopts")
    left_ms = await producer.runlog.redis.pttl(producer.keys.lease("adoption"))
    ours_ms = (lease._until - asyncio.get_running_loop().time()) * 1000
    assert ours_ms < left_ms + 5, "ours ends first"
    lease._until = 0.0
    await producer.publish(f'{{"run_id": "{run_id}", "log": "not mine"}}')
    await eventually(lambda: relay.relay.metrics.messages >= 1, "it is heard")
    assert not relay.relay.adopter.statistics().queued
    assert (await relay.http.get(relay.run(run_id))).status_code == 404


async def test_a_subscription_that_is_new_begins_with_a_new_marker(
    start_relay: StartRelay, link: PubSubProxy, producer: Producer, run_id: str
) -> None:
    """What was published while the listener was away may have been adopted by another, or not: at most once."""
    relay = await start_relay(redis_url=link.url)
    await eventually(lambda: relay.relay.adopter.statistics().after_marker, "the relay adopts")
    link.cut()
    await eventually(lambda: relay.relay.metrics.reconnects == 1, "it has lost its subscription and has another")
    await eventually(lambda: relay.relay.adopter.statistics().after_marker, "the marker is back")
    await producer.publish(f'{{"run_id": "{run_id}", "log": "by hand"}}')
    await eventually(lambda: relay.relay.metrics.adopted == 1, "it adopts again")


async def test_a_burst_by_hand_keeps_its_order(start_relay: StartRelay, producer: Producer, run_id: str) -> None:
    """The original worker published every line this way."""
    relay = await start_relay()
    await eventually(lambda: relay.relay.adopter.statistics().after_marker, "the relay adopts")
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        burst = producer.runlog.redis.pipeline(transaction=False)
        for number in range(300):
            name = run_id if number % 3 else "another"
            burst.publish(producer.keys.channel, f'{{"run_id": "{name}", "log": "line {number}"}}')
        await burst.execute()
        await client.until(lambda: len(client.story.seqs) == 200, "all of it")
        assert client.story.messages == [f"line {number}" for number in range(300) if number % 3]


@pytest.mark.slow
async def test_the_holder_is_stopped_and_goes_on_later(
    start_process: StartProcess, producer: Producer, run_id: str
) -> None:
    """Two processes, a message every few milliseconds by hand; the holder freezes for longer than its lease, then
    reads what it had not heard: nothing is adopted twice, and nothing once it is decided who holds the lease.
    """
    relays = [start_process(), start_process()]
    published = 0

    async def publish_until(done: asyncio.Event) -> None:
        nonlocal published
        while not done.is_set():
            await producer.publish(f'{{"run_id": "{run_id}", "log": "line {published}"}}')
            published += 1
            await asyncio.sleep(0.005)  # a worker's pace

    async def holder() -> object:
        return await producer.runlog.redis.get(producer.keys.lease("adoption"))

    async def adopted() -> list[str]:
        view = await producer.runlog.read(run_id)
        return [line.message for line in view.snapshot.logs]

    async def until(met: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(15):
            while not await met():  # noqa: ASYNC110 - Redis announces neither
                await asyncio.sleep(0.02)

    async def grows() -> None:
        count = len(await adopted()) + 20

        async def grown() -> bool:
            return len(await adopted()) >= count

        await until(grown)

    done = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(publish_until(done))
        await grows()
        before = await holder()
        names = [relay.log for relay in relays]
        frozen = relays[0] if "took the lease adoption" in names[0] else relays[1]
        frozen.signal(signal.SIGSTOP)

        async def changed() -> bool:
            return await holder() not in (None, before)

        await until(changed)
        await grows()
        frozen.signal(signal.SIGCONT)
        await grows()
        done.set()
    lines = await adopted()
    numbers = [int(line.split()[1]) for line in lines]
    assert len(set(numbers)) == len(numbers), "one was adopted twice"
    # what the holder had taken before it was stopped is committed when it goes on: late, and before nothing else
    late = {number for at, number in enumerate(numbers) if at and number < max(numbers[:at])}
    in_time = [number for number in numbers if number not in late]
    after_the_change = max(pairwise(in_time), key=lambda pair: pair[1] - pair[0])[1]
    assert all(number < after_the_change for number in late), f"out of order: {sorted(late)}"
    missing = sorted(set(range(published)) - set(numbers) - set(range(numbers[0])))
    gaps = [b for a, b in pairwise(missing) if b != a + 1]
    assert len(gaps) <= 1, f"lost outside the change of hands: {missing[:20]}"
