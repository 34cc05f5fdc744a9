"""Canvases with a real prefork worker: every shape ends, every member is heard, every end has a word that is true."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Iterator

import pytest
from celery import Signature, chain, chord, group

from runrelay.celery import send, step, task_id
from runrelay.outbox import Publisher
from runrelay.runlog import Keys
from tests.support import celery_tasks as tasks
from tests.support.announced import Event, Watch
from tests.support.celery_worker import sending, worker
from tests.support.servers import Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys("canv", "canv:progress")


@pytest.fixture(scope="module")
def running(valkey_server: Server, keys: Keys) -> Iterator[Publisher]:
    with sending(valkey_server.url, keys) as publisher, worker(valkey_server.url, keys.prefix):
        yield publisher


@pytest.fixture
def watch(valkey_server: Server, keys: Keys, running: Publisher) -> Iterator[Watch]:
    with valkey_server.client() as client:
        watching = Watch(client, keys)
        yield watching
        watching.close()


def steps_of(watch: Watch, run_id: str) -> dict[str, str]:
    """The status of each step, as the run log keeps it."""
    kept = [json.loads(value) for name, value in watch.fields(run_id).items() if name.startswith("s:")]
    return {step["name"]: step["status"] for step in sorted(kept, key=lambda step: step["i"])}


def lines_of(watch: Watch, run_id: str) -> list[str]:
    return [event["log"] for event in watch.of(run_id) if event["log"]]


def step_event(watch: Watch, run_id: str, name: str, status: str) -> Event:
    return watch.until(lambda e: (e["run_id"], e.get("step"), e.get("step_status")) == (run_id, name, status))


def shapes(run_id: str) -> dict[str, Signature]:
    """One signature object in several places."""
    s, body = tasks.told.s(run_id=run_id), tasks.told.s(run_id=run_id, name="body")
    return {
        "group": group([s, s]),
        "chain": s | s,
        "chord": group([s, s]) | body,
        "its own body": chord([s, s], s),
        "nested": chain(s, group(chain(s, s), s), s),
        "one chain twice": group([chain(s, body)] * 2),
    }


def test_one_signature_object_in_several_places(watch: Watch) -> None:
    """A canvas that never ends, or whose body Celery never runs; plain Celery gives the right answer."""
    for shape in shapes("x"):
        expected = shapes("nobody's")[shape].apply_async().get(timeout=30)
        got = send(shapes(shape)[shape], shape, title=f"The {shape}").get(timeout=30)
        assert got == expected, shape
        end = watch.ended(shape)
        assert (end["status"], end["progress"]) == ("succeeded", 1.0), shape
        assert set(steps_of(watch, shape).values()) == {"succeeded"}, shape
        assert len(lines_of(watch, shape)) == len(steps_of(watch, shape)), shape


def test_a_signature_used_twice_has_nothing_of_the_first_run(watch: Watch) -> None:
    """One customer's title and closing line in another's run."""
    s = tasks.told.s(run_id="first customer")
    send(s | s, "first customer", title="Ms One", closing="thank you, Ms One", weights={"told": 5.0})
    watch.ended("first customer")
    send(s | s, "second customer")
    assert watch.ended("second customer")["log"] is None
    assert "title" not in watch.fields("second customer")
    assert "One" not in json.dumps(watch.of("second customer"))


def test_the_other_members_of_a_group_are_heard_when_one_has_failed(watch: Watch) -> None:
    """Members that go on, and whose lines are fenced; steps shown as cancelled though nobody cancelled them."""
    run_id = "one breaks"
    many = [step(tasks.told.s(run_id=run_id, name=f"later {n}"), f"later {n}") for n in range(3)]
    gated = step(tasks.waits.s(run_id=run_id, gate=run_id), "gated")
    send(group([tasks.breaks.s(run_id=run_id), gated, *many]) | tasks.finish.s(run_id), run_id)
    watch.arrived(run_id)
    assert step_event(watch, run_id, "breaks", "failed")["status"] == "running"
    for n in range(3):
        step_event(watch, run_id, f"later {n}", "succeeded")
    assert watch.fields(run_id)["status"] == "running", "a member still runs"
    watch.let_go(run_id)
    end = watch.ended(run_id)
    assert (end["state"], end["status"]) == ("FAILED", "failed")
    assert end["error"].splitlines()[0] == "breaks: RuntimeError: a part broke"
    assert "Traceback" in end["error"]
    assert f"after {run_id}" in lines_of(watch, run_id)
    assert {"later 0 was here", "later 1 was here", "later 2 was here"} <= set(lines_of(watch, run_id))
    assert steps_of(watch, run_id) == {
        "breaks": "failed", "gated": "succeeded", "later 0": "succeeded", "later 1": "succeeded",
        "later 2": "succeeded", "finish": "queued",
    }  # fmt: skip
    assert "fenced" not in watch.fields(run_id)


def test_two_failing_members_of_one_group_end_the_run_once(watch: Watch) -> None:
    """A body that is counted twice as not to come, so that the run ends before its last member; or an error that is not
    the first one's.
    """
    run_id = "two break"
    parts = [
        step(tasks.breaks.s(run_id=run_id), "early"),
        chain(step(tasks.breaks.s(run_id=run_id, after=run_id), "late"), tasks.told.s(run_id=run_id)),
    ]
    send(chain(group(parts), step(tasks.told.s(run_id=run_id), "body"), tasks.finish.s(run_id)), run_id)
    step_event(watch, run_id, "early", "failed")
    watch.arrived(run_id)
    assert watch.fields(run_id)["status"] == "running"
    watch.let_go(run_id)
    assert watch.ended(run_id)["error"].startswith("early: RuntimeError: a part broke")
    assert steps_of(watch, run_id) == {
        "early": "failed", "late": "failed", "told": "queued", "body": "queued", "finish": "queued",
    }  # fmt: skip


def test_the_others_are_stopped_if_that_was_asked_for(watch: Watch) -> None:
    """Members that go on to work for a run that has failed, although its sender wants them to be stopped."""
    run_id = "stopped"
    parts = [
        step(tasks.waits.s(run_id=run_id, gate="stopped, runs"), "runs"),
        step(tasks.breaks.s(run_id=run_id, after="stopped, breaks"), "breaks"),
        step(tasks.told.s(run_id=run_id), "waits"),
    ]
    send(group(parts) | tasks.finish.s(run_id), run_id, stop_on_failure=True)
    process = os.pidfd_open(watch.arrived("stopped, runs"))
    watch.arrived("stopped, breaks")
    watch.let_go("stopped, breaks")
    end = watch.ended(run_id)
    assert (end["state"], end["error"].splitlines()[0]) == ("FAILED", "breaks: RuntimeError: a part broke")
    ended, _, _ = select.select([process], [], [], 20)
    os.close(process)
    assert ended, "the member that runs goes on"
    tasks.told.delay(run_id="after stopped").get(timeout=30)
    assert lines_of(watch, run_id) == []
    assert steps_of(watch, run_id)["waits"] == "queued"


@pytest.mark.parametrize("why", ["revoked", "expired"])
def test_a_member_that_does_not_begin_leaves_the_others_alone(watch: Watch, why: str) -> None:
    """One task that was revoked, or has expired in its queue, ends the whole run at once."""
    run_id = f"one {why}"
    gates = [step(tasks.waits.s(run_id=run_id, gate=f"{run_id} {n}"), f"gate {n}") for n in range(2)]
    unlucky = step(tasks.told.s(run_id=run_id), "unlucky")
    if why == "expired":
        unlucky = unlucky.set(expires=0.001)
    send(group([*gates, unlucky]), run_id)
    for n in range(2):
        watch.arrived(f"{run_id} {n}")
    if why == "revoked":
        tasks.app.control.revoke(task_id(run_id, 1, "unlucky"), reply=True, timeout=4, limit=1)
    watch.let_go(f"{run_id} 0")  # one process is free, and takes the unlucky task
    step_event(watch, run_id, "unlucky", "cancelled")
    assert watch.fields(run_id)["status"] == "running", "a member still runs"
    watch.let_go(f"{run_id} 1")
    end = watch.ended(run_id)
    assert (end["state"], end["error"]) == ("CANCELLED", f"unlucky: the task was {why}")
    assert steps_of(watch, run_id) == {"gate 0": "succeeded", "gate 1": "succeeded", "unlucky": "cancelled"}
    assert {f"after {run_id} 0", f"after {run_id} 1"} <= set(lines_of(watch, run_id))


ENDS: dict[str, tuple[str, str | None]] = {
    "ignore": ("cancelled", "somebody else has done it"),
    "ignore as failed": ("failed", "ValueError: no disk"),
    "ignore as succeeded": ("succeeded", None),
    "reject": ("failed", "the task was rejected: not for us"),
    "reject once": ("succeeded", None),
    "retry that cannot be sent": ("failed", "the task was rejected: "),
    "not json": ("failed", "EncodeError"),
    "exit": ("failed", "WorkerLostError: Worker exited prematurely: exitcode 3"),
    "own words": ("failed", "by its own words"),
}
"""Ways to end, with the status of the run, and what its error says."""


@pytest.mark.parametrize("how", ENDS)
def test_every_way_to_end_ends_the_run(watch: Watch, how: str) -> None:
    """A run that is shown as stalled, "no heartbeat from the worker", although its task has ended."""
    status, why = ENDS[how]
    alone, member = f"alone, {how}", f"member, {how}"
    for run_id in (alone, member):
        one = tasks.exits.s(run_id=run_id) if how == "exit" else tasks.ends_as.s(run_id=run_id, how=how)
        one = step(one, "one")
        send(one if run_id == alone else chain(tasks.told.s(run_id=member), one, tasks.finish.s(member)), run_id)
    for run_id in (alone, member):
        end = watch.ended(run_id)
        assert end["status"] == status, end
        if why is not None:
            assert why in end["error"], end
    if how == "reject once":
        assert steps_of(watch, member) == {"told": "succeeded", "one": "succeeded", "finish": "succeeded"}
        retried = [e["log"] for e in watch.of(alone) if e["status"] == "retrying"]
        assert retried == ["the task was rejected, and is delivered again: try another"]
    else:
        assert steps_of(watch, member) == {"told": "succeeded", "one": status, "finish": "queued"}
    if how == "ignore as succeeded":
        assert watch.result(alone) == watch.result(member) == {"answer": 7}


def test_a_member_can_say_that_the_rest_is_not_needed(watch: Watch) -> None:
    """A run that waits for ever for members that Celery does not send."""
    run_id = "enough"
    rest = [group(tasks.told.s(run_id=run_id), tasks.told.s(run_id=run_id)), tasks.finish.s(run_id)]
    send(chain(tasks.ends_as.s(run_id=run_id, how="enough"), *rest), run_id, closing="that was enough")
    end = watch.ended(run_id)
    assert (end["state"], end["progress"], end["log"]) == ("END", 1.0, "that was enough")
    assert watch.result(run_id) == "enough"
    assert steps_of(watch, run_id) == {"ends_as": "succeeded", "told": "queued", "told-2": "queued", "finish": "queued"}


def test_chunks_and_maps_are_runs(watch: Watch) -> None:
    """A run that stays queued for ever, because Celery drops the options of `chunks`."""
    pairs = [(n, n) for n in range(5)]
    assert send(tasks.add.chunks(pairs, 2), "chunks").get(timeout=30) == [[0, 2], [4, 6], [8]]
    assert watch.ended("chunks")["status"] == "succeeded"
    assert steps_of(watch, "chunks") == dict.fromkeys(["add", "add-2", "add-3"], "succeeded")
    send(tasks.add.starmap(pairs) | tasks.finish.s("starmap"), "starmap")
    assert watch.ended("starmap")["status"] == "succeeded"
    assert watch.result("starmap") == {"parts": [0, 2, 4, 6, 8]}
