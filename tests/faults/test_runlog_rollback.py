"""A server that comes back with older data never gives out a number that was announced before."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

import runrelay.runlog.commit_connection
import runrelay.runlog.sync
from runrelay.errors import RunlogUnavailable
from runrelay.runlog import Keys, ProducerSequence
from tests.support.runlog import (
    Kind,
    Link,
    Log,
    Witness,
    contradictions,
    ended,
    eventually,
    fields_of,
    fresh_keys,
    look_at,
    queued,
    read,
    said,
    started,
)
from tests.support.servers import Server

RUNS = ("kept", "later", "우주")


@dataclass
class Story:
    """Producers whose numbers are known, and all that was ever announced or to be read."""

    log: Log
    told: list[bytes] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sequences: dict[tuple[str, str], ProducerSequence] = {}

    async def say(self, run_id: str, producer: str, *lines: str, tries: int = 2) -> str:
        """Commit lines and return the epoch that they are in; after a break the same again, over a new connection."""
        sequence = self.sequences.setdefault((run_id, producer), ProducerSequence(producer))
        events = [said(line) for line in lines]
        for left in range(tries - 1, -1, -1):
            try:
                done = await self.log.commit(run_id, events, sequence)
                break
            except RunlogUnavailable:
                if not left:
                    raise
        self.acknowledged += lines
        return done.epoch

    @contextmanager
    def chapter(self, server: Server) -> Iterator[Any]:
        """Listen to one life of a server; at the end its streams are read too."""
        with Witness.of(server, self.log.keys) as witness:
            with look_at(server) as client:
                yield client
            self.told += witness.heard()
            for run_id in RUNS:
                self.told += witness.stream(run_id)


@pytest.fixture
def story(client_kind: Kind, connect_log: Callable[..., Log], link: Link) -> Story:
    """Told through a link, which leads to whichever server is the primary."""
    return Story(connect_log(client_kind, link.url, fresh_keys()))


@pytest.fixture
def link() -> Iterator[Link]:
    """Leads nowhere at first."""
    link = Link(0)
    yield link
    link.close()


def always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch the protection off: to these clients all servers are one."""
    for module in (runrelay.runlog.sync, runrelay.runlog.commit_connection):
        monkeypatch.setattr(module, "identity", lambda *_: "one and the same")


async def restarted_from_a_snapshot(story: Story, start: Callable[..., Server], link: Link) -> dict[str, str]:
    """Commits, a snapshot, more commits, kill -9, a restart from the snapshot, more commits. Returns the epochs."""
    server = start()
    link.target_port = server.port
    with story.chapter(server) as client:
        before = await story.say("kept", "p", "1", "2")
        await story.say("kept", "q", "3")
        client.save()
        # acknowledged, announced, and then lost
        await story.say("kept", "q", "4, lost")
        await story.say("later", "p", "1, lost", "2, lost")
    server.kill()
    link.cut_all()
    server.start()
    with story.chapter(server) as client:
        # p has lost nothing, so that no gap tells of it: only the server's identity does
        after = await story.say("kept", "p", "4, another")
        await story.say("kept", "q", "5")
        later = await story.say("later", "r", "1, another")
        await story.say("later", "p", "3, later")
        lines = [line.message for line in read(client, story.log.keys, "kept").snapshot.logs]
        assert lines == ["1", "2", "3", "4, another", "5"]
    return {"before": before, "after": after, "later": later}


async def test_a_restart_from_a_snapshot_begins_new_epochs(
    story: Story, start_store: Callable[..., Server], link: Link
) -> None:
    """Acknowledged commits are lost; nobody is told one of their numbers with another content."""
    epochs = await restarted_from_a_snapshot(story, start_store, link)
    assert epochs["after"] != epochs["before"]
    assert not contradictions(story.told)
    assert len({fields_of(message)["log"] for message in story.told}) == len(story.acknowledged)


async def test_with_one_identity_for_all_servers_numbers_are_announced_twice(
    story: Story, start_store: Callable[..., Server], link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the same, with clients that do not know a server again."""
    always_the_same(monkeypatch)
    epochs = await restarted_from_a_snapshot(story, start_store, link)
    found = contradictions(story.told)
    assert ("kept", epochs["before"], 4) in found


async def test_a_restart_with_everything_on_disk_loses_nothing(
    story: Story, start_store: Callable[..., Server], link: Link
) -> None:
    """It cannot be told from one that lost something, so it begins new epochs too; the lines are all there."""
    server = start_store(appendonly="yes", appendfsync="always")
    link.target_port = server.port
    with story.chapter(server):
        await story.say("kept", "p", "1", "2")
    server.kill()
    link.cut_all()
    server.start()
    with story.chapter(server) as client:
        await story.say("kept", "p", "3")
        lines = [line.message for line in read(client, story.log.keys, "kept").snapshot.logs]
    assert lines == ["1", "2", "3"]
    assert not contradictions(story.told)


async def failed_over_to_a_laggard(
    story: Story, start: Callable[..., Server], link: Link, backbone: Link
) -> dict[str, str]:
    """A replica loses its primary's line, the primary goes on and dies, the replica takes its place."""
    primary, replica = start(repl_diskless_sync_delay="0"), start()
    link.target_port = backbone.target_port = primary.port
    with look_at(replica) as there, story.chapter(primary):
        before = await story.say("kept", "p", "1", "2")
        await story.say("kept", "q", "3")
        there.replicaof("127.0.0.1", backbone.url.rpartition(":")[2].partition("/")[0])
        hash_key = story.log.keys.run("kept")[0]
        eventually(lambda: there.hget(hash_key, "seq") == b"3", "the replica has what the primary has")
        backbone.target_port = 1  # from now on nothing listens where the replica looks for its primary
        backbone.cut_all()
        await story.say("kept", "q", "4, lost")
        await story.say("later", "p", "1, lost")
        assert there.hget(hash_key, "seq") == b"3"
    primary.kill()
    link.cut_all()
    link.target_port = replica.port
    with story.chapter(replica) as there:
        # clients that come too early are turned away
        with pytest.raises(RunlogUnavailable):
            await story.say("kept", "p", "too early", tries=2)
        there.execute_command("REPLICAOF NO ONE")
        after = await story.say("kept", "p", "4, another")
        await story.say("kept", "q", "5")
        await story.say("later", "r", "1, another")
        lines = [line.message for line in read(there, story.log.keys, "kept").snapshot.logs]
        assert lines == ["1", "2", "3", "4, another", "5"]
    return {"before": before, "after": after}


@pytest.fixture
def backbone() -> Iterator[Link]:
    """The line between a primary and its replica."""
    link = Link(0)
    yield link
    link.close()


async def test_a_replica_that_lagged_begins_new_epochs(
    story: Story, start_store: Callable[..., Server], link: Link, backbone: Link
) -> None:
    """What it had not heard of was announced by another; its numbers are not given out again."""
    epochs = await failed_over_to_a_laggard(story, start_store, link, backbone)
    assert epochs["after"] != epochs["before"]
    assert not contradictions(story.told)


async def test_with_one_identity_a_laggard_announces_numbers_twice(
    story: Story,
    start_store: Callable[..., Server],
    link: Link,
    backbone: Link,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: the same failover, with clients that do not know a server again."""
    always_the_same(monkeypatch)
    epochs = await failed_over_to_a_laggard(story, start_store, link, backbone)
    assert ("kept", epochs["before"], 4) in contradictions(story.told)


async def test_each_run_begins_one_new_epoch_not_one_per_producer(
    story: Story, start_store: Callable[..., Server], link: Link
) -> None:
    """All producers see the same new server; viewers begin again once."""
    server = start_store()
    link.target_port = server.port
    with story.chapter(server) as client:
        for producer in "pqr":
            await story.say("kept", producer, f"{producer} 1")
        client.save()
    server.kill()
    link.cut_all()
    server.start()
    with story.chapter(server):
        epochs = {await story.say("kept", producer, f"{producer} 2") for producer in "pqrpqr"}
    assert len(epochs) == 1
    assert not contradictions(story.told)


async def test_two_views_of_one_server_do_not_take_turns_for_ever(
    connect_log: Callable[..., Log], client_kind: Kind, store: Server, keys: Keys
) -> None:
    """A replica that is promoted just after a connection has asked who it is looks like two servers to two clients."""
    early, late = (connect_log(client_kind, store.url, keys) for _ in range(2))
    await late.commit("r", [said("1")])
    await early.commit("another", [said("connects")])
    connection = early.inner  # type: ignore[attr-defined]
    getattr(connection, "_commits", connection)._server = "as it was before its promotion"
    epochs = [(await log.commit("r", [said("x")])).epoch for log in (early, late) * 5]
    assert len(set(epochs)) <= 3
    assert len(set(epochs[3:])) == 1


async def test_attempts_that_a_server_has_forgotten_go_on(
    connect_log: Callable[..., Log], client_kind: Kind, start_store: Callable[..., Server], keys: Keys
) -> None:
    """A retry was acknowledged and lost; its task arrives, its events are of attempt 2, and the zombie stays out."""
    server = start_store()
    log = connect_log(client_kind, server.url, keys)
    await log.commit("r", [queued(), started(base_attempt=1), said("first try"), ended("FAILED", error="e")])
    with look_at(server) as client:
        client.save()
    worker = ProducerSequence.fresh()
    await log.commit("r", [queued(precondition="ended")])
    given = (await log.commit("r", [started(base_attempt=2)], worker)).given_attempt
    assert given == 2
    server.kill()
    server.start()
    with pytest.raises(RunlogUnavailable):
        await log.commit("r", [said("second try", attempt=given)], worker)
    done = await log.commit("r", [said("second try", progress=0.2, attempt=given)], worker)
    assert (done.attempt, done.status, done.fenced) == (2, "running", 0)
    zombie = await log.commit("r", [said("first try's", attempt=1)])
    assert zombie.fenced == 1
    assert (await log.commit("r", [ended(attempt=given)], worker)).status == "succeeded"


@pytest.fixture
def keys() -> Keys:
    return fresh_keys()
