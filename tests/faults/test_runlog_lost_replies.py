"""A connection that breaks after the server has carried out a commit: sent again, it is in the log once."""

from collections.abc import Callable
from typing import Any

import pytest

import runrelay.runlog.commit_connection
import runrelay.runlog.sync
from runrelay.errors import RunlogUnavailable
from runrelay.runlog import AsyncRunLog, Batch, Committed, ProducerSequence, RunLog
from runrelay.runlog.scripts import COMMIT, Script
from tests.support.runlog import (
    Kind,
    Link,
    Log,
    Witness,
    contradictions,
    fields_of,
    fresh_keys,
    holes,
    look_at,
    queued,
    said,
    started,
    weakened,
)
from tests.support.servers import Server

# What is sent to learn who a server is.
ACQUAINTANCE = b"INFO\r\n$6\r\nserver\r\n"
# What a commit's reply is on the wire: an array of four strings in two lines each and seven numbers.
REPLY_LINES = 1 + 4 * 2 + 7


@pytest.fixture
def far(link: Link, client_kind: Kind, connect_log: Callable[..., Log]) -> Log:
    """Either client, at the other end of a link that can break."""
    return connect_log(client_kind, link.url, fresh_keys())


async def committed_twice(log: Log, link: Link, sequence: ProducerSequence) -> None:
    """Commit a batch whose reply is lost, and send it again."""
    link.cut_reply_to(b"EVALSHA")
    batch = [said("2"), said("3", progress=0.5)]
    with pytest.raises(RunlogUnavailable):
        await log.commit("r", batch, sequence)
    assert sequence.next == 2
    await log.commit("r", batch, sequence)
    assert sequence.next == 4


def lines_of(messages: list[bytes]) -> list[str | None]:
    return [fields_of(message)["log"] for message in messages]


async def test_a_commit_whose_reply_was_lost_is_in_the_log_once(far: Log, link: Link, store: Server) -> None:
    """The producer cannot know; the mark does."""
    with Witness.of(store, far.keys) as witness:
        sequence = ProducerSequence.fresh()
        await far.commit("r", [said("1")], sequence)
        await committed_twice(far, link, sequence)
        await far.commit("r", [said("4")], sequence)
        assert lines_of(witness.heard()) == ["1", "2", "3", "4"]
        assert not holes(witness.heard())
        assert len({fields_of(message)["epoch"] for message in witness.heard()}) == 1
        assert link.cuts == 1


async def test_without_the_mark_it_would_be_there_twice(
    far: Log, link: Link, store: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the same, with a script that does not skip what it has."""
    forgetful = weakened(COMMIT, "local pass = number > mark", "local pass = true")
    for module in (runrelay.runlog.sync, runrelay.runlog.commit_connection):
        monkeypatch.setattr(module, "COMMIT", forgetful)
    with Witness.of(store, far.keys) as witness:
        sequence = ProducerSequence.fresh()
        await far.commit("r", [said("1")], sequence)
        await committed_twice(far, link, sequence)
        assert lines_of(witness.heard()) == ["1", "2", "3", "2", "3"]


async def test_a_first_commit_whose_reply_was_lost_keeps_its_epoch(far: Log, link: Link, store: Server) -> None:
    """The name that was made for the first try is in the log; the second try's is not used."""
    with Witness.of(store, far.keys) as witness:
        await far.commit("warm", [said("the script is known now")])
        link.cut_reply_to(b"EVALSHA")
        with pytest.raises(RunlogUnavailable):
            await far.commit("r", [queued(precondition="absent")], ProducerSequence("p"))
        done = await far.commit("r", [queued(precondition="absent")], ProducerSequence("p"))
        message = witness.heard()[-1]
        assert (fields_of(message)["epoch"], fields_of(message)["seq"]) == (done.epoch, 1)
        # and the next run does not get a name that is taken
        other = await far.commit("other", [said("1")])
        assert other.epoch != done.epoch
        assert not contradictions(witness.heard())


async def test_the_reply_to_the_whole_script_may_be_lost_too(far: Log, link: Link, store: Server) -> None:
    """On a server that does not know it yet, the script goes over the line as text."""
    with look_at(store) as client, Witness.of(store, far.keys) as witness:
        client.script_flush()
        link.cut_reply_to(b"EVAL\r\n")
        with pytest.raises(RunlogUnavailable):
            await far.commit("r", [said("1")], ProducerSequence("p"))
        done = await far.commit("r", [said("1")], ProducerSequence("p"))
        assert (done.before, done.after) == (1, 1)
        assert lines_of(witness.heard()) == ["1"]


async def test_a_start_whose_reply_was_lost_is_given_its_attempt(far: Log, link: Link, store: Server) -> None:
    """A worker that took itself for fenced would leave the run running for ever."""
    with Witness.of(store, far.keys) as witness:
        await far.commit("r", [queued()])
        link.cut_reply_to(b"EVALSHA")
        with pytest.raises(RunlogUnavailable):
            await far.commit("r", [started(base_attempt=1)], ProducerSequence("p"))
        done = await far.commit("r", [started(base_attempt=1)], ProducerSequence("p"))
        assert (done.given_attempt, done.attempt) == (1, 1)
        assert len(witness.heard()) == 2


async def test_the_relay_s_client_asks_again_by_itself(link: Link, store: Server) -> None:
    """An API call does not fail for one broken connection, and does not do its work twice."""
    log = AsyncRunLog(link.url, fresh_keys())
    with Witness.of(store, log.keys) as witness:
        await log.commit("warm", [said("the script is known now")])
        link.cut_reply_to(b"EVALSHA")
        done = await log.commit("r", [queued(precondition="absent")])
        assert done.status == "queued"
        assert len(witness.heard()) == 2
        assert link.cuts == 1
    await log.close()


@pytest.mark.parametrize("kept", [0, 1, REPLY_LINES - 1, REPLY_LINES, REPLY_LINES + 5, 2 * REPLY_LINES])
def test_of_many_runs_those_without_a_whole_reply_are_sent_again(link: Link, store: Server, kept: int) -> None:
    """Each run's result is known or not known by itself; in the end each line is there once."""
    log = RunLog(link.url, fresh_keys())
    runs = ["a", "b", "c"]
    with Witness.of(store, log.keys) as witness:
        log.commit_many([Batch(run_id, "p", 1, [said("1")]) for run_id in runs])
        link.cut_reply_to(b"EVALSHA", keep_lines=1 + kept)  # the first is PONG
        batches = [Batch(run_id, "p", 2, [said("2"), said("3")]) for run_id in runs]
        done = log.commit_many(batches)
        whole = kept // REPLY_LINES
        assert [isinstance(one, Committed) for one in done] == [number < whole for number in range(3)]
        assert all(isinstance(one, RunlogUnavailable) for one in done[whole:])
        again = log.commit_many(batches[whole:])
        assert all(isinstance(one, Committed) and one.after == 3 for one in again)
        heard = witness.heard()
        for run_id in runs:
            assert lines_of([m for m in heard if fields_of(m)["run_id"] == run_id]) == ["1", "2", "3"]
        assert not contradictions(heard)
    log.close()


async def test_a_link_that_breaks_while_making_acquaintance_is_an_outage(far: Log, link: Link) -> None:
    """The client must neither fail with something else, nor commit to a server that it does not know."""
    for _ in range(2):
        link.cut_reply_to(ACQUAINTANCE)
        with pytest.raises(RunlogUnavailable):
            await far.commit("r", [said("1")])
    assert (await far.commit("r", [said("1")])).after == 1
    assert link.cuts == 2


async def test_nobody_there_is_an_outage(
    client_kind: Kind, connect_log: Callable[..., Log], start_store: Callable[..., Server]
) -> None:
    """And no longer than it lasts."""
    server = start_store()
    log = connect_log(client_kind, server.url, fresh_keys())
    first = await log.commit("r", [said("1")])
    server.kill()
    for _ in range(2):
        with pytest.raises(RunlogUnavailable):
            await log.commit("r", [said("2")])
    server.start()
    second = await log.commit("r", [said("2")])
    assert second.epoch != first.epoch


# A broken link, and another server at its end


@pytest.fixture
def moving(link: Link, store: Server, start_store: Callable[..., Server]) -> Callable[[RunLog], Server]:
    """Copy a log's runs to another server, to which the link leads from its next connection on."""

    def move(log: RunLog) -> Server:
        other = start_store()
        with look_at(store) as here, look_at(other) as there:
            for key in here.keys(f"{log.keys.prefix}:run:*"):
                there.restore(key, here.pttl(key), here.dump(key))
        link.target_port = other.port
        return other

    return move


def elsewhere(store: Server, log: RunLog, move: Callable[[RunLog], Server], link: Link) -> list[bytes]:
    """All that is announced when the link breaks between NOSCRIPT and the script, and leads to an older server then."""
    for run_id in ("a", "b"):
        log.commit(Batch(run_id, "p", 1, [said("1")]))
    with Witness.of(store, log.keys) as here:
        other = move(log)
        # what the other server will never know: another producer's commit, so that no gap tells of it
        bystander = RunLog(store.url, log.keys)
        bystander.commit(Batch("a", "q", 1, [said("2, on the old server")]))
        bystander.close()
        with look_at(store) as client:
            client.script_flush()
        with Witness.of(other, log.keys) as there:
            batches = [Batch(run_id, "p", 2, [said("2")]) for run_id in ("a", "b")]
            link.cut_reply_to(b"EVALSHA", keep_lines=2)  # PONG, and NOSCRIPT for the first
            done: Any = log.commit_many(batches)
            rest = [batch for batch, one in zip(batches, done, strict=True) if not isinstance(one, Committed)]
            done = log.commit_many(rest)
            assert all(isinstance(one, Committed) for one in done)
            return here.heard() + there.heard()


@pytest.mark.parametrize(("store", "start_store"), [("valkey", "valkey"), ("redis", "redis")], indirect=True)
def test_the_script_is_never_sent_over_a_connection_that_nobody_has_asked_who_it_leads_to(
    store: Server, moving: Callable[[RunLog], Server], link: Link
) -> None:
    """The library below connects by itself; the other server may hold an older log under the same name."""
    log = RunLog(link.url, fresh_keys())
    announced = elsewhere(store, log, moving, link)
    assert not contradictions(announced)
    log.close()


@pytest.mark.parametrize(("store", "start_store"), [("valkey", "valkey")], indirect=True)
def test_else_a_number_would_be_announced_twice(store: Server, moving: Callable[[RunLog], Server], link: Link) -> None:
    """Negative control: the same, with a client that lets the library connect by itself."""

    class Trusting(RunLog):
        def _call(self, connection: Any, commands: Any) -> list[Any]:
            if not connection.is_connected:
                connection.connect()
            return super()._call(connection, commands)

    log = Trusting(link.url, fresh_keys())
    assert contradictions(elsewhere(store, log, moving, link))
    log.close()


def test_the_controls_are_of_the_script_that_is_used() -> None:
    """A control that changes nothing would be none."""
    assert isinstance(weakened(COMMIT, "local pass = number > mark", "local pass = true"), Script)
    with pytest.raises(AssertionError):
        weakened(COMMIT, "no such line", "")
