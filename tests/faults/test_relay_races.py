"""The relay's races, one by one, each with a negative control: the same check, the protection switched off, fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from runrelay.fanout import Hub, hub, shared_reads
from runrelay.fanout.topics import Topic
from runrelay.progress import Cursor
from runrelay.runlog import Keys, RunView
from tests.support.clients import Client, eventually, watch
from tests.support.pubsub_proxy import PubSubProxy, pubsub_proxy
from tests.support.relay import Producer, Served, StartRelay, told_all
from tests.support.servers import Server
from tests.support.weakened_topics import NoAhead, NoPatience, NoRecent, NoRepair, NoSecondRead


@pytest.fixture(autouse=True)
def _no_shared_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each joiner reads for itself: sharing a read would close the windows that are tested here."""
    monkeypatch.setattr(shared_reads, "_RETAIN_S", 0.0)


@pytest.fixture
async def link(valkey_server: Server) -> AsyncIterator[PubSubProxy]:
    async with pubsub_proxy(valkey_server.port) as link:
        yield link


@asynccontextmanager
async def _linked(start_relay: StartRelay, link: PubSubProxy, run_id: str) -> AsyncIterator[tuple[Served, Client]]:
    """A relay that hears through the link, never checks by itself, and has one subscriber."""
    relay = await start_relay(redis_url=link.url, check_s=1000)
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        yield relay, client


# Lost messages


@pytest.mark.parametrize("topic", [Topic, NoRepair])
async def test_a_lost_message_is_read_when_the_next_one_jumps(
    start_relay: StartRelay, link: PubSubProxy, producer: Producer, run_id: str, topic: type[Topic],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Safe because a message that does not follow the position is not delivered: the stream is read up to it first."""
    monkeypatch.setattr(hub, "Topic", topic)
    link.lose = lambda message: b'"seq":3,' in message and run_id.encode() in message
    async with _linked(start_relay, link, run_id) as (relay, client):
        last = await producer.lines(run_id, 1, 6)
        assert await told_all(relay, producer, client, last) is (topic is Topic)
        assert link.lost == 1
        if topic is Topic:
            assert client.story.seqs == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("checked", [True, False])
async def test_the_last_message_before_a_silence_is_read_by_the_periodic_check(
    start_relay: StartRelay, link: PubSubProxy, producer: Producer, run_id: str, checked: bool
) -> None:
    """Safe because positions are compared with the log every few seconds: nothing later need ever come."""
    async with _linked(start_relay, link, run_id) as (relay, client):
        await producer.lines(run_id, 1, 3)
        link.lose = lambda message: b'"seq":4,' in message and run_id.encode() in message
        last = await producer.lines(run_id, 4, 1)
        assert not await told_all(relay, producer, client, last)
        if checked:
            await relay.relay.hub.check()
        assert await told_all(relay, producer, client, last) is checked


@pytest.mark.parametrize("settled", [True, False])
async def test_the_check_does_not_repair_what_is_on_its_way(
    start_relay: StartRelay, link: PubSubProxy, producer: Producer, run_id: str, settled: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With thousands of clients the channel is often behind the log, by more than the log keeps: a repair would give
    all of them a new state in place of events that were coming.
    """
    monkeypatch.setattr(hub, "_SETTLE_S", 1.0 if settled else 0.0)
    looked = asyncio.Event()
    async with _linked(start_relay, link, run_id) as (relay, client):
        await producer.lines(run_id, 1, 2)
        await eventually(lambda: client.story.seqs == [1, 2], "the first lines")
        await client.ping()
        before = relay.relay.metrics.repairs
        link.hold()
        last = await producer.lines(run_id, 3, 2)
        runlog = relay.relay.runlog
        positions = runlog.positions

        async def look(run_ids: Sequence[str]) -> list[Cursor | None]:
            found = await positions(run_ids)
            looked.set()
            return found

        monkeypatch.setattr(runlog, "positions", look)
        check = asyncio.create_task(relay.relay.hub.check())
        await looked.wait()
        if settled:
            link.release()
            await client.reached(last)
        await check
        await eventually(
            lambda: all(t.is_quiet for t in relay.relay.hub.statistics().topics.values()), "nothing is read"
        )
        assert (relay.relay.metrics.repairs == before) is settled
        link.release()


async def test_the_check_comes_by_itself(
    start_relay: StartRelay, link: PubSubProxy, producer: Producer, run_id: str
) -> None:
    """The check above is called by hand."""
    relay = await start_relay(redis_url=link.url, check_s=0.1)
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        link.lose = lambda message: b'"seq"' in message
        await client.reached(await producer.lines(run_id, 1, 3))
    assert link.lost == 3


async def test_any_losses_at_all(start_relay: StartRelay, link: PubSubProxy, producer: Producer, run_id: str) -> None:
    """Every third message lost, many clients joining meanwhile: what each was told has no hole and no double."""
    count = 0

    def every_third(message: bytes) -> bool:
        nonlocal count
        count += b'"seq"' in message
        return b'"seq"' in message and count % 3 == 0

    link.lose = every_third
    relay = await start_relay(redis_url=link.url, check_s=0.2)
    async with asyncio.TaskGroup() as tasks:
        last: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def one(after: str | None) -> None:
            async with watch(relay.ws(run_id, f"after={after}" if after else ""), run_id, after) as client:
                await client.until(lambda: client.frames, "the first frame")
                await client.reached(await last)

        for n in range(20):
            cursor = await producer.lines(run_id, n * 10, 10)
            tasks.create_task(one(cursor if n % 2 else None))
        last.set_result(await producer.say(run_id, log="last"))
    assert link.lost > 30


# The listener's connection


def _link_up_without_repair(self: Hub) -> None:
    self.link = "up"
    self._link_is_up.set()
    self._queue.open()
    self._notify_all("up")


@pytest.mark.parametrize("repairs", [True, False])
async def test_what_was_missed_while_the_listener_was_away_is_read_when_it_is_back(
    start_relay: StartRelay, link: PubSubProxy, producer: Producer, run_id: str, repairs: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Safe because it subscribes first and reads then: what is not in the read comes over the channel."""
    if not repairs:
        monkeypatch.setattr(Hub, "link_up", _link_up_without_repair)
    async with _linked(start_relay, link, run_id) as (relay, client):
        await producer.lines(run_id, 1, 2)
        link.refuse = True
        link.cut()
        await client.frame("upstream", status="down")
        last = await producer.lines(run_id, 3, 5)
        link.refuse = False
        await client.frame("upstream", status="up")
        assert await told_all(relay, producer, client, last) is repairs
        if repairs:
            assert client.story.seqs == [1, 2, 3, 4, 5, 6, 7]
            assert client.story.states == 1


async def test_the_listener_killed_again_and_again_under_load(
    start_relay: StartRelay, start_valkey: Callable[..., Server], keys: Keys, run_id: str
) -> None:
    """CLIENT KILL is what a proxy's time-out looks like."""
    server = start_valkey()
    producer = Producer(server.url, keys)
    relay = await start_relay(redis_url=server.url)
    with server.client() as admin:
        async with watch(relay.ws(run_id), run_id) as client:
            await client.frame("initial_state")
            last = ""
            for n in range(5):
                last = await producer.lines(run_id, n * 20, 20)
                killed: int = admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]
                assert killed >= 1
                before = relay.relay.metrics.reconnects
                last = await producer.lines(run_id, n * 20, 20)
                await eventually(lambda before=before: relay.relay.metrics.reconnects > before, "it is back")  # type: ignore[misc]
            await client.reached(last)
            assert client.story.seqs == list(range(1, 201))
    await producer.runlog.close()


# Joining


class _Gate:
    """Holds the answers of a relay's reads."""

    def __init__(self, relay: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = asyncio.Event()
        self.held = 0
        read = relay.relay.runlog.read

        async def gated(run_id: str, *given: Any, **more: Any) -> RunView:
            view = await read(run_id, *given, **more)
            if run_id != "marker":
                self.held += 1
                await self.open.wait()
                self.held -= 1
            return view

        monkeypatch.setattr(relay.relay.runlog, "read", gated)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("topic", [Topic, NoRecent])
async def test_events_delivered_while_a_joiner_reads_are_not_lost_on_it(
    start_relay: StartRelay, producer: Producer, run_id: str, topic: type[Topic], resume: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Safe because what is delivered while anyone joins is kept until the joiner has compared it with its read."""
    monkeypatch.setattr(hub, "Topic", topic)
    relay = await start_relay(check_s=1000)
    seen = await producer.lines(run_id, 1, 2)
    await producer.lines(run_id, 3, 1)
    async with watch(relay.ws(run_id), run_id) as watching:
        await watching.frame("initial_state")
        gate = _Gate(relay, monkeypatch)
        after = seen if resume else None
        async with watch(relay.ws(run_id, f"after={after}" if after else ""), run_id, after) as joining:
            await eventually(lambda: gate.held == 1, "the joiner's read is carried out, its answer held")
            await watching.reached(await producer.lines(run_id, 4, 3))
            gate.open.set()
            await joining.until(lambda: joining.frames, "the first frame")
            broken = None
            try:
                last = await producer.lines(run_id, 7, 1)
                told = await told_all(relay, producer, joining, last)
            except AssertionError as error:
                told, broken = False, error
            joining.broken = None
        assert told is (topic is Topic), broken
        if topic is NoRecent:
            assert "came after" in str(broken)


@pytest.mark.parametrize("topic", [Topic, NoAhead])
async def test_a_joiner_ahead_of_the_channel_is_told_nothing_twice(
    start_relay: StartRelay, link: PubSubProxy, producer: Producer, run_id: str, topic: type[Topic],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Safe because a joiner that has read more than the channel has brought gets only what follows its own read."""
    monkeypatch.setattr(hub, "Topic", topic)
    async with _linked(start_relay, link, run_id) as (relay, client):
        await client.reached(await producer.lines(run_id, 1, 2))
        link.hold()
        await producer.lines(run_id, 3, 3)
        async with watch(relay.ws(run_id), run_id) as joining:
            assert (await joining.frame("initial_state"))["seq"] == 5
            link.release()
            last = await producer.lines(run_id, 6, 2)
            try:
                told = await told_all(relay, producer, joining, last)
            except AssertionError:
                told = False
            joining.broken = None
        assert told is (topic is Topic)
        await client.reached(last)
        assert client.story.seqs == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("topic", [Topic, NoPatience])
async def test_nobody_is_told_of_an_end_that_they_have_not_seen(
    start_relay: StartRelay, link: PubSubProxy, producer: Producer, run_id: str, topic: type[Topic],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Safe because a run's subscribers are let go when they have been told of its end, not when a joiner has read it.

    Else the channel is behind, a joiner reads the end, and the others are closed with 1000 where they are: for good.
    """
    monkeypatch.setattr(hub, "Topic", topic)
    relay = await start_relay(redis_url=link.url, check_s=1000, end_after_s=0.0)
    async with watch(relay.ws(run_id), run_id) as client, watch(relay.ws()) as many:
        many.expect(run_id)
        await many.say(type="subscribe", run_id=run_id)
        await many.frame("initial_state")
        last = await producer.lines(run_id, 1, 2)
        await client.reached(last)
        await many.reached(last)
        link.hold()
        last = await producer.say(run_id, "END", log="the end")
        async with watch(relay.ws(run_id), run_id) as joining:
            assert (await joining.frame("initial_state"))["status"] == "succeeded"
            await many.ping()
            assert any(frame["type"] == "end" for frame in many.frames) is (topic is NoPatience)
            if topic is Topic:
                link.release()
                for one in (client, joining):
                    assert await one.close_code() == 1000
                    assert one.story.position == last
                await many.frame("end", run_id=run_id)
                assert many.stories[run_id].position == last
        link.release()


@pytest.mark.parametrize("topic", [Topic, NoSecondRead])
async def test_a_log_that_is_replaced_while_a_joiner_reads(
    start_relay: StartRelay, redis_url: str, producer: Producer, run_id: str, topic: type[Topic],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Safe because a read of another epoch than the topic's is not believed: the topic is repaired, then read again."""
    monkeypatch.setattr(hub, "Topic", topic)
    relay = await start_relay(check_s=1000)
    await producer.lines(run_id, 1, 3)
    async with watch(relay.ws(run_id), run_id) as watching:
        await watching.frame("initial_state")
        gate = _Gate(relay, monkeypatch)
        async with watch(relay.ws(run_id), run_id) as joining:
            await eventually(lambda: gate.held == 1, "the joiner has read the old log")
            with redis.Redis.from_url(redis_url) as client:
                client.delete(*producer.keys.run(run_id))
            last = await producer.say(run_id, log="another log")
            await eventually(lambda: gate.held == 2, "the topic reads the new one")
            gate.open.set()
            await joining.until(lambda: joining.frames, "the first frame")
            told = await told_all(relay, producer, joining, last)
        assert told is (topic is Topic)
        if topic is Topic:
            assert await told_all(relay, producer, watching, last)
            assert watching.story.frames[-1]["recovered"] is False


async def test_joins_and_resumes_while_events_flow(relay: Served, producer: Producer, run_id: str) -> None:
    """All of it at once, without a script: each client goes and comes back with its cursor until the end."""
    done = asyncio.Event()
    last = ""

    async def publish() -> None:
        nonlocal last
        for n in range(400):
            last = await producer.say(run_id, log=f"line {n}", progress=n / 400)
        done.set()

    async def come_and_go() -> list[int]:
        cursor: str | None = None
        seqs: list[int] = []
        while not (done.is_set() and cursor == last):
            async with watch(relay.ws(run_id, f"after={cursor}" if cursor else ""), run_id, cursor) as client:
                enough = len(client.story.seqs) + 25
                await client.until(
                    lambda client=client, enough=enough: (  # type: ignore[misc]
                        len(client.story.seqs) >= enough or (done.is_set() and client.story.position == last)
                    ),
                    "some events",
                )
                if cursor is None:
                    seqs.append(client.story.frames[0]["seq"])
                assert client.story.states == (cursor is None)
                seqs += client.story.seqs
                cursor = client.story.position
        return seqs

    async with asyncio.TaskGroup() as tasks:
        clients = [tasks.create_task(come_and_go()) for _ in range(8)]
        tasks.create_task(publish())
    for task in clients:
        seqs = task.result()
        assert seqs == list(range(seqs[0], 401))
