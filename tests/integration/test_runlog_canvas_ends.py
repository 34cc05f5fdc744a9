"""How a canvas ends in the run log: when no member runs or will run, and as what."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runrelay.progress import Event, StepSpec, step_specs
from runrelay.progress.checks import MAX_STEPS
from tests.support.runlog import Log, Witness, ended, fields_of, queued, read, said

STEPS = step_specs(["a", "b", "body", "last"])  # group([a, b]) | body | last
REST = [["body", 2]]


@pytest.fixture(params=["sync"])
def client_kind() -> str:
    """One client: what is tested here is the script."""
    return "sync"


def begun(step: str, **fields: Any) -> Event:
    return said(kind="step_start", step=step, **fields)


def finish(state: str = "END", **fields: Any) -> Event:
    return said(kind="finish", state=state, **fields)


def failed(step: str, why: str = "broke", state: str = "FAILED", rest: Any = REST, **fields: Any) -> list[Event]:
    """What a worker commits of a member that does not succeed."""
    lost = orjson.dumps(rest)
    return [
        said(state=state, step=step, error=why, lost=lost, **fields),
        finish(state, error=f"{step}: {why}", attempt=fields.get("attempt")),
    ]


def succeeded(step: str, **fields: Any) -> list[Event]:
    return [ended(step=step, **fields), finish()]


async def test_the_run_waits_for_the_members_that_run(log: Log, witness: Witness, look: Any) -> None:
    """A run that has ended while a member of it still reports."""
    await log.commit("r", [queued(steps=STEPS), begun("a"), begun("b")])
    done = await log.commit("r", failed("a", "no disk\n\nTraceback"))
    assert (done.status, done.fenced) == ("running", 0)
    assert read(look, log.keys, "r").snapshot.error is None
    done = await log.commit("r", [said("still here", step="b"), *succeeded("b")])
    assert (done.status, done.fenced) == ("failed", 0)
    snapshot = read(look, log.keys, "r").snapshot
    assert (snapshot.state, snapshot.error) == ("FAILED", "a: no disk\n\nTraceback")
    assert [(s["name"], s["status"]) for s in (step.to_json("failed") for step in snapshot.steps)] == [
        ("a", "failed"), ("b", "succeeded"), ("body", "queued"), ("last", "queued"),
    ]  # fmt: skip
    last = fields_of(witness.heard()[-1])
    assert (last["error"], last["status"]) == ("a: no disk\n\nTraceback", "failed")


async def test_a_part_that_is_lost_twice_is_counted_once(log: Log) -> None:
    """A run that ends before its last member, because two members said that the same part will not run."""
    await log.commit("r", [queued(steps=(*STEPS, StepSpec("c"))), begun("a"), begun("b"), begun("c")])
    done = await log.commit("r", [*failed("a"), *failed("b")])
    assert done.status == "running", "c still runs"
    assert (await log.commit("r", succeeded("c"))).status == "failed"


@pytest.mark.parametrize(
    ("second", "status", "why"), [("FAILED", "failed", "b: y"), ("CANCELLED", "cancelled", "a: x")]
)
async def test_the_word_is_failed_where_one_has_failed(log: Log, look: Any, second: str, status: str, why: str) -> None:
    """A run that is called cancelled although a member has failed, or failed although all others were revoked."""
    await log.commit("r", [queued(steps=STEPS), begun("b")])
    await log.commit("r", failed("a", "x", "CANCELLED"))
    assert (await log.commit("r", failed("b", "y", second))).status == status
    assert read(look, log.keys, "r").snapshot.error == why


async def test_a_failure_whose_reason_was_lost_with_its_process(log: Log, look: Any) -> None:
    """A run that fails without a word: the process died between its step's end and the reason for the run."""
    await log.commit("r", [queued(steps=STEPS), begun("a"), begun("b"), *failed("a", "no disk")[:1]])
    assert (await log.commit("r", succeeded("b"))).status == "failed"
    assert read(look, log.keys, "r").snapshot.error == "a: no disk"


async def test_a_member_s_execution_that_was_replaced_does_not_fail_the_run(log: Log, look: Any) -> None:
    """A zombie whose failure is fenced, and which ends the run, or marks the rest as not to come."""
    await log.commit("r", [queued(steps=STEPS), begun("a"), begun("b"), *succeeded("b"), begun("a")])
    zombie = failed("a", step_attempt=1)
    assert (await log.commit("r", zombie)).status == "running"
    await log.commit("r", succeeded("a"))
    await log.commit("r", [zombie[1], begun("body"), *succeeded("body"), begun("last")])
    assert (await log.commit("r", [zombie[1], *succeeded("last")])).status == "succeeded"
    assert read(look, log.keys, "r").snapshot.error is None


async def test_a_member_that_is_executed_again_brings_the_rest_back(log: Log) -> None:
    """A run that ends before its body, because an execution of a member before it had failed."""
    await log.commit("r", [queued(steps=STEPS), begun("a"), begun("b"), *failed("a")])
    await log.commit("r", [begun("a"), *succeeded("a")])
    assert (await log.commit("r", succeeded("b"))).status == "running"
    assert (await log.commit("r", [begun("body"), *succeeded("body")])).status == "running"
    assert (await log.commit("r", [begun("last"), *succeeded("last")])).status == "succeeded"


async def test_a_rest_that_is_not_needed_is_no_failure(log: Log) -> None:
    """A run that waits for ever for members that a member has said are not needed."""
    await log.commit("r", [queued(steps=STEPS), begun("a"), *succeeded("a"), begun("b")])
    done = await log.commit("r", [ended(step="b", lost=orjson.dumps(REST)), finish()])
    assert done.status == "succeeded"


async def test_a_new_attempt_knows_nothing_of_the_old_one_s_failures(log: Log, look: Any) -> None:
    """A retried run that fails at once for what failed before, or that does not end when the same fails again."""
    await log.commit("r", [queued(steps=STEPS), begun("a"), begun("b"), *failed("a", "x"), *failed("b", "y")])
    done = await log.commit("r", [queued(steps=STEPS), begun("a"), begun("b"), *succeeded("b")])
    assert (done.status, done.attempt) == ("running", 2)
    assert (await log.commit("r", failed("a", "again"))).status == "failed"
    assert read(look, log.keys, "r").snapshot.error == "a: again"
    done = await log.commit("r", [queued(), begun("a"), begun("b"), *succeeded("b"), *succeeded("a")])
    assert (done.status, done.attempt) == ("running", 3)


async def test_members_beyond_the_kept_steps_fail_too(log: Log, look: Any) -> None:
    """A large canvas that does not end, or ends too early, when one of the members fails that are only counted."""
    kept = tuple(StepSpec(f"kept {number}") for number in range(MAX_STEPS))
    await log.commit("r", [queued(steps=kept, more_steps=4)])
    await log.commit("r", [ended(step=spec.name) for spec in kept])
    rest = [["beyond 3", 1]]
    await log.commit("r", [begun("beyond 1", more_step=1), begun("beyond 2", more_step=2)])
    done = await log.commit("r", failed("beyond 1", "x", rest=rest, more_step=1))
    assert (done.status, done.fenced) == ("running", 0)
    assert (await log.commit("r", failed("beyond 2", "y", rest=rest, more_step=2))).status == "running"
    done = await log.commit("r", [begun("beyond 4", more_step=4), ended(step="beyond 4", more_step=4), finish()])
    assert done.status == "failed"
    assert read(look, log.keys, "r").snapshot.error == "beyond 1: x"


async def test_a_run_says_in_which_state_it_has_ended(log: Log, look: Any) -> None:
    """A failed run of which nobody can see where it failed: its state is FAILED."""
    await log.commit("r", [said(state="RENDERING", progress=0.4)])
    assert read(look, log.keys, "r").snapshot.ended_in is None
    await log.commit("r", [said(kind="finish"), ended("FAILED", error="no disk")])
    assert read(look, log.keys, "r").snapshot.ended_in == "RENDERING"
    await log.commit("r", [queued()])
    assert read(look, log.keys, "r").snapshot.ended_in is None
    await log.commit("r", [ended()])
    assert read(look, log.keys, "r").snapshot.ended_in == "QUEUED"
