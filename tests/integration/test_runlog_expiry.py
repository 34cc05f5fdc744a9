"""Expiry: every key of a run has one; heartbeats renew unfinished runs, and no command creates an expired run again."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runrelay.errors import RunlogUnavailable
from runrelay.progress import step_specs
from runrelay.runlog import Batch, Keys, ProducerSequence, Retention, RunLog
from tests.support.runlog import Log, ended, fresh_keys, keys_without_expiry, queued, said, started
from tests.support.servers import Server

RUN_TTL_S, ENDED_RUN_TTL_S = 24 * 3600, 3600


class Life:
    """One run, checked after every commit."""

    def __init__(self, log: RunLog, look: Any) -> None:
        self.log = log
        self.look = look
        self.keys = log.keys.run("r")
        self._sequence = ProducerSequence.fresh()

    def commit(self, *events: Any) -> None:
        self.log.commit(Batch("r", self._sequence.producer, self._sequence.next, events))
        self._sequence.next += len(events)
        assert not keys_without_expiry(self.look, self.log.keys)

    def assert_expires_in(self, expected_s: int) -> None:
        """All keys expire together, within the seconds that a slow machine needs to check."""
        left_s = {key: self.look.pttl(key) / 1000 for key in self.keys if self.look.exists(key)}
        assert left_s
        assert all(expected_s - 5 < left <= expected_s for left in left_s.values()), left_s

    def age(self, left_s: int) -> None:
        """Set the keys' remaining time."""
        now_ms = self.look.time()[0] * 1000
        self.look.hset(self.keys[0], "renewed_at", now_ms - (RUN_TTL_S - left_s) * 1000)
        for key in self.keys:
            self.look.expire(key, left_s)


@pytest.fixture
def life(store: Server, look: Any) -> Iterator[Life]:
    log = RunLog(store.url, fresh_keys(), Retention(RUN_TTL_S, ENDED_RUN_TTL_S))
    yield Life(log, look)
    log.close()


def test_all_keys_of_a_run_expire_at_every_moment(life: Life) -> None:
    """From the first event to the last, in whichever order the keys are created."""
    life.commit(queued(steps=step_specs(["a"])))
    assert life.look.exists(life.keys[2]) == 0
    life.commit(started())
    life.commit(said(progress=0.1))
    life.commit(said("the first line comes late"))
    life.assert_expires_in(RUN_TTL_S)
    life.commit(said(kind="step_start", step="a"), said(kind="retrying"))
    life.commit(ended("FAILED", error="e"))
    life.assert_expires_in(ENDED_RUN_TTL_S)
    life.commit(said("too late"))
    life.commit(queued(precondition="ended"))
    life.assert_expires_in(RUN_TTL_S)
    life.commit(ended())
    life.assert_expires_in(ENDED_RUN_TTL_S)


def test_a_run_in_one_commit_has_the_short_time(life: Life) -> None:
    """A run may end with its first event."""
    life.commit(queued(), started(), said("line"), ended())
    life.assert_expires_in(ENDED_RUN_TTL_S)


@pytest.mark.parametrize("lost", [[0], [1], [2], [0, 2], [1, 2]])
def test_what_heals_expires_too(life: Life, lost: list[int]) -> None:
    """A key that is created again has no expiry by itself."""
    life.commit(said("1"), said("2"))
    life.age(100)
    life.look.delete(*(life.keys[index] for index in lost))
    life.commit(said("3"))
    life.assert_expires_in(RUN_TTL_S)


def test_a_line_that_comes_late_renews_all(life: Life) -> None:
    """The three keys are one run: none may expire before the others."""
    life.commit(said(progress=0.1))
    for key in life.keys:
        life.look.expire(key, 100)
    life.commit(said("the first line"))
    life.assert_expires_in(RUN_TTL_S)


def test_events_renew_a_run_but_not_each_of_them(life: Life) -> None:
    """Three more commands per commit would be a third of its cost; once a minute is enough for a day."""
    life.commit(said("1"))
    for key in life.keys:
        life.look.expire(key, 100)
    life.commit(said("2"))
    life.assert_expires_in(100)
    life.age(RUN_TTL_S - 61)
    life.commit(said("3"))
    life.assert_expires_in(RUN_TTL_S)


def test_a_short_expiry_is_renewed_in_time(store: Server, look: Any) -> None:
    """With an expiry of some seconds, once a minute would be too late."""
    log = RunLog(store.url, fresh_keys(), Retention(run_ttl_s=3))
    short = Life(log, look)
    short.commit(said("1"))
    for key in short.keys:
        look.expire(key, 1)
    look.hset(short.keys[0], "renewed_at", look.time()[0] * 1000 - 1000)
    short.commit(said("2"))
    short.assert_expires_in(3)
    assert look.pttl(short.keys[0]) > 1000
    log.close()


def test_what_comes_too_late_does_not_keep_an_ended_run(life: Life) -> None:
    """A replaced worker that goes on for days would keep the run for days."""
    life.commit(started(), ended())
    life.age(100)
    life.commit(said("zombie"))
    life.commit(said(progress=0.5))
    life.assert_expires_in(100)


# Heartbeats


def test_a_heartbeat_renews_an_unfinished_run(life: Life) -> None:
    """A task that publishes nothing for a day is alive as long as its worker is."""
    life.commit(started(), said("line"))
    life.age(100)
    assert life.log.heartbeat(["r"]) == {"r": "running"}
    life.assert_expires_in(RUN_TTL_S)
    assert life.look.zscore(life.log.keys.alive, "r") is not None
    beat = int(life.look.hget(life.keys[0], "heartbeat_at"))
    assert abs(beat - life.look.time()[0] * 1000) < 5000


@pytest.mark.parametrize("state", ["END", "FAILED", "CANCELLED"])
def test_a_heartbeat_neither_renews_nor_changes_an_ended_run(life: Life, state: str) -> None:
    """Heartbeats of a living worker must not renew its ended runs."""
    life.commit(started(), ended(state))
    life.age(100)
    before = life.look.hgetall(life.keys[0])
    (status,) = life.log.heartbeat(["r"]).values()
    assert status in ("succeeded", "failed", "cancelled")
    life.assert_expires_in(100)
    assert life.look.hgetall(life.keys[0]) == before
    assert life.look.zscore(life.log.keys.alive, "r") is None


def test_a_heartbeat_creates_nothing(life: Life) -> None:
    """A heartbeat must not create a run whose keys have expired."""
    assert life.log.heartbeat(["nobody", "r"]) == {"nobody": None, "r": None}
    assert not life.look.keys(f"{life.log.keys.prefix}:*")
    life.commit(started())
    assert life.log.heartbeat(["nobody", "r"]) == {"nobody": None, "r": "running"}
    assert life.log.heartbeat([]) == {}


def test_a_key_that_is_no_run_does_not_let_the_others_look_dead(life: Life) -> None:
    """One key that is not a run's must not let all runs of that worker be marked as stalled."""
    life.commit(started())
    life.look.set(life.log.keys.run("taken")[0], "a string")
    assert life.log.heartbeat(["taken", "r"]) == {"taken": None, "r": "running"}


def test_a_heartbeat_to_nobody_is_an_outage(life: Life, start_valkey: Callable[..., Server]) -> None:
    """The heartbeat thread must go on trying."""
    server = start_valkey()
    log = RunLog(server.url, Keys())
    log.commit(Batch("r", "p", 1, [said("1")]))
    server.kill()
    with pytest.raises(RunlogUnavailable):
        log.heartbeat(["r"])
    server.start()
    assert log.heartbeat(["r"]) == {"r": None}
    log.close()


async def test_a_stalled_run_recovers_with_its_heartbeat_s_worker(log: Log, look: Any) -> None:
    """Any event of the run is enough; its keys keep their long expiry until then."""
    await log.commit("r", [started()])
    look.hset(log.keys.run("r")[0], "heartbeat_at", 1)
    assert (await log.commit("r", [said(kind="stalled", stale_before_ms=2)])).status == "stalled"
    assert not keys_without_expiry(look, log.keys)
    assert (await log.commit("r", [said("here I am")])).status == "running"
