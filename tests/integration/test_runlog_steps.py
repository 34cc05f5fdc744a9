"""Steps: members of a canvas, rolled up into the run's progress, fenced by their own attempts."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runrelay.progress import Event, Step, step_specs
from runrelay.runlog import Batch, ProducerSequence, RunLog
from tests.support.runlog import Log, Witness, ended, fields_of, fresh_keys, queued, read, said
from tests.support.servers import Server

STEPS = step_specs({"plot": 2, "images": 3, "music": 1, "voice": 2, "render": 2})


def begun(step: str, **fields: Any) -> Event:
    """What a worker commits when a member of a canvas begins."""
    return said(kind="step_start", step=step, **fields)


def steps_of(look: Any, log: Log, run_id: str = "r") -> dict[str, Step]:
    return {step.name: step for step in read(look, log.keys, run_id).snapshot.steps}


async def test_declared_steps_wait_in_their_order(log: Log, witness: Witness, look: Any) -> None:
    """The page draws them before the first has begun."""
    await log.commit("r", [queued(steps=STEPS)])
    steps = read(look, log.keys, "r").snapshot.steps
    assert [(step.name, step.weight, step.status, step.progress) for step in steps] == [
        (spec.name, spec.weight, "queued", None) for spec in STEPS
    ]
    assert fields_of(witness.heard()[0])["steps"] == [{"name": s.name, "weight": s.weight} for s in STEPS]


async def test_progress_of_steps_is_rolled_up_by_weight(log: Log, witness: Witness) -> None:
    """Two of ten parts done, and half of three more: 0.35."""
    await log.commit("r", [queued(steps=STEPS)])
    await log.commit("r", [begun("plot"), ended(step="plot"), begun("images"), said(step="images", progress=0.5)])
    told = [fields_of(message) for message in witness.heard()[1:]]
    assert [fields["progress"] for fields in told] == [0, 0.2, 0.2, 0.35]
    assert [(f["step"], f["step_status"], f["step_progress"], f["step_attempt"]) for f in told] == [
        ("plot", "running", None, 1),
        ("plot", "succeeded", 1, 1),
        ("images", "running", None, 1),
        ("images", "running", 0.5, 1),
    ]
    assert {fields["status"] for fields in told} == {"running"}


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    weights=st.lists(st.integers(1, 50), min_size=1, max_size=6),
    reports=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 100)), max_size=40),
)
def test_the_roll_up_is_exact(valkey_server: Server, weights: list[int], reports: list[tuple[int, int]]) -> None:
    """The running sum must not drift from the steps' own values; at the end it is exactly 1."""
    log = RunLog(valkey_server.url, fresh_keys())
    sequence = ProducerSequence.fresh()
    best = [0] * len(weights)
    highest = Fraction(0)

    def commit(*events: Event) -> None:
        log.commit(Batch("r", sequence.producer, sequence.next, events))
        sequence.next += len(events)

    def shown() -> float | None:
        with valkey_server.client() as client:
            return read(client, log.keys, "r").snapshot.progress

    commit(queued(steps=step_specs({str(i): weight for i, weight in enumerate(weights)})))
    for index, percent in reports:
        index %= len(weights)
        commit(said(step=str(index), progress=percent / 100))
        best[index] = max(best[index], percent)
        parts = sum(b * w for b, w in zip(best, weights, strict=True))
        highest = max(highest, Fraction(parts, 100 * sum(weights)))
    if reports:
        assert abs((shown() or 0) - float(highest)) < 1e-6
    commit(*(ended(step=str(i)) for i in range(len(weights))))
    assert shown() == 1
    log.close()


async def test_a_step_that_nobody_declared_joins_with_weight_one(log: Log, look: Any) -> None:
    """The size of a group may be known only while it runs; the run's progress must not go down for it."""
    await log.commit("r", [said(step="a", progress=0.8)])
    await log.commit("r", [said(step="b", progress=0.0)])
    snapshot = read(look, log.keys, "r").snapshot
    assert [(step.name, step.weight) for step in snapshot.steps] == [("a", 1), ("b", 1)]
    assert snapshot.progress == 0.8
    await log.commit("r", [said(step="b", progress=1.0)])
    assert read(look, log.keys, "r").snapshot.progress == 0.9


async def test_a_step_s_progress_never_goes_down(log: Log, look: Any) -> None:
    """Within an attempt a step's progress does not go down, as the run's."""
    sequence = ProducerSequence.fresh()
    await log.commit("r", [said(step="a", progress=0.8)], sequence)
    done = await log.commit("r", [said(step="a", progress=0.3)], sequence)
    assert (done.before, done.after) == (1, 1)
    assert steps_of(look, log)["a"].progress == 0.8


async def test_only_the_canvas_ends_the_run(log: Log, look: Any) -> None:
    """A member's END ends its step, also when it is the last."""
    await log.commit("r", [queued(steps=step_specs(["a", "b"]))])
    await log.commit("r", [begun("a"), ended(step="a"), begun("b")])
    done = await log.commit("r", [ended("FAILED", step="b", error="boom")])
    assert done.status == "running"
    steps = steps_of(look, log)
    assert (steps["a"].status, steps["b"].status, steps["b"].error) == ("succeeded", "failed", "boom")
    assert steps["a"].finished_at is not None
    snapshot = read(look, log.keys, "r").snapshot
    assert (snapshot.error, snapshot.state) == (None, "QUEUED")


async def test_finish_ends_the_run_only_when_all_steps_are_done(log: Log, witness: Witness) -> None:
    """Each member commits `finish`; that of the last member counts, whichever it is."""
    await log.commit("r", [queued(steps=step_specs(["a", "b"]))])
    finish = said(kind="finish", state="END", attempt=1)
    done = await log.commit("r", [begun("a"), ended(step="a"), finish])
    assert (done.status, done.fenced) == ("running", 0)
    done = await log.commit("r", [begun("b"), ended(step="b"), finish, finish])
    assert (done.status, done.after, done.fenced) == ("succeeded", 6, 0)
    last = fields_of(witness.heard()[-1])
    assert (last["state"], last["progress"], last["status"]) == ("END", 1, "succeeded")


async def test_finish_of_an_older_attempt_does_not_end_the_newer(log: Log) -> None:
    """The last member of a replaced attempt may come late."""
    life = [queued(steps=step_specs(["a"])), begun("a"), ended(step="a"), ended("FAILED"), queued(precondition="ended")]
    await log.commit("r", life)
    await log.commit("r", [begun("a", attempt=2), ended(step="a", attempt=2)])
    assert (await log.commit("r", [said(kind="finish", state="END", attempt=1)])).status == "running"
    assert (await log.commit("r", [said(kind="finish", state="END", attempt=2)])).status == "succeeded"


async def test_a_member_delivered_again_fences_its_elder(log: Log, look: Any) -> None:
    """Each step has its own attempt; the run's stays."""
    elder, heir = ProducerSequence.fresh(), ProducerSequence.fresh()
    await log.commit("r", [queued(steps=step_specs({"a": 1, "b": 3}))])
    first = await log.commit(
        "r", [begun("a", attempt=1), said(step="a", progress=0.8, attempt=1, step_attempt=1)], elder
    )
    second = await log.commit("r", [begun("a", attempt=1)], heir)
    assert (first.given_step_attempt, second.given_step_attempt, second.attempt) == (1, 2, 1)
    late = [
        said("late", step="a", progress=0.9, attempt=1, step_attempt=1),
        ended(step="a", attempt=1, step_attempt=1),
    ]
    done = await log.commit("r", late, elder)
    assert (done.fenced, done.before) == (2, done.after)
    step = steps_of(look, log)["a"]
    assert (step.attempt, step.status, step.progress) == (2, "running", None)
    await log.commit("r", [said(step="a", progress=0.4, attempt=1, step_attempt=2)], heir)
    assert steps_of(look, log)["a"].progress == 0.4
    assert read(look, log.keys, "r").snapshot.progress == 0.2


async def test_a_step_whose_end_was_told_is_not_changed_by_what_comes_late(log: Log, look: Any) -> None:
    """Events of a replaced worker may come at any time."""
    await log.commit("r", [begun("a"), ended(step="a")])
    done = await log.commit("r", [said("late", step="a"), ended("FAILED", step="a")])
    assert done.fenced == 2
    assert steps_of(look, log)["a"].status == "succeeded"


async def test_a_step_being_retried_says_so_and_begins_again(log: Log, look: Any) -> None:
    """When Celery retries one member, the run goes on."""
    await log.commit("r", [begun("a"), said(step="a", progress=0.5)])
    done = await log.commit("r", [said(kind="retrying", step="a", step_attempt=1)])
    assert (done.status, steps_of(look, log)["a"].status) == ("running", "retrying")
    done = await log.commit("r", [begun("a")])
    step = steps_of(look, log)["a"]
    assert (done.given_step_attempt, step.attempt, step.status, step.progress) == (2, 2, "running", None)


async def test_a_step_that_begins_again_after_success_is_not_done_any_more(log: Log) -> None:
    """A step that begins again must not be counted as done: the canvas would end while it runs."""
    await log.commit("r", [queued(steps=step_specs(["a", "b"])), begun("a"), ended(step="a"), begun("a")])
    done = await log.commit("r", [begun("b"), ended(step="b"), said(kind="finish", state="END")])
    assert done.status == "running"
    done = await log.commit("r", [ended(step="a"), said(kind="finish", state="END")])
    assert done.status == "succeeded"


async def test_a_late_step_start_is_fenced_when_the_step_has_begun(log: Log) -> None:
    """As with a run's start: a replayed start must not replace a living worker."""
    await log.commit("r", [queued(steps=step_specs(["a", "b"])), begun("a")])
    late = await log.commit("r", [begun("a", only_if_not_superseded=True)])
    assert (late.given_step_attempt, late.fenced) == (0, 1)
    assert (await log.commit("r", [begun("b", only_if_not_superseded=True)])).given_step_attempt == 1


async def test_a_start_that_is_fenced_is_given_nothing(log: Log) -> None:
    """A step of a replaced attempt must learn that it is not wanted."""
    sequence = ProducerSequence.fresh()
    await log.commit("r", [queued(steps=step_specs(["a", "b"])), begun("a", attempt=1)], sequence)
    await log.commit("r", [ended("FAILED"), queued(precondition="ended")])
    done = await log.commit("r", [begun("b", attempt=1)], sequence)
    assert (done.given_step_attempt, done.fenced) == (0, 1)


async def test_a_step_start_whose_reply_was_lost_is_given_the_same(log: Log) -> None:
    """A start that is sent again must not fence itself."""
    first = await log.commit("r", [begun("a")], ProducerSequence("p"))
    again = await log.commit("r", [begun("a")], ProducerSequence("p"))
    assert (first.given_step_attempt, again.given_step_attempt) == (1, 1)


async def test_a_step_fence_above_the_log_s_is_believed(log: Log, look: Any) -> None:
    """If the server has lost a step's second attempt, the third must not get the same number."""
    await log.commit("r", [queued(steps=step_specs(["a", "b"])), begun("a"), said(step="a", progress=0.9)])
    done = await log.commit("r", [said(step="a", progress=0.2, attempt=1, step_attempt=2)])
    assert done.fenced == 0
    step = steps_of(look, log)["a"]
    assert (step.attempt, step.progress) == (2, 0.2)
    assert (await log.commit("r", [begun("a")])).given_step_attempt == 3


@pytest.mark.parametrize("in_one_batch", [False, True])
async def test_a_new_attempt_resets_all_steps(log: Log, look: Any, in_one_batch: bool) -> None:
    """Also steps that were declared or begun in the same batch."""
    life = [
        queued(steps=step_specs({"a": 1, "b": 3})),
        begun("a"),
        ended(step="a"),
        begun("b"),
        said(step="b", progress=0.5),
        ended("FAILED"),
        queued(precondition="ended"),
    ]
    sequence = ProducerSequence.fresh()
    for batch in [life] if in_one_batch else [[event] for event in life]:
        await log.commit("r", batch, sequence)
    assert [(s.name, s.weight, s.status, s.progress, s.attempt) for s in steps_of(look, log).values()] == [
        ("a", 1, "queued", None, 1),
        ("b", 3, "queued", None, 1),
    ]
    done = await log.commit("r", [begun("b", attempt=2), said(step="b", progress=0.5, attempt=2)], sequence)
    assert done.given_step_attempt == 1
    assert read(look, log.keys, "r").snapshot.progress == 0.375


@pytest.mark.parametrize("in_one_batch", [False, True])
async def test_a_new_attempt_with_other_steps_has_those_only(log: Log, look: Any, in_one_batch: bool) -> None:
    """A canvas may be built again for its retry."""
    life = [
        queued(steps=step_specs({"a": 1, "b": 3})),
        ended(step="a"),
        ended("FAILED"),
        queued(precondition="ended", steps=step_specs({"b": 1, "c": 1})),
        said(step="c", progress=0.5),
    ]
    sequence = ProducerSequence.fresh()
    for batch in [life] if in_one_batch else [[event] for event in life]:
        await log.commit("r", batch, sequence)
    snapshot = read(look, log.keys, "r").snapshot
    assert [(s.name, s.weight, s.status) for s in snapshot.steps] == [("b", 1, "queued"), ("c", 1, "running")]
    assert snapshot.progress == 0.25


async def test_steps_declared_again_with_other_weights_are_weighed_anew(log: Log, look: Any) -> None:
    """A later declaration within the attempt adds to the earlier one; done work counts with the new weight."""
    await log.commit("r", [queued(steps=step_specs({"a": 1, "b": 1}))])
    await log.commit("r", [said(step="a", progress=0.5), said("more", steps=step_specs({"a": 3, "c": 2}))])
    await log.commit("r", [said(step="b", progress=0.5)])
    snapshot = read(look, log.keys, "r").snapshot
    assert [(s.name, s.weight) for s in snapshot.steps] == [("a", 3), ("b", 1), ("c", 2)]
    assert snapshot.progress == 0.333333  # (3 * 0.5 + 1 * 0.5) / 6


@pytest.mark.parametrize("name", ["플롯", "a b", "s:nested", "quote\"'", "back\\slash/", "x" * 64])
async def test_a_step_may_be_called_anything(log: Log, witness: Witness, look: Any, name: str) -> None:
    """Steps' names become fields of a hash and parts of a log line."""
    await log.commit("r", [begun(name), said("line", step=name, progress=0.5)])
    snapshot = read(look, log.keys, "r").snapshot
    assert [(step.name, step.progress) for step in snapshot.steps] == [(name, 0.5)]
    assert snapshot.logs[0].step == name
    assert fields_of(witness.heard()[-1])["step"] == name
