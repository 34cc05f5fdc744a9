"""Redis Sentinel: a primary dies, lags or freezes, and publishers, relays, clients and Celery go on at the next one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

import runrelay.runlog.sync
from runrelay.cli import parent_death
from runrelay.errors import RunlogUnavailable
from runrelay.outbox import Publisher
from runrelay.progress import make_event
from runrelay.runlog import Batch, Keys, Retention, RunLog, sentinels, topology
from runrelay.settings import PublisherSettings
from tests.support.clients import Client, Story, eventually, watch
from tests.support.publishing import log_of
from tests.support.relay import StartProcess, StartRelay
from tests.support.runlog import Witness, contradictions, said
from tests.support.sentinels import SentinelSet, sentinel_set
from tests.support.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

FLUSH_S = 60.0


@pytest.fixture
def three(tmp_path: Path) -> Iterator[SentinelSet]:
    """A primary, a replica, and three sentinels that give a silent server one second."""
    with sentinel_set(tmp_path) as made:
        yield made


@contextmanager
def publisher_at(url: str, keys: Keys) -> Iterator[Publisher]:
    """What a worker publishes through."""
    publisher = Publisher(PublisherSettings(url, keys, Retention(), heartbeat_s=1.0))
    try:
        yield publisher
    finally:
        publisher.close(5.0)


def say(publisher: Publisher, run_id: str, *lines: str) -> None:
    """Publish lines."""
    for line in lines:
        publisher.emit(run_id, make_event(log=line))


def numbered(word: str, count: int = 30) -> list[str]:
    return [f"{word} {number}" for number in range(count)]


async def flushed(publisher: Publisher) -> None:
    """Everything that was published is committed."""
    assert await asyncio.to_thread(publisher.flush, FLUSH_S)


async def ended(client: Client, run_id: str) -> Story:
    """The client is shown the run's end; returns the story so far."""
    story = client.stories[run_id]
    await client.until(lambda: story.frames and story.last["status"] == "succeeded", "the end")
    return story


def shown(client: Client, run_id: str) -> list[str]:
    """The log as a page shows it: the newest initial_state's lines, and those that came after it."""
    lines: list[str] = []
    for frame in client.stories[run_id].frames:
        if frame["type"] == "initial_state":
            lines = list(frame["logs"])
        elif frame["type"] == "progress" and frame["message"]:
            lines.append(frame["message"])
    return lines


def told_twice(clients: list[Client]) -> dict[tuple[str, str], set[str]]:
    """Cursors under which progress frames with different contents were sent: must be empty, always."""
    contents: dict[tuple[str, str], set[str]] = {}
    for client in clients:
        for frame in client.frames:
            if frame["type"] == "progress":
                text = orjson.dumps(frame, option=orjson.OPT_SORT_KEYS).decode()
                contents.setdefault((frame["run_id"], frame["id"]), set()).add(text)
    return {cursor: found for cursor, found in contents.items() if len(found) > 1}


def epochs(client: Client, run_id: str) -> list[str]:
    """The epochs that a client was shown, in order."""
    ids = [frame["id"].partition("-")[0] for frame in client.stories[run_id].frames if "id" in frame]
    return [epoch for i, epoch in enumerate(ids) if epoch != "0" and epoch not in ids[:i]]


def role_of(server: Server) -> str:
    with server.client(decode_responses=True) as client:
        role: Any = client.execute_command("ROLE")  # type: ignore[no-untyped-call]
        return str(role[0])


async def test_a_primary_that_is_killed_loses_nothing_that_was_replicated(
    three: SentinelSet, start_process: StartProcess, keys: Keys, run_id: str
) -> None:
    """Events lost, doubled or out of order by a failover: those before it, in flight at the kill, and after."""
    relays = [start_process(redis_url=three.url) for _ in range(2)]
    before, flying, after = numbered("before"), numbered("in flight"), numbered("after")
    with publisher_at(three.url, keys) as publisher:
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(watch(relay.ws(run_id), run_id)) for relay in relays for _ in range(3)
            ]
            say(publisher, run_id, *before)
            await flushed(publisher)
            await asyncio.to_thread(three.wait_for_sync)
            old = three.primary()
            old.pause()  # what is published now is on its way to it when it dies
            say(publisher, run_id, *flying)
            await eventually(lambda: publisher.outbox.batches(), "something is in flight")
            old.kill()
            say(publisher, run_id, *after)
            publisher.emit(run_id, make_event("END"))
            await flushed(publisher)  # one sentinel's word is enough for that
            await asyncio.to_thread(three.wait_for_failover, old)
            for client in clients:
                story = await ended(client, run_id)
                assert shown(client, run_id) == [*before, *flying, *after]
                assert len(epochs(client, run_id)) == 2
                assert [f["recovered"] for f in story.frames if f["type"] == "initial_state"][1:] == [False]
            assert not told_twice(clients)
            late = await stack.enter_async_context(watch(relays[0].ws(run_id), run_id))
            await late.frame("initial_state")
            assert shown(late, run_id) == [*before, *flying, *after]


async def test_a_publisher_that_knows_one_address_only_is_lost_with_it(
    three: SentinelSet, keys: Keys, run_id: str
) -> None:
    """The control: with the primary's own address nothing that is published after its death arrives."""
    old = three.primary()
    with publisher_at(old.url, keys) as publisher:
        say(publisher, run_id, *numbered("before"))
        await flushed(publisher)
        await asyncio.to_thread(three.wait_for_sync)
        old.kill()
        say(publisher, run_id, *numbered("after"))
        await asyncio.to_thread(three.wait_for_failover, old)
        assert not publisher.flush(2.0)


class LostWrites:
    """A failover to a replica that lagged: what was announced by the old primary, and by the new one."""

    def __init__(self) -> None:
        self.announced: list[bytes] = []
        self.lost, self.flying, self.after = numbered("lost"), numbered("in flight"), numbered("after")

    async def happens(self, three: SentinelSet, keys: Keys, run_id: str) -> None:
        """Two workers publish on one run. Of the second nothing is lost, so that no gap tells it of the loss."""
        with publisher_at(three.url, keys) as first, publisher_at(three.url, keys) as second:
            for publisher in (first, second):
                say(publisher, run_id, "kept")
                await flushed(publisher)
            await asyncio.to_thread(three.wait_for_sync)
            old = three.primary()
            with Witness.of(old, keys) as witness:
                three.cut_replication()
                say(first, run_id, *self.lost)
                await flushed(first)
                self.announced += witness.heard()
            old.pause()
            say(second, run_id, *self.flying)
            await eventually(lambda: second.outbox.batches(), "something is in flight")
            old.kill()
            new = await asyncio.to_thread(three.wait_for_failover, old)
            with Witness.of(new, keys) as witness:
                await flushed(second)
                say(second, run_id, *self.after)
                await flushed(second)
                say(first, run_id, "goes on")
                await flushed(first)
                publisher.emit(run_id, make_event("END"))
                await flushed(publisher)
                self.announced += witness.heard() + witness.stream(run_id)


async def test_after_lost_writes_no_number_is_told_twice(
    three: SentinelSet, start_process: StartProcess, keys: Keys, run_id: str
) -> None:
    """A number of an epoch with two contents; a client that is left with what was lost; an event in flight that is."""
    relays = [start_process(redis_url=three.url) for _ in range(2)]
    failover = LostWrites()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(watch(relay.ws(run_id), run_id)) for relay in relays]
        await failover.happens(three, keys, run_id)
        for client in clients:
            story = await ended(client, run_id)
            assert set(failover.lost) <= {frame.get("message") for frame in story.frames}, "it was shown them once"
            assert shown(client, run_id) == ["kept", "kept", *failover.flying, *failover.after, "goes on"]
            assert any(frame.get("recovered") is False for frame in story.frames)
            assert len(epochs(client, run_id)) >= 2
        assert not told_twice(clients)
    assert not contradictions(failover.announced)


async def test_with_one_identity_for_all_servers_numbers_are_told_twice(
    three: SentinelSet, keys: Keys, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the same failover, with publishers that do not know one server from another."""
    monkeypatch.setattr(runrelay.runlog.sync, "identity", lambda *_: "one and the same")
    failover = LostWrites()
    await failover.happens(three, keys, run_id)
    assert contradictions(failover.announced)


class Frozen:
    """A primary that is frozen until another has taken its place, and comes back as if nothing had been."""

    async def happens(self, three: SentinelSet, publisher: Publisher, run_id: str) -> Server:
        """Returns the old primary: it takes writes, and will for some seconds, until the sentinels demote it."""
        say(publisher, run_id, "before")
        await flushed(publisher)
        await asyncio.to_thread(three.wait_for_sync)
        old = three.primary()
        old.pause()
        new = await asyncio.to_thread(three.wait_for_failover, old)
        await asyncio.to_thread(three.wait_for_agreement, new)
        old.resume()
        await eventually(lambda: role_of(old) == "master", "the old primary answers")
        return old


@pytest.mark.long
async def test_nothing_is_said_to_a_primary_that_comes_back(
    three: SentinelSet, keys: Keys, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that an idle worker commits to the old primary, and that is lost when it is demoted."""
    # A worker asks every two seconds. A failover that takes less would come between two questions.
    monkeypatch.setattr(sentinels, "CHECK_S", 0.0)
    with publisher_at(three.url, keys) as publisher:
        old = await Frozen().happens(three, publisher, run_id)
        say(publisher, run_id, "after")
        await flushed(publisher)
        assert role_of(old) == "master", "else it would have been nothing"
        assert log_of(three.primary(), run_id, keys) == ["before", "after"]


@pytest.mark.long
async def test_without_asking_again_a_line_goes_to_the_old_primary(
    three: SentinelSet, keys: Keys, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a worker that stays with its connection until it breaks."""
    monkeypatch.setattr(topology.Topology, "leads_elsewhere", lambda *_: False)
    with publisher_at(three.url, keys) as publisher:
        old = await Frozen().happens(three, publisher, run_id)
        say(publisher, run_id, "after")
        await flushed(publisher)
        await eventually(lambda: role_of(old) == "slave", "it is demoted", 30.0)
        await asyncio.to_thread(three.wait_for_sync)
        assert log_of(old, run_id, keys) == log_of(three.primary(), run_id, keys) == ["before"]


async def seen_before_the_demotion(
    three: SentinelSet, start_relay: StartRelay, keys: Keys, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Whether a client sees what is committed to the new primary while the old one still takes itself for one."""
    relay = await start_relay(redis_url=three.url, prefix=keys.prefix)
    with publisher_at(three.url, keys) as publisher:
        async with watch(relay.ws(run_id), run_id) as client:
            old = await Frozen().happens(three, publisher, run_id)
            say(publisher, run_id, "after")
            await flushed(publisher)
            await eventually(lambda: "after" in shown(client, run_id) or role_of(old) == "slave", "either", 40.0)
            in_time = role_of(old) == "master"
            await client.until(lambda: shown(client, run_id) == ["before", "after"], "it sees it in the end")
            assert not told_twice([client])
    return in_time


async def test_a_relay_leaves_a_primary_that_comes_back(
    three: SentinelSet, start_relay: StartRelay, keys: Keys, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay that shows a server's word that is a primary no longer, and says that all is well."""
    assert await seen_before_the_demotion(three, start_relay, keys, run_id, monkeypatch)


async def test_a_relay_that_does_not_ask_again_stays_with_it(
    three: SentinelSet, start_relay: StartRelay, keys: Keys, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: until the sentinels have demoted it, and cut its clients off, the relay stays with the old one."""

    async def never(self: topology.AsyncTopology) -> None:
        pass

    monkeypatch.setattr(topology.AsyncTopology, "watch", never)
    assert not await seen_before_the_demotion(three, start_relay, keys, run_id, monkeypatch)


@pytest.mark.long
async def test_sentinels_that_are_gone_frozen_or_behind_hold_nobody_up(
    three: SentinelSet, keys: Keys, run_id: str
) -> None:
    """A connection that waits for the first sentinel of its URL, or that believes one that is behind the others."""
    gone, frozen = three.sentinels[0], three.sentinels[1]
    old = three.primary()
    frozen.pause()
    log = RunLog(three.url, keys)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    log.commit(Batch(run_id, "p", 1, [said("1")]))
    gone.kill()
    log.close()
    log.commit(Batch(run_id, "p", 2, [said("2")]))
    assert loop.time() - began_s < 4.0, "two sentinels in the way cost a second each, once"
    gone.start()
    three.wait_for_sync()
    old.kill()
    await asyncio.to_thread(three.wait_for_failover, old)
    old.start()  # a replica of the new one, as soon as the sentinels have said so
    await eventually(lambda: role_of(old) == "slave", "the old primary is a replica", 40.0)
    frozen.resume()  # it believes what it knew, until it has heard from the others
    log.close()
    for last in (False, False, True):
        try:
            log.commit(Batch(run_id, "p", 3, [said("3")]))
            break
        except RunlogUnavailable:
            if last:
                raise
    log.close()
    assert log_of(three.primary(), run_id, keys) == ["1", "2", "3"]


@contextmanager
def a_worker(three: SentinelSet, keys: Keys, folder: Path) -> Iterator[Path]:
    """`runrelay worker` with the reference pipelines; yields the path of its log."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "REDIS_URL": three.url,
        "RUNRELAY_PREFIX": keys.prefix,
        "RUNRELAY_FILES": str(folder / "files"),
    }
    path = folder / "worker.log"
    with path.open("wb") as log:
        command = [sys.executable, "-m", "runrelay.cli", "worker", "--concurrency", "1"]
        process = subprocess.Popen(
            parent_death.command(command, signal.SIGTERM), cwd=folder, env=environ, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield path
        finally:
            process.terminate()
            process.wait(30)


async def test_celery_gets_its_tasks_through_sentinels(
    three: SentinelSet, start_process: StartProcess, keys: Keys, tmp_path: Path
) -> None:
    """A pipeline that can be watched through a failover, but not started after it: broker and results stay behind."""
    relay = start_process(redis_url=three.url)

    async def runs(http: httpx.AsyncClient, run_id: str) -> None:
        body = {"pipeline": "hello", "input": {"name": "ab"}, "run_id": run_id}
        answers: list[httpx.Response] = []

        async def is_started() -> bool:  # a broker that is just failing over is answered with 503, and a new try
            answers.append(await http.post("/api/runs", json={**body, "run_id": f"{run_id}{len(answers)}"}))
            return answers[-1].status_code == 202

        deadline_s = asyncio.get_running_loop().time() + 30.0
        while not await is_started():
            assert asyncio.get_running_loop().time() < deadline_s, answers[-1].text
            await asyncio.sleep(float(answers[-1].headers["Retry-After"]) / 10)
        started = answers[-1].json()["run_id"]
        async with watch(relay.ws(started), started) as client:
            try:
                await ended(client, started)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{log.read_text()[-4000:]}\n{relay.log[-2000:]}") from None

    with a_worker(three, keys, tmp_path) as log:
        async with httpx.AsyncClient(base_url=relay.url, trust_env=False, timeout=30) as http:
            await runs(http, "first")
            await asyncio.to_thread(three.wait_for_sync)
            old = three.primary()
            old.kill()
            await asyncio.to_thread(three.wait_for_failover, old)
            await runs(http, "second")
