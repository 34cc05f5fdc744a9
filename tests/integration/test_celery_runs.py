"""Celery tasks as runs, with a real prefork worker: the events of a run, without a line in the task."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import chain, chord, group

from runrelay.celery import cancel, canvas, run_headers, send, step, step_names
from runrelay.outbox import Publisher
from runrelay.progress import make_event
from runrelay.runlog import Keys
from runrelay.settings import PublisherSettings
from tests.support import celery_tasks as tasks
from tests.support.announced import DEADLINE_S, Event, Watch, states
from tests.support.celery_worker import sending, worker
from tests.support.servers import Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys("cel", "cel:progress")


@pytest.fixture(scope="module")
def sent(valkey_server: Server, keys: Keys) -> Iterator[Publisher]:
    with sending(valkey_server.url, keys) as publisher:
        yield publisher


@pytest.fixture(scope="module")
def running(valkey_server: Server, keys: Keys, sent: Publisher) -> Iterator[None]:
    with worker(valkey_server.url, keys.prefix):
        yield


@pytest.fixture
def watch(valkey_server: Server, keys: Keys, running: None) -> Iterator[Watch]:
    with valkey_server.client() as client:
        watching = Watch(client, keys)
        yield watching
        watching.close()


def test_a_task_is_queued_started_and_succeeds_without_a_line_of_its_own(watch: Watch) -> None:
    """A run whose start or end is not published, or a return value that is not its result."""
    send(tasks.good.s("good"), "good", title="A good one")
    end = watch.ended("good")
    assert states(watch.of("good")) == [
        ("QUEUED", "queued"), ("STARTED", "running"), ("WORK", "running"), ("END", "succeeded"),
    ]  # fmt: skip
    assert [event["seq"] for event in watch.of("good")] == [1, 2, 3, 4]
    assert end["result"] == {"answer": 42}
    assert end["progress"] == 1.0
    assert {event["attempt"] for event in watch.of("good")} == {1}
    assert watch.fields("good")["title"] == "A good one"


def _succeeded(run_id: str, attempt: int) -> Callable[[Event], bool]:
    return lambda e: (e["run_id"], e["status"], e["attempt"]) == (run_id, "succeeded", attempt)


def test_headers_make_a_task_a_run_that_is_queued_first(watch: Watch) -> None:
    """A start that is committed before `queued`, so that the run stays queued; or headers that keep the attempt."""
    headers = run_headers("headers", title="By headers")
    for attempt in (1, 2):
        tasks.good.apply_async(("headers",), headers=headers)
        watch.until(_succeeded("headers", attempt))
    assert states(watch.of("headers"))[:2] == [("QUEUED", "queued"), ("STARTED", "running")]
    assert "attempt" not in headers["runrelay"]


def test_a_failed_task_has_an_error(watch: Watch) -> None:
    """A run that ends as FAILED without a readable error, or goes on after it."""
    send(tasks.bad.s("bad"), "bad")
    end = watch.ended("bad")
    assert (end["state"], end["status"], end["progress"]) == ("FAILED", "failed", 0.5)
    assert end["error"].splitlines()[0] == "ValueError: the disk is full"
    assert "Traceback" in end["error"]


def test_a_retry_is_a_new_attempt(watch: Watch) -> None:
    """A retried task whose run is shown as failed, or keeps the first attempt's progress."""
    send(tasks.flaky.s("flaky"), "flaky")
    end = watch.ended("flaky")
    assert states(watch.of("flaky")) == [
        ("QUEUED", "queued"), ("STARTED", "running"), ("RETRYING", "retrying"), ("STARTED", "running"),
        ("END", "succeeded"),
    ]  # fmt: skip
    assert end["attempt"] == 2
    assert end["result"] == "at last"
    retrying = next(event for event in watch.of("flaky") if event["status"] == "retrying")
    assert (retrying["log"], retrying["level"]) == ("retrying: ConnectionError: no network", "warning")


def test_a_retry_without_an_error_is_published_once(watch: Watch) -> None:
    """A second event that comes after the next attempt's start, and is counted as fenced."""
    send(tasks.not_yet.s("not-yet"), "not-yet")
    assert watch.ended("not-yet")["status"] == "succeeded"
    assert [e["log"] for e in watch.of("not-yet") if e["status"] == "retrying"] == [None]
    assert "fenced" not in watch.fields("not-yet")


def test_a_retried_member_is_a_new_attempt_of_its_step(watch: Watch) -> None:
    """A canvas whose run gets a new attempt for a member's retry, or is shown as failed in between."""
    send(chain(tasks.begin.s("auto"), tasks.automatic.s("auto"), tasks.finish.s("auto")), "auto")
    end = watch.ended("auto")
    assert (end["status"], end["attempt"], watch.result("auto")) == ("succeeded", 1, {"parts": "in the end"})
    told = [(e["step_status"], e["step_attempt"]) for e in watch.of("auto") if e.get("step") == "automatic"]
    assert told == [("running", 1), ("retrying", 1), ("running", 2), ("succeeded", 2)]


def test_a_replaced_task_stays_the_same_run(watch: Watch) -> None:
    """A run that never ends, because its task was replaced by another one, or that shows a second attempt of it."""
    send(tasks.replaced.s("replaced"), "replaced")
    end = watch.ended("replaced")
    assert (end["status"], end["result"], end["attempt"]) == ("succeeded", {"answer": 42}, 1)


@pytest.mark.parametrize("shape", ["chain", "chord"])
def test_a_task_that_is_replaced_by_a_canvas_stays_the_same_run(watch: Watch, shape: str) -> None:
    """A run, or a step, that stays running because its task was replaced by several."""
    alone, member = f"{shape}-instead", f"{shape}-instead-of-a-member"
    send(tasks.replaced_by_canvas.si(alone, shape), alone)
    assert (watch.ended(alone)["status"], watch.ended(alone)["result"]) == ("succeeded", {"answer": 42})
    assert watch.ended(alone)["attempt"] == 1
    send(chain(tasks.replaced_by_canvas.si(member, shape), tasks.finish.s(member)), member)
    end = watch.ended(member)
    assert (end["status"], watch.result(member)) == ("succeeded", {"parts": {"answer": 42}})
    assert {e["step"] for e in watch.of(member) if "step" in e} == {"replaced_by_canvas", "finish"}
    assert {e["step_attempt"] for e in watch.of(member) if "step" in e} == {1}


@pytest.mark.parametrize("shape", ["failing chain", "failing group", "failing chord"])
def test_a_task_that_is_replaced_by_a_canvas_that_fails_fails(watch: Watch, shape: str) -> None:
    """Celery signals no failure of the task itself: the run was shown as running, and then as stalled."""
    alone, member = f"{shape}-alone", f"{shape}-of-a-member"
    send(tasks.replaced_by_canvas.si(alone, shape), alone)
    end = watch.ended(alone)
    assert (end["status"], end["attempt"]) == ("failed", 1)
    assert "OSError: no disk" in end["error"]
    send(chain(tasks.replaced_by_canvas.si(member, shape), tasks.finish.s(member)), member)
    end = watch.ended(member)
    assert end["status"] == "failed"
    assert end["error"].startswith("replaced_by_canvas: OSError: no disk")
    if shape == "failing chain":  # in a group the failure may come first, and then ends the run
        assert [e["log"] for e in watch.of(alone) if e.get("log")] == [f"a part of {alone}"]


def test_a_block_inside_a_task_is_part_of_the_task(watch: Watch) -> None:
    """A `run_progress` in a task that starts the run again, or ends it before the task does."""
    send(tasks.with_block.s("block"), "block")
    end = watch.ended("block")
    assert [event["status"] for event in watch.of("block")].count("succeeded") == 1
    assert end["result"] == {"made": "by the block"}
    assert end["attempt"] == 1
    assert [event["progress"] for event in watch.of("block") if event["log"] == "a quarter"] == [0.25]
    assert watch.fields("block")["title"] == "A block"


def test_a_block_that_fails_in_a_task_that_is_retried_does_not_fail_the_run(watch: Watch) -> None:
    """FAILED shown, and clients closed, although Celery retries."""
    send(tasks.flaky_block.s("flaky-block"), "flaky-block")
    end = watch.ended("flaky-block")
    assert end["status"] == "succeeded"
    assert "failed" not in [event["status"] for event in watch.of("flaky-block")]


def test_a_redelivered_task_fences_its_predecessor(watch: Watch) -> None:
    """A task that was replaced, and whose events are committed to its successor's run."""
    zombie = canvas("zombie", tasks.gated.s("zombie", "zombie-1"))
    zombie.apply_async()
    watch.arrived("zombie-1")
    # the broker delivers the same message again while the first task still runs
    tasks.gated.apply_async(("zombie", "zombie-2"), headers=zombie.options["headers"])
    watch.arrived("zombie-2")
    watch.let_go("zombie-1")
    tasks.good.apply_async(("bystander-run",), headers=run_headers("bystander-run"))
    watch.ended("bystander-run")  # now the replaced task is done: it needed the worker's other process
    watch.let_go("zombie-2")
    end = watch.ended("zombie")
    logs = [event["log"] for event in watch.of("zombie") if event["log"]]
    assert logs == ["before zombie-1", "before zombie-2", "after zombie-2"]
    assert (end["attempt"], end["result"]) == (2, "zombie-2")
    assert int(watch.fields("zombie")["fenced"]) > 0


def test_a_killed_worker_process_is_replaced_by_a_new_attempt(watch: Watch) -> None:
    """A run that stays as its killed process left it, or a redelivery that is committed as the old attempt."""
    send(tasks.killed_once.s("killed"), "killed")
    end = watch.ended("killed")
    assert (end["status"], end["attempt"], end["result"]) == ("succeeded", 2, "survived")
    assert [event["log"] for event in watch.of("killed") if event["log"]] == ["about to", "about to"]


def test_a_redelivery_never_reopens_a_run_that_has_succeeded(watch: Watch) -> None:
    """A run that has ended and starts again because its message was delivered twice."""
    sent = canvas("twice", tasks.good.s("twice"))
    sent.apply_async()
    watch.ended("twice")
    tasks.gated.apply_async(("twice", "twice"), headers=sent.options["headers"])
    watch.arrived("twice")
    watch.let_go("twice")
    tasks.good.apply_async(("after-twice",), headers=run_headers("after-twice"))
    watch.ended("after-twice")
    assert watch.of("twice")[-1]["status"] == "succeeded"
    assert watch.fields("twice")["status"] == "succeeded"


def test_a_hard_time_limit_fails_the_run(watch: Watch) -> None:
    """A run that never ends, because its task was killed for its time limit."""
    send(tasks.too_long.s("too-long"), "too-long")
    end = watch.ended("too-long")
    assert end["status"] == "failed"
    assert end["error"].startswith("TimeLimitExceeded")


def test_cancelling_kills_the_task_and_nothing_later_is_shown(watch: Watch, sent: Publisher) -> None:
    """A cancelled run that goes on."""
    ready = canvas("cancelled", tasks.gated.s("cancelled", "cancelled"))
    ready.apply_async()
    watch.arrived("cancelled")
    done = sent.commit("cancelled", make_event("CANCELLED"))
    assert done.status == "cancelled"
    cancel(tasks.app, "cancelled", done.attempt)
    watch.let_go("cancelled")
    send(tasks.good.s("next"), "next")
    watch.ended("next")
    assert watch.of("cancelled")[-1]["status"] == "cancelled"
    assert "after cancelled" not in [event["log"] for event in watch.of("cancelled")]


def test_a_redelivered_run_can_be_cancelled(watch: Watch, sent: Publisher) -> None:
    """Work that is not cancelled, because a task keeps the id of its first attempt and the run is in its second."""
    send(tasks.killed_then_gated.s("lives-on"), "lives-on")
    process = os.pidfd_open(watch.arrived("lives-on"))
    done = sent.commit("lives-on", make_event("CANCELLED"))
    assert done.attempt == 2
    cancel(tasks.app, "lives-on", done.attempt)
    ended, _, _ = select.select([process], [], [], DEADLINE_S)
    os.close(process)
    assert ended, "the task's process goes on"


def test_an_error_that_cannot_be_pickled_has_its_own_name(watch: Watch) -> None:
    """An error that is called UnpickleableExceptionWrapper."""
    send(tasks.says_it_badly.s(), "unlucky")
    assert "Unlucky: ('13', 7)" in watch.ended("unlucky")["error"].splitlines()[0]
    assert "Wrapper" not in watch.ended("unlucky")["error"]
    send(tasks.says_it_badly_once.s(), "unlucky once")
    watch.ended("unlucky once")
    assert [e["log"] for e in watch.of("unlucky once") if e["log"]] == ["retrying: Unlucky: ('13', 7)"]


def test_send_takes_headers_and_a_closing_line(watch: Watch) -> None:
    """A tracing header that replaces the run's, or a closing line that is not published."""
    send(tasks.good.s("closed"), "closed", headers={"trace": "1"}, closing="all done")
    end = watch.ended("closed")
    assert (end["log"], end["state"], end["result"]) == ("all done", "END", {"answer": 42})
    send(the_canvas("closed-canvas"), "closed-canvas", headers={"trace": "2"}, closing="영상 생성 완료! 🎉")
    end = watch.ended("closed-canvas")
    assert (end["log"], end["state"], end["progress"]) == ("영상 생성 완료! 🎉", "END", 1.0)
    assert [e["log"] for e in watch.of("closed-canvas")].count("영상 생성 완료! 🎉") == 1


def the_canvas(run_id: str) -> Any:
    parts = [step(tasks.part.s(run_id), name) for name in ("images", "music")]
    return chain(tasks.begin.s(run_id), group([*parts, tasks.part.s(run_id)]), tasks.finish.s(run_id))


def test_a_canvas_is_one_run_with_weighted_steps(watch: Watch) -> None:
    """Members that are runs of their own, a progress that goes down, or an end before the last member's."""
    weights = {"begin": 1.0, "images": 2.0, "music": 3.0, "part": 3.0, "finish": 1.0}
    signature = the_canvas("canvas")
    assert step_names(signature) == list(weights)
    send(signature, "canvas", weights=weights, title="A canvas")
    end = watch.ended("canvas")
    events = watch.of("canvas")
    assert watch.result("canvas") == {"parts": ["part", "part", "part"]}
    assert end["progress"] == 1.0
    progress = [event["progress"] for event in events if event["progress"] is not None]
    assert progress == sorted(progress)
    assert {event["attempt"] for event in events} == {1}
    shares: dict[str, float] = {}  # a member may start before the end of the one before it is published
    for event in events:
        if "step" in event:
            shares[event["step"]] = weights[event["step"]] * (event["step_progress"] or 0.0) / 10
            assert event["progress"] == pytest.approx(sum(shares.values()), abs=1e-6)
    assert events[0]["status"] == "queued"
    assert [s["name"] for s in events[0]["steps"]] == list(weights)
    assert {e["step"] for e in events if e.get("step_status") == "succeeded"} == set(weights)
    assert [e["status"] for e in events].count("succeeded") == 1


def test_a_group_of_more_members_than_a_run_keeps_ends_with_the_last_of_them(watch: Watch) -> None:
    """A run that ends with the thousandth of its members, or that never ends."""
    send(group([tasks.part.s(None, "large") for _ in range(1010)]), "large")
    end = watch.ended("large")
    assert (end["status"], end["progress"]) == ("succeeded", 1.0)
    done = [e["step"] for e in watch.of("large") if e.get("step_status") == "succeeded"]
    assert len(set(done)) == 1010
    assert json.loads(watch.fields("large")["steps"])["count"] == 1000


def test_members_of_chords_and_nested_chains_belong_to_the_run(watch: Watch) -> None:
    """A nested member whose message has no header."""
    run_id = "nested"
    signature = chord(
        [chain(step(tasks.begin.s(run_id), "a1"), step(tasks.part.s(run_id), "a2")), step(tasks.begin.s(run_id), "b")],
        tasks.finish.s(run_id),
    )
    send(signature, run_id)
    end = watch.ended(run_id)
    assert (end["status"], end["progress"]) == ("succeeded", 1.0)
    done = {e["step"] for e in watch.of(run_id) if e.get("step_status") == "succeeded"}
    assert done == {"a1", "a2", "b", "finish"}
    assert watch.result(run_id) == {"parts": ["part", "begun"]}


def test_a_failing_member_fails_its_step_and_the_run(watch: Watch) -> None:
    """A canvas that stops in the middle without an end of the run."""
    send(chain(tasks.begin.s("broken"), tasks.bad_part.s("broken"), tasks.finish.s("broken")), "broken")
    end = watch.ended("broken")
    assert end["status"] == "failed"
    assert end["error"].splitlines()[0] == "bad_part: RuntimeError: a part broke"
    failed = next(e for e in watch.of("broken") if e.get("step_status") == "failed")
    assert failed["step"] == "bad_part"
    assert failed["status"] == "running"  # the run's own failure comes after it


def test_a_killed_member_is_executed_again_as_a_new_attempt_of_its_step(watch: Watch) -> None:
    """A canvas that never ends after the loss of a member's process, or gets a new attempt of the whole run."""
    send(chain(tasks.begin.s("member"), tasks.killed_part.s("member"), tasks.finish.s("member")), "member")
    end = watch.ended("member")
    assert (end["status"], end["attempt"]) == ("succeeded", 1)
    succeeded = next(
        e for e in watch.of("member") if e.get("step") == "killed_part" and e["step_status"] == "succeeded"
    )
    assert succeeded["step_attempt"] == 2


def test_a_task_sent_from_a_task_is_not_part_of_its_run(watch: Watch) -> None:
    """A run that fails because of a task that its task has sent."""
    send(tasks.sends_another.s("sender"), "sender")
    watch.arrived("bystander")
    watch.let_go("bystander")
    end = watch.ended("sender")
    assert end["status"] == "succeeded"
    send(tasks.good.s("later"), "later")
    watch.ended("later")
    assert watch.fields("sender")["status"] == "succeeded"


def test_forked_worker_processes_are_producers_of_their_own(watch: Watch) -> None:
    """Lines that are lost or doubled, because processes share a connection, numbers or a queue."""
    runs = [f"fork-{i}" for i in range(8)]
    for run_id in runs:
        send(tasks.many.s(run_id, 300), run_id)
    pids = {watch.ended(run_id)["result"] for run_id in runs}
    assert len(pids) == 2
    for run_id in runs:
        lines = [event["log"] for event in watch.of(run_id) if event["log"]]
        assert lines == [f"line {i}" for i in range(300)], run_id
        assert [event["seq"] for event in watch.of(run_id)] == list(range(1, len(watch.of(run_id)) + 1))


def test_running_tasks_send_heartbeats(watch: Watch, keys: Keys) -> None:
    """A long task without events that stays marked as stalled."""
    send(tasks.gated.s("alive", "alive"), "alive")
    watch.arrived("alive")
    first = _heartbeat_after(watch, 0)
    later = _heartbeat_after(watch, first)
    assert later > first
    # the reaper has marked it stalled all the same, as after an outage of Redis: the next heartbeat recovers it
    stalled = make_event()._replace(kind="stalled", attempt=1, stale_before_ms=later * 2)
    assert Publisher(PublisherSettings(redis_url=tasks.URL, keys=keys)).commit("alive", stalled).status == "stalled"
    watch.until(lambda e: e["run_id"] == "alive" and e["status"] == "stalled")
    watch.until(lambda e: e["run_id"] == "alive" and e["status"] == "running" and e["seq"] > 4)
    watch.let_go("alive")
    assert watch.ended("alive")["status"] == "succeeded"


def _heartbeat_after(watch: Watch, since_ms: int) -> int:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        beat = int(watch.fields("alive").get("heartbeat_at", 0))
        if beat > since_ms:
            return beat
    raise AssertionError(f"no heartbeat after {since_ms}")
