"""Attempts: allocated by the commit of a start, raised by a redelivery or a retry, fenced when they are old."""

from typing import Any

import pytest

from runrelay.progress import Cursor, Snapshot
from runrelay.runlog import ProducerSequence
from runrelay.runlog.past_attempts import attempt_fields, parse_attempts
from tests.support.runlog import Log, Witness, contradictions, ended, fields_of, holes, queued, read, said, started


def snapshot(look: Any, log: Log, run_id: str = "r") -> Snapshot:
    return read(look, log.keys, run_id).snapshot


async def test_the_first_start_is_attempt_one(log: Log, witness: Witness) -> None:
    """The first start has attempt 1, whether the API has queued the run before or not."""
    assert (await log.commit("direct", [started()])).given_attempt == 1
    await log.commit("queued", [queued()])
    done = await log.commit("queued", [started(base_attempt=1)])
    assert (done.given_attempt, done.attempt, done.status) == (1, 1, "running")
    await log.commit("talked of", [said("something")])
    assert (await log.commit("talked of", [started()])).given_attempt == 1


async def test_a_redelivery_raises_the_attempt_and_fences_the_zombie(log: Log, witness: Witness, look: Any) -> None:
    """A worker that was replaced may still publish: its events are counted, and not delivered."""
    zombie, heir = ProducerSequence.fresh(), ProducerSequence.fresh()
    assert (await log.commit("r", [queued(), started(base_attempt=1)], zombie)).given_attempt == 1
    await log.commit("r", [said("zombie's", progress=0.7, attempt=1)], zombie)
    assert (await log.commit("r", [started(base_attempt=1)], heir)).given_attempt == 2
    done = await log.commit("r", [said("too late", progress=0.9, attempt=1), ended(attempt=1)], zombie)
    assert (done.attempt, done.status, done.fenced, done.before) == (2, "running", 2, done.after)
    await log.commit("r", [said("heir's", progress=0.1, attempt=2)], heir)
    after = snapshot(look, log)
    assert (after.attempt, after.progress, after.fenced) == (2, 0.1, 2)
    assert [line.message for line in after.logs] == ["zombie's", "heir's"]
    assert not holes(witness.heard())


async def test_a_new_attempt_begins_with_nothing_but_its_log(log: Log, witness: Witness, look: Any) -> None:
    """Progress is null, error and result are gone; seq and log lines go on."""
    await log.commit("r", [started(title="t"), said("line", progress=0.6), ended("FAILED", error="e", result=b"1")])
    before = snapshot(look, log)
    assert (before.error, before.result, before.finished_at is None) == ("e", 1, False)
    done = await log.commit("r", [started()])
    after = snapshot(look, log)
    assert (done.given_attempt, done.after) == (2, 4)
    assert (after.progress, after.error, after.result, after.finished_at) == (None, None, None, None)
    assert (after.status, after.title, after.created_at) == ("running", "t", before.created_at)
    assert after.started_at is not None
    assert [line.message for line in after.logs] == ["line"]
    last = fields_of(witness.heard()[-1])
    assert (last["attempt"], last["progress"], last["state"], last["status"]) == (2, None, "STARTED", "running")


@pytest.mark.parametrize("state", ["END", "CANCELLED"])
async def test_a_redelivery_never_leads_out_of_a_good_end_or_a_cancel(log: Log, witness: Witness, state: str) -> None:
    """A task that is redelivered after its end must not show a finished run as running."""
    await log.commit("r", [queued(), started(base_attempt=1), ended(state)])
    done = await log.commit("r", [started(base_attempt=1), said("ghost")])
    assert (done.given_attempt, done.fenced, done.before) == (0, 2, done.after)
    assert (await log.commit("r", [started()])).given_attempt == 0
    assert len(witness.heard()) == 3


async def test_from_failed_a_redelivery_does_begin_again(log: Log) -> None:
    """Celery's own retry after the run was marked failed."""
    await log.commit("r", [queued(), started(base_attempt=1), ended("FAILED")])
    assert (await log.commit("r", [started(base_attempt=1)])).given_attempt == 2


@pytest.mark.parametrize("state", ["END", "CANCELLED", "FAILED"])
async def test_a_program_run_again_by_hand_reopens(log: Log, state: str) -> None:
    """A program that is started again by hand with the same id begins a new attempt."""
    await log.commit("r", [started(), ended(state)])
    done = await log.commit("r", [started(reopen=True)])
    assert (done.given_attempt, done.status) == (2, "running")


@pytest.mark.parametrize("state", ["END", "CANCELLED", "FAILED"])
async def test_a_retry_through_the_queue_is_the_next_attempt(log: Log, witness: Witness, state: str) -> None:
    """The API allocates the attempt, so that it can return it to the caller, and the start uses it."""
    await log.commit("r", [queued(), started(base_attempt=1), ended(state)])
    again = await log.commit("r", [queued(precondition="ended")])
    assert (again.attempt, again.status) == (2, "queued")
    begun = await log.commit("r", [started(base_attempt=2)])
    assert (begun.given_attempt, begun.status) == (2, "running")
    # and a redelivery of the retried task is one more attempt
    assert (await log.commit("r", [started(base_attempt=2)])).given_attempt == 3
    assert [fields_of(message)["attempt"] for message in witness.heard()] == [1, 1, 1, 2, 2, 3]


async def test_a_start_of_an_older_queueing_is_fenced(log: Log) -> None:
    """The first task, redelivered after a retry was requested, must not replace the retry."""
    await log.commit("r", [queued(), started(base_attempt=1), ended("FAILED"), queued(precondition="ended")])
    late = ProducerSequence.fresh()
    done = await log.commit("r", [started(base_attempt=1)], late)
    assert (done.given_attempt, done.attempt, done.status, done.fenced) == (0, 2, "queued", 1)
    assert (await log.commit("r", [started(base_attempt=2)])).given_attempt == 2
    assert (await log.commit("r", [started(base_attempt=1)], late)).given_attempt == 0


async def test_a_start_whose_reply_was_lost_is_given_the_same_attempt(log: Log, witness: Witness) -> None:
    """A start that is sent again must not fence itself, even if other producers have committed in between."""
    first = await log.commit("r", [started(base_attempt=1)], ProducerSequence("p"))
    await log.commit("r", [said("another's")])
    again = await log.commit("r", [started(base_attempt=1)], ProducerSequence("p"))
    assert (first.given_attempt, again.given_attempt) == (1, 1)
    # also when a redelivery has overtaken it: its reply has its own attempt, and its events are fenced
    await log.commit("r", [started(base_attempt=1)], ProducerSequence("q"))
    again = await log.commit("r", [started(base_attempt=1), said("mine", attempt=1)], ProducerSequence("p"))
    assert (again.given_attempt, again.attempt, again.fenced) == (1, 2, 1)
    assert len(witness.heard()) == 3


async def test_an_event_without_an_attempt_is_of_the_current_one(log: Log, witness: Witness) -> None:
    """A program beside the task publishes for the current attempt."""
    await log.commit("r", [started()])
    await log.commit("r", [started()])
    await log.commit("r", [said("from beside")])
    assert fields_of(witness.heard()[-1])["attempt"] == 2


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "END"])
async def test_the_end_of_a_task_that_never_ran_is_fenced_by_what_it_was_sent_for(log: Log, state: str) -> None:
    """The attempt of a revoked task is not known; but its revocation must not end a retry that was requested since."""
    await log.commit("r", [queued(), ended("FAILED"), queued(precondition="ended")])
    late = await log.commit("r", [ended(state, base_attempt=1)])
    assert (late.status, late.fenced) == ("queued", 1)
    own = await log.commit("r", [ended(state, base_attempt=2)])
    assert (own.status, own.fenced) == ({"FAILED": "failed", "CANCELLED": "cancelled", "END": "succeeded"}[state], 0)


async def test_a_late_start_is_fenced_when_something_else_has_begun(log: Log) -> None:
    """A start that is replayed from the spool of a dead worker must not replace a living worker."""
    await log.commit("begun", [queued(), started(base_attempt=1)])
    late = await log.commit("begun", [started(base_attempt=1, only_if_not_superseded=True), said("late", attempt=1)])
    assert (late.given_attempt, late.attempt) == (0, 1)
    await log.commit("waiting", [queued()])
    assert (await log.commit("waiting", [started(base_attempt=1, only_if_not_superseded=True)])).given_attempt == 1
    assert (await log.commit("unheard of", [started(only_if_not_superseded=True)])).given_attempt == 1
    await log.commit("failed", [started(), ended("FAILED")])
    assert (await log.commit("failed", [started(only_if_not_superseded=True)])).given_attempt == 2


# Lost data: the log is older than its producers


async def test_a_fence_above_the_log_s_attempt_is_believed(log: Log, witness: Witness, look: Any) -> None:
    """The attempt was allocated and the server has lost it: the worker with this attempt goes on."""
    await log.commit("r", [started(), said(progress=0.9)])
    done = await log.commit("r", [said("attempt three's", progress=0.2, attempt=3)])
    assert (done.attempt, done.fenced) == (3, 0)
    assert snapshot(look, log).progress == 0.2
    assert (await log.commit("r", [said("one's", attempt=1)])).fenced == 1


async def test_a_redelivery_after_lost_data_is_not_given_the_living_attempt(log: Log) -> None:
    """Two workers with one attempt would not be fenced from each other."""
    await log.commit("r", [started()])
    await log.commit("r", [said("attempt three's", attempt=3)])
    assert (await log.commit("r", [started()])).given_attempt == 4
    assert (await log.commit("r", [said("three again", attempt=3)])).fenced == 1


@pytest.mark.parametrize("state", ["END", "FAILED", "CANCELLED"])
async def test_a_retry_that_the_server_has_forgotten_still_begins(log: Log, state: str) -> None:
    """The task was sent with attempt 2, and the log is at the end of attempt 1."""
    await log.commit("start", [queued(), started(base_attempt=1), ended(state)])
    begun = await log.commit("start", [started(base_attempt=2)])
    assert (begun.given_attempt, begun.status) == (2, "running")
    await log.commit("event", [queued(), started(base_attempt=1), ended(state)])
    going_on = await log.commit("event", [said("on the way", attempt=2)])
    assert (going_on.attempt, going_on.status, going_on.fenced) == (2, "running", 0)


async def test_a_start_for_a_higher_attempt_takes_it(log: Log) -> None:
    """As above, for a run that has not ended in the older log."""
    await log.commit("r", [queued(), started(base_attempt=1)])
    assert (await log.commit("r", [started(base_attempt=5)])).given_attempt == 5


async def test_attempts_in_one_batch_are_as_attempts_in_many(log: Log, witness: Witness, look: Any) -> None:
    """A worker that was cut off for a long time sends a whole run in one batch."""
    life = [
        queued(title="t"),
        started(base_attempt=1),
        said("1", progress=0.5, attempt=1),
        ended("FAILED", error="e", attempt=1),
        started(base_attempt=1),
        said("2", progress=0.1, attempt=2),
        said("zombie", attempt=1),
        ended("END", result=b'{"a":1}', attempt=2),
    ]
    together = await log.commit("together", life)
    sequence = ProducerSequence.fresh()
    for event in life:
        one = await log.commit("single", [event], sequence)
    assert (together.after, together.attempt, together.given_attempt) == (one.after, 2, 2)
    a, b = snapshot(look, log, "together"), snapshot(look, log, "single")
    for name in ("state", "status", "progress", "attempt", "title", "result", "error", "fenced"):
        assert getattr(a, name) == getattr(b, name), name
    volatile = ("run_id", "epoch", "seal")
    told = [
        {key: value for key, value in fields_of(message).items() if key not in volatile} for message in witness.heard()
    ]
    assert told[:7] == told[7:]
    assert not contradictions(witness.heard())
    assert read(look, log.keys, "single", Cursor("0", 0)).events == witness.stream("single")


async def test_what_an_attempt_has_made_is_kept(log: Log, look: Any) -> None:
    """Running again would destroy a result for good, also when the second attempt is cancelled."""
    await log.commit("r", [started(), said("RENDERING"), ended(result=b'{"film":"one.mp4"}')])
    await log.commit("r", [queued(), started(base_attempt=2), ended("FAILED", error='no "disk"\n/다', attempt=2)])
    await log.commit("r", [started(base_attempt=2), said("x", attempt=3), started(base_attempt=3)])
    values = look.hmget(log.keys.run("r")[0], *attempt_fields(snapshot(look, log).attempt))
    first, second, third = parse_attempts(values)
    assert (first["attempt"], first["status"], first["result"]) == (1, "succeeded", {"film": "one.mp4"})
    assert first["started_at"] <= first["finished_at"]
    assert (second["attempt"], second["status"], second["error"]) == (2, "failed", 'no "disk"\n/다')
    assert second["result"] is None
    assert (third["attempt"], third["status"]) == (3, "cancelled"), "it was replaced while it ran"
    assert third["started_at"] <= third["finished_at"]


async def test_the_last_ten_attempts_are_kept(log: Log, look: Any) -> None:
    """A task that is delivered again and again must not fill the run's hash."""
    for number in range(14):
        await log.commit("r", [started(reopen=True), ended(result=b"%d" % number)])
    names = {name for name in look.hkeys(log.keys.run("r")[0]) if name.startswith(b"a:")}
    assert names == {b"a:%d" % number for number in range(4, 14)}
    values = look.hmget(log.keys.run("r")[0], *attempt_fields(14))
    assert [one["result"] for one in parse_attempts(values)] == list(range(3, 13))


@pytest.mark.parametrize("spoilt", [b"", b"x", b"[]", b"7", b'{"attempt":"1"}', b'{"attempt":1,"status":"odd"}'])
def test_a_spoilt_attempt_is_left_out(spoilt: bytes) -> None:
    """Others can write anything into a run's hash."""
    assert parse_attempts([spoilt, None]) == []
