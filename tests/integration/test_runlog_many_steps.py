"""A run of very many steps: 1,000 are kept, the others only counted, and the run ends."""

from typing import Any

import orjson
import pytest

from runrelay.progress import Event, StepSpec
from runrelay.progress.checks import MAX_STEP_ERROR_BYTES, MAX_STEPS
from runrelay.runlog import ProducerSequence
from runrelay.runlog.scripts import COMMIT
from tests.support.runlog import Log, Witness, ended, fields_of, queued, read, said

KEPT = tuple(StepSpec(f"kept {number}") for number in range(MAX_STEPS))


@pytest.fixture(params=["sync"])
def client_kind() -> str:
    """One client: what is tested here is the script."""
    return "sync"


def begun(step: str, **fields: Any) -> Event:
    return said(kind="step_start", step=step, **fields)


def finish(**fields: Any) -> Event:
    """The event of a canvas' member that has succeeded: it ends the run if it was the last member."""
    return said(kind="finish", state="END", **fields)


def bytes_of(look: Any, log: Log) -> int:
    return sum(len(name) + len(value) for name, value in look.hgetall(log.keys.run("r")[0]).items())


def test_the_script_keeps_as_many_as_may_be_declared() -> None:
    """A declaration that Python accepts must not be cut by the script."""
    assert f"MAX_STEPS, MARKS, MAX_DATA_BYTES = 15, 9, 64, {MAX_STEPS}, " in COMMIT.text


async def test_steps_that_come_one_by_one_beyond_a_thousand_are_counted(log: Log, witness: Witness, look: Any) -> None:
    """With 20,000 undeclared steps each read of the run would be megabytes."""
    sequence = ProducerSequence.fresh()
    count = 5_000
    for first in range(0, count, 500):
        await log.commit(
            "r", [said(f"line {n}", step=f"step {n}", progress=0.5) for n in range(first, first + 500)], sequence
        )
    snapshot = read(look, log.keys, "r").snapshot
    assert [step.name for step in snapshot.steps] == [f"step {n}" for n in range(MAX_STEPS)]
    assert snapshot.steps_truncated == count - MAX_STEPS
    assert snapshot.progress == 0.5, "the roll-up is that of the steps that are kept"
    heard = [fields_of(message) for message in witness.heard()]
    assert [(f["step"], f["log"], f["step_progress"]) for f in heard] == [
        (f"step {n}", f"line {n}", 0.5) for n in range(count)
    ]
    assert snapshot.logs[-1].step == f"step {count - 1}"
    assert bytes_of(look, log) < 300 * MAX_STEPS
    done = await log.commit("r", [ended(step="step 0"), ended(step=f"step {count - 1}"), ended()], sequence)
    assert (done.status, done.fenced) == ("succeeded", 0)
    assert read(look, log.keys, "r").snapshot.progress == 1


async def test_a_step_that_is_not_kept_does_not_move_the_run(log: Log, witness: Witness, look: Any) -> None:
    """Progress is that of the kept steps; and an event that changes nothing is published once only."""
    await log.commit("r", [queued(steps=KEPT)])
    await log.commit("r", [ended(step=spec.name) for spec in KEPT[: MAX_STEPS // 2]])
    await log.commit("r", [begun("other"), said(step="other", progress=0.9), ended(step="other")])
    told = [fields_of(message) for message in witness.heard()[-3:]]
    assert [(f["step"], f["step_status"], f["progress"]) for f in told] == [
        ("other", "running", 0.5), ("other", "running", 0.5), ("other", "succeeded", 0.5)
    ]  # fmt: skip
    assert read(look, log.keys, "r").snapshot.steps_truncated == 1


async def test_a_canvas_of_more_members_ends_with_the_last_of_all(log: Log, look: Any) -> None:
    """The run must not end with its 1,000 kept steps while other members still work."""
    more = 1500
    await log.commit("r", [queued(steps=KEPT, more_steps=more)])
    assert read(look, log.keys, "r").snapshot.steps_truncated == more
    done = await log.commit("r", [ended(step=spec.name) for spec in KEPT] + [finish()])
    assert done.status == "running"
    members = [(f"more {number}", number) for number in range(1, more + 1)]
    for name, number in members[:-1]:
        await log.commit("r", [begun(name, more_step=number), ended(step=name, more_step=number), finish()])
    snapshot = read(look, log.keys, "r").snapshot
    assert (snapshot.status, snapshot.progress) == ("running", 0.9996)
    assert snapshot.steps_truncated == more
    name, number = members[-1]
    done = await log.commit("r", [begun(name, more_step=number), ended(step=name, more_step=number), finish()])
    assert (done.status, done.fenced) == ("succeeded", 0)
    assert bytes_of(look, log) < 300 * MAX_STEPS


async def test_a_member_beyond_that_is_executed_again_is_counted_once(log: Log, look: Any) -> None:
    """A redelivery that is counted twice would end the run one member early; one that is not counted, never."""
    await log.commit("r", [queued(steps=KEPT, more_steps=2)])
    await log.commit("r", [ended(step=spec.name) for spec in KEPT])
    first: dict[str, Any] = {"step": "more 1", "more_step": 1}
    await log.commit("r", [begun(**first), begun(**first), ended(**first)])  # its process was killed in between
    done = await log.commit("r", [ended(**first), finish()])
    assert (done.status, done.fenced) == ("running", 1), "a second end is a zombie's, as with a step that is kept"
    await log.commit("r", [begun(**first)])  # it had succeeded, and is delivered again
    done = await log.commit("r", [begun(step="more 2", more_step=2), ended(step="more 2", more_step=2), finish()])
    assert done.status == "running"
    done = await log.commit("r", [ended(**first), finish()])
    assert done.status == "succeeded"


async def test_a_new_attempt_waits_for_all_members_again(log: Log, look: Any) -> None:
    """A retry must not end at once because of the steps of the attempt before."""
    declared = queued(steps=KEPT, more_steps=1)
    ends = [ended(step=spec.name) for spec in KEPT]
    await log.commit("r", [declared, *ends, ended(step="more 1", more_step=1), finish()])
    assert read(look, log.keys, "r").snapshot.status == "succeeded"
    done = await log.commit("r", [declared, *ends, finish()])
    assert (done.status, done.attempt) == ("running", 2)
    done = await log.commit("r", [ended(step="more 1", more_step=1), finish()])
    assert done.status == "succeeded"
    await log.commit("r", [queued(steps=KEPT[:1])])
    assert read(look, log.keys, "r").snapshot.steps_truncated == 0


async def test_a_step_s_error_is_told_whole_and_kept_in_part(log: Log, witness: Witness, look: Any) -> None:
    """1,000 errors of 64 KiB would be read for every new subscriber."""
    error = "cause " + "x" * 60_000
    await log.commit("r", [said(step="a", state="FAILED", error=error)])
    assert fields_of(witness.heard()[0])["error"] == error
    (step,) = read(look, log.keys, "r").snapshot.steps
    assert step.error is not None
    assert step.error.startswith("cause xxx")
    assert step.error.endswith("bytes cut")
    assert len(step.error.encode()) == MAX_STEP_ERROR_BYTES


# Runs that an older version has begun: without an index of their steps


@pytest.fixture
async def old(log: Log, look: Any) -> Any:
    """The hash of a run with two steps and no index."""
    await log.commit("r", [queued(steps=KEPT[:2])], ProducerSequence("p"))
    key = log.keys.run("r")[0]
    look.hdel(key, "step_names")
    return key


def shown(look: Any, log: Log) -> list[str]:
    return [step.name for step in read(look, log.keys, "r").snapshot.steps]


async def test_without_an_index_the_steps_are_found_all_the_same(log: Log, look: Any, old: Any) -> None:
    """Steps must not disappear with an upgrade."""
    assert shown(look, log) == ["kept 0", "kept 1"]
    await log.commit("r", [ended(step="kept 1")])
    assert shown(look, log) == ["kept 0", "kept 1"]
    await log.commit("r", [ended(step="third")])  # a declaration makes the index whole
    assert sorted(orjson.loads(look.hget(old, "step_names"))) == ["kept 0", "kept 1", "third"]
    assert shown(look, log) == ["kept 0", "kept 1", "third"]
    await log.commit("r", [queued()])
    assert [step.status for step in read(look, log.keys, "r").snapshot.steps] == ["queued"] * 3


@pytest.mark.parametrize("index", ["", "no JSON", "7", "{}", '["kept 0"]', '["kept 0","gone"]', '["a","b","c"]'])
async def test_an_index_that_is_wrong_is_not_believed(log: Log, look: Any, old: Any, index: str) -> None:
    """An older version, which still works on the run, has replaced its steps and does not know the index."""
    look.hset(old, "step_names", index)
    assert shown(look, log) == ["kept 0", "kept 1"]
    await log.commit("r", [queued()])
    assert shown(look, log) == ["kept 0", "kept 1"]
    await log.commit("r", [queued(steps=KEPT[2:5])])
    assert shown(look, log) == ["kept 2", "kept 3", "kept 4"]
    assert not [name for name in look.hkeys(old) if name in (b"s:kept 0", b"s:kept 1")]


async def test_a_run_of_five_thousand_steps_from_before_goes_on(log: Log, look: Any) -> None:
    """A run of an older version, without a limit: its steps are kept, and new steps are not."""
    key = log.keys.run("r")[0]
    await log.commit("r", [said("1")])
    step = {"status": "queued", "attempt": 1, "weight": 1}
    for first in range(1, 5001, 500):
        look.hset(
            key, mapping={f"s:{i}": orjson.dumps({"i": i, "name": str(i), **step}) for i in range(first, first + 500)}
        )
    look.hset(key, "steps", '{"count":5000,"done":0,"weight":5000,"weighted":0}')
    await log.commit("r", [ended(step=str(i)) for i in range(1, 5001)] + [said(step="new", log="line")])
    snapshot = read(look, log.keys, "r").snapshot
    assert (len(snapshot.steps), snapshot.progress, snapshot.steps_truncated) == (5000, 1, 1)
    assert (await log.commit("r", [finish()])).status == "succeeded"
