"""Producers' marks do not pile up in a run's hash, and a read does not pay for those that are there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runrelay.errors import RunlogUnavailable
from runrelay.outbox import Publisher
from runrelay.progress import make_event
from runrelay.runlog import AsyncRunLog, Batch, ProducerSequence, RunLog
from runrelay.runlog.reads import read_args
from runrelay.runlog.scripts import READ
from runrelay.settings import PublisherSettings
from tests.support.runlog import Link, Log, Witness, fields_of, fresh_keys, queued, read, said
from tests.support.servers import Server

HOUR_MS = 3_600_000
MARKS = 300
"""The number of marks that marks.lua always keeps."""


def marks_of(look: Any, keys: Any, run_id: str = "r") -> set[str]:
    return {name.decode()[2:] for name in look.hkeys(keys.run(run_id)[0]) if name.startswith(b"p:")}


def leave(look: Any, log: Log, silent_ms: dict[str, int]) -> None:
    """Marks of producers whose last commit was so long ago."""
    now_ms = look.time()[0] * 1000
    look.hset(
        log.keys.run("r")[0], mapping={f"p:{name}": f"5 0 0 {now_ms - ago_ms}" for name, ago_ms in silent_ms.items()}
    )


def long_ago(look: Any, log: Log) -> None:
    """Set the run's log to be older than all marks."""
    look.hset(log.keys.run("r")[0], "begun_at", 1)


async def test_the_longest_silent_producers_are_forgotten_first(log: Log, look: Any) -> None:
    """Each producer of a run leaves a mark in its hash; a run that lives for days must not keep all."""
    await log.commit("r", [said("1")], ProducerSequence("first"))
    long_ago(look, log)
    leave(look, log, {str(n): HOUR_MS + 60_000 + n * 1000 for n in range(400)})
    await log.commit("r", [said("2")], ProducerSequence("newcomer"))
    assert marks_of(look, log.keys) == {"first", "newcomer", *(str(n) for n in range(MARKS - 1))}
    # a producer whose mark was kept is still recognised
    assert (await log.commit("r", [said("6")], ProducerSequence("0", 6))).after == 3
    assert (await log.commit("r", [said("2")], ProducerSequence("newcomer"))).after == 3


async def test_none_that_may_still_send_is_forgotten(log: Log, look: Any, witness: Witness) -> None:
    """1,000 producers of one run, each silent for less than an hour: pruning one could begin a new epoch."""
    await log.commit("r", [said("1")], ProducerSequence("first"))
    long_ago(look, log)
    leave(look, log, {str(n): HOUR_MS - 60_000 for n in range(1000)})
    for n in range(70):
        await log.commit("r", [said("a line")], ProducerSequence(f"new {n}"))
    assert len(marks_of(look, log.keys)) == 1071
    await log.commit("r", [said("6")], ProducerSequence("999", 6))
    assert len({fields_of(message)["epoch"] for message in witness.heard()}) == 1


async def test_a_few_are_kept_however_long_they_are_silent(log: Log, look: Any) -> None:
    """300 marks cost nothing, and a producer that comes back after days is still recognised."""
    await log.commit("r", [said("1")], ProducerSequence("first"))
    long_ago(look, log)
    leave(look, log, {str(n): 48 * HOUR_MS for n in range(MARKS - 2)})
    for n in range(70):
        await log.commit("r", [said("a line")], ProducerSequence(f"new {n}"))
    assert {str(n) for n in range(MARKS - 100)} <= marks_of(look, log.keys)


async def test_time_in_which_the_server_was_away_is_no_silence(log: Log, look: Any, witness: Witness) -> None:
    """After an outage of hours, producers that waited for its end look as if they had been silent."""
    await log.commit("r", [said("1")], ProducerSequence("first"))  # the log begins now, after the outage
    leave(look, log, {str(n): 2 * HOUR_MS for n in range(1000)})
    for n in range(70):
        await log.commit("r", [said("a line")], ProducerSequence(f"new {n}"))
    assert len(marks_of(look, log.keys)) == 1071


async def test_many_marks_are_not_looked_through_for_each_new_one(log: Log, look: Any) -> None:
    """Pruning 20,000 marks takes the server several milliseconds: it must not happen for each new producer."""
    await log.commit("r", [said("1")])
    leave(look, log, {str(n): 0 for n in range(5000)})
    look.config_resetstat()
    for n in range(200):
        await log.commit("r", [said("a line")], ProducerSequence(f"new {n}"))
    looks = look.info("commandstats")["cmdstat_hscan"]["calls"]
    assert looks <= 5001 // 300 + 20, "once through"


def test_a_read_costs_the_same_however_many_producers_there_were(store: Server, look: Any) -> None:
    """20,000 short producers: if a read had their marks, it would take 1.7 MB and 17 ms, for which all other clients
    wait.
    """
    keys = fresh_keys()
    log = RunLog(store.url, keys)
    steps = {"plot": 1.0, "render": 2.0}
    log.commit(Batch("r", "p", 1, [queued(steps=make_steps(steps)), *(said(f"line {n}") for n in range(20))]))

    def cost_us() -> float:
        args = read_args(keys, "r", None, event_bytes=1 << 20, log_lines=1000)
        look.config_resetstat()
        for _ in range(100):
            look.eval(READ.text, 3, *args)
        stats = look.info("commandstats")
        return float(stats["cmdstat_eval"]["usec"]) / 100

    few = min(cost_us() for _ in range(3))
    before = read(look, keys, "r")
    for first in range(0, 20_000, 1000):
        look.hset(keys.run("r")[0], mapping={f"p:{n:012}": "5 0 0 1762300000000" for n in range(first, first + 1000)})
    many = min(cost_us() for _ in range(3))
    assert read(look, keys, "r") == before
    assert [step.name for step in before.snapshot.steps] == ["plot", "render"]
    assert many < 5 * few, f"{many:.0f} µs instead of {few:.0f}"
    log.close()


def make_steps(weights: dict[str, float]) -> Any:
    from runrelay.progress import step_specs

    return step_specs(weights)


# A producer that ends deletes its mark


@pytest.fixture
def publish(store: Server) -> Iterator[Callable[..., Publisher]]:
    """Make publishers under keys of the test's own."""
    made: list[Publisher] = []

    def new(url: str = store.url, **changes: Any) -> Publisher:
        made.append(Publisher(PublisherSettings(redis_url=url, keys=keys, **changes)))
        return made[-1]

    keys = fresh_keys()
    new.keys = keys  # type: ignore[attr-defined]
    yield new
    for publisher in made:
        publisher.close()


async def test_what_only_once_says_something_leaves_no_mark(store: Server, look: Any, publish: Any) -> None:
    """Each start, cancellation and stalled run of the API, each `queued` of a canvas: a producer's only event."""
    relay = AsyncRunLog(store.url, publish.keys)
    await relay.commit("r", [queued(precondition="absent")])
    await relay.commit("r", [said("2")])
    publish().commit("r", make_event(log="3"))
    assert marks_of(look, publish.keys) == set()
    kept = ProducerSequence.fresh()
    await relay.commit("r", [said("4")], kept)
    assert marks_of(look, publish.keys) == {kept.producer}
    assert (await relay.commit("r", [said("5")], kept)).after == 5
    await relay.close()


async def test_a_relay_s_mark_stays_where_a_reply_was_lost(link: Link, look: Any) -> None:
    """The first try may reach the server a second time, late; only by the mark it is recognised."""
    relay = AsyncRunLog(link.url, fresh_keys())
    await relay.commit("warm", [said("the script is known now")])
    link.cut_reply_to(b"EVALSHA")
    await relay.commit("r", [said("1")])
    assert link.cuts == 1
    assert len(marks_of(look, relay.keys)) == 1
    link.cut_reply_to(b"EVALSHA")
    sequence = ProducerSequence.fresh()
    with pytest.raises(RunlogUnavailable):
        await relay.commit("r", [said("2")], sequence, tries=1)
    await relay.commit("r", [said("2")], sequence)
    assert sequence.in_doubt
    await relay.close()


def test_a_publisher_that_is_closed_takes_its_marks_away(publish: Any, look: Any) -> None:
    """A later event comes from another producer."""
    publisher = publish()
    for said_ in range(3):
        for run_id in ("r", "s"):
            publisher.emit(run_id, make_event(log=f"line {said_}"))
        assert publisher.flush()
    assert len(marks_of(look, publish.keys)) == len(marks_of(look, publish.keys, "s")) == 1
    assert publisher.close()
    assert marks_of(look, publish.keys) == marks_of(look, publish.keys, "s") == set()
    publisher.emit("r", make_event(log="once more"))
    assert publisher.close()
    assert marks_of(look, publish.keys) == set()
    assert read(look, publish.keys, "r").snapshot.cursor.seq == 4


def test_a_producer_that_takes_a_new_name_takes_the_old_mark_away(
    publish: Any, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that lives for weeks and publishes for a run now and then must not leave marks."""
    monkeypatch.setattr("runrelay.outbox.outbox.RENUMBER_S", -1.0)
    publisher = publish()
    for n in range(5):
        publisher.emit("r", make_event(log=f"line {n}"))
        assert publisher.flush()
    assert len(marks_of(look, publish.keys)) <= 2
    assert read(look, publish.keys, "r").snapshot.cursor.seq == 5


SHORT = """
from runrelay import publish_progress
publish_progress("r", log="a line")
"""
SAID_AT_EXIT = """
import atexit
atexit.register(lambda: __import__("runrelay").publish_progress("r", log="the last word"))
from runrelay import publish_progress
publish_progress("r", log="a line")
"""


@pytest.mark.parametrize("program", [SHORT, SAID_AT_EXIT])
def test_a_short_process_leaves_no_mark(store: Server, look: Any, program: str) -> None:
    """A run of 20,000 short processes, each with one log line, must not keep their marks."""
    keys = fresh_keys()
    environment = {
        **os.environ,
        "REDIS_URL": store.url,
        "RUNRELAY_PREFIX": keys.prefix,
        "RUNRELAY_CHANNEL": keys.channel,
    }
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)
    assert marks_of(look, keys) == set()
    assert [line.message for line in read(look, keys, "r").snapshot.logs].count("a line") == 2
