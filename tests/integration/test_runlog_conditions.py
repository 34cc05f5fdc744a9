"""Preconditions of a commit, and what a refused commit leaves behind."""

from typing import Any

import pytest

from runrelay.errors import CommitRefused, RunExists, RunNotEnded
from runrelay.runlog import ProducerSequence
from tests.support.runlog import Log, Witness, ended, queued, said, started


async def test_absent_is_refused_for_a_run_that_exists(log: Log, witness: Witness) -> None:
    """Two starts under one id must not become one run."""
    condition = queued(precondition="absent")
    await log.commit("r", [condition])
    with pytest.raises(RunExists) as raised:
        await log.commit("r", [condition])
    assert (raised.value.run_id, raised.value.status, raised.value.attempt) == ("r", "queued", 1)
    assert len(witness.heard()) == 1


async def test_absent_sent_again_after_a_lost_reply_is_not_refused_by_itself(log: Log, witness: Witness) -> None:
    """The existing run is the caller's own: it would get 409 for a run that it has just started."""
    condition = queued(precondition="absent")
    first = await log.commit("r", [condition], ProducerSequence("p"))
    again = await log.commit("r", [condition], ProducerSequence("p"))
    assert (again.before, again.after, again.epoch, again.status) == (1, 1, first.epoch, "queued")
    assert len(witness.heard()) == 1


async def test_ended_is_refused_until_it_has(log: Log) -> None:
    """A retry of an unfinished run would have two workers."""
    retry = queued(precondition="ended")
    with pytest.raises(CommitRefused, match="unknown") as raised:
        await log.commit("r", [retry])
    assert not isinstance(raised.value, RunNotEnded)
    await log.commit("r", [started()])
    with pytest.raises(RunNotEnded, match="running") as ended_:
        await log.commit("r", [retry])
    assert (ended_.value.status, ended_.value.attempt) == ("running", 1)
    await log.commit("r", [ended("FAILED")])
    assert (await log.commit("r", [retry])).attempt == 2


async def test_unfinished_is_refused_once_it_has_ended(log: Log) -> None:
    """Cancelling an ended run is a conflict, not a second end."""
    cancel = ended("CANCELLED", precondition="unfinished")
    with pytest.raises(CommitRefused, match="unknown"):
        await log.commit("r", [cancel])
    await log.commit("r", [started()])
    assert (await log.commit("r", [cancel])).status == "cancelled"
    with pytest.raises(CommitRefused, match="cancelled"):
        await log.commit("r", [cancel])


async def test_a_refused_batch_leaves_nothing_behind(log: Log, look: Any) -> None:
    """A part of a refused batch, or its mark, would make the script skip later events."""
    await log.commit("r", [said("1")])
    before = look.hgetall(log.keys.run("r")[0])
    sequence = ProducerSequence.fresh()
    with pytest.raises(CommitRefused):
        await log.commit("r", [said("2"), queued(precondition="absent")], sequence)
    assert look.hgetall(log.keys.run("r")[0]) == before
    assert sequence.next == 1
    with pytest.raises(CommitRefused):
        await log.commit("nobody", [queued(precondition="ended")])
    assert not look.exists(*log.keys.run("nobody"))
