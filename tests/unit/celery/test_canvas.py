"""The headers of a canvas' members: names, ids, which is first and which last. No broker."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from celery import Celery, Signature, chain, chord, group

from runrelay.celery import cancel, canvas, run_headers, send, step, step_names, task_id, task_ids
from runrelay.progress import Event
from runrelay.runlog import Committed
from runrelay.testing import capture_progress

app = Celery("canvas-test", set_as_current=False)


def sig(name: str) -> Signature:
    return Signature(f"some.module.{name}", app=app)


def info(signature: Signature) -> dict[str, Any]:
    found: dict[str, Any] = signature.options["headers"]["runrelay"]
    return found


def test_members_are_named_after_their_tasks_with_numbers() -> None:
    """Two members with one step name."""
    made = chain(sig("plan"), group(sig("image"), sig("image"), step(sig("image"), "cover")), sig("image"), app=app)
    assert step_names(made) == ["plan", "image", "image-2", "cover", "image-3"]
    assert step_names(sig("alone")) == []


def test_members_of_nested_canvases_are_found_in_order() -> None:
    """A member of a nested canvas that is not a step."""
    inner = chord([chain(sig("a"), sig("b"), app=app), sig("c")], chain(sig("d"), sig("e"), app=app), app=app)
    assert step_names(chain(sig("first"), inner, app=app)) == ["first", "a", "b", "c", "d", "e"]


def test_members_have_run_attempt_and_position() -> None:
    """A result that is not the last member's, or steps that are not declared."""
    a, b, c = sig("a"), sig("b"), sig("c")
    made = canvas("run", chord([a, b], c, app=app), weights={"a": 2.0}, attempt=4, title="T")
    leaves = [*made.tasks, made.body]
    assert [info(leaf)["run_id"] for leaf in leaves] == ["run"] * 3
    assert [info(leaf)["attempt"] for leaf in leaves] == [4] * 3
    assert [info(leaf)["last"] for leaf in leaves] == [False, False, True]
    assert [info(leaf).get("first") for leaf in leaves] == [True, False, None]
    assert info(leaves[0])["steps"] == info(leaves[1])["steps"] == [["a", 2.0], ["b", 1.0], ["c", 1.0]]
    assert [leaf.options["task_id"] for leaf in leaves] == task_ids("run", 4, ["a", "b", "c"])


def test_a_canvas_that_ends_in_a_group_has_no_last_member() -> None:
    """A run with the result of whichever member of the group ended last."""
    made = canvas("run", chain(sig("a"), group(sig("b"), sig("c")), app=app), attempt=1)
    assert [info(leaf)["last"] for leaf in (made.tasks[0], *made.tasks[1].tasks)] == [False] * 3


def test_a_canvas_from_json_gets_headers() -> None:
    """Members that are plain dictionaries, and get no header."""
    plain = {**chain(sig("a"), sig("b"), app=app)}
    plain["kwargs"] = {"tasks": [dict(task) for task in plain["kwargs"]["tasks"]]}
    made = canvas("run", Signature.from_dict(plain, app=app), attempt=1)
    assert [info(leaf)["step"] for leaf in made.tasks] == ["a", "b"]


def test_ids_differ_by_run_attempt_and_step() -> None:
    """A cancellation that revokes another run's task, or none."""
    ids = {task_id(run, attempt, name) for run in ("a", "b") for attempt in (1, 2) for name in (None, "x", "y")}
    assert len(ids) == 12
    assert task_ids("a", 1) == [task_id("a", 1)]
    assert task_id("a", 1, "x") == task_id("a", 1, "x")


def test_a_single_task_has_no_step() -> None:
    """A single task that ends a step, and never the run."""
    made = canvas("run", sig("alone"), attempt=2, title="T", pipeline="p")
    assert info(made) == {"run_id": "run", "attempt": 2, "title": "T", "pipeline": "p"}
    assert "step" not in info(canvas("run", step(sig("alone"), "named"), attempt=2))
    assert made.options["task_id"] == task_id("run", 2)


def test_a_canvas_without_an_attempt_queues_the_run() -> None:
    """A canvas that is sent before its run exists."""
    with capture_progress() as captured:
        made = canvas("run", chain(sig("a"), sig("b"), app=app), title="T")
    (queued,) = captured.events
    assert (queued.kind, queued.state, queued.title) == ("queue", "QUEUED", "T")
    assert info(made.tasks[0])["attempt"] == 1


def test_a_reused_signature_has_nothing_of_an_earlier_run() -> None:
    """A run with another customer's title, closing line or steps, because its signature was used before."""
    made = chain(sig("a"), sig("a"), app=app)
    before = repr(dict(made)), [dict(leaf) for leaf in made.tasks]
    first = canvas("one", made, attempt=1, title="One's", closing="bye, One", weights={"a": 2.0})
    assert (repr(dict(made)), [dict(leaf) for leaf in made.tasks]) == before, "the caller's object is as it was"
    for again in (made, first):
        second = canvas("two", again, attempt=1)
        assert [info(leaf)["run_id"] for leaf in second.tasks] == ["two", "two"]
        assert [info(leaf)["step"] for leaf in second.tasks] == ["a", "a-2"]
        assert not {"title", "closing", "steps"} & {name for leaf in second.tasks for name in info(leaf)}
    alone = canvas("one", sig("alone"), attempt=1, title="One's", closing="bye, One")
    assert info(canvas("two", alone, attempt=1)) == {"run_id": "two", "attempt": 1}


def test_every_member_has_the_closing_line() -> None:
    """A closing line that is missing when another member than the last ends the run."""
    made = canvas("run", chain(sig("a"), sig("b"), app=app), attempt=1, closing="x" * 20_000)
    assert {len(info(leaf)["closing"].encode()) // 1000 for leaf in made.tasks} == {16}
    assert len(info(made.tasks[0])["closing"].encode()) <= 16 * 1024
    assert info(canvas("run", sig("alone"), attempt=1, closing="done"))["closing"] == "done"


def test_cancelling_revokes_tasks_of_earlier_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task of an earlier attempt, or a retried one, that goes on."""
    revoked: list[str] = []
    monkeypatch.setattr(app.control, "revoke", lambda ids, **_: revoked.extend(ids))
    cancel(app, "run", 2)
    assert revoked == [task_id("run", 1), task_id("run", 2)]
    revoked.clear()
    cancel(app, "run", 2, (name for name in ("a", "b")))
    assert revoked == [*task_ids("run", 1, ["a", "b"]), *task_ids("run", 2, ["a", "b"])]
    cancel(app, "run", 10**9)
    assert len(revoked) < 2000


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: canvas("run", group(app=app)), "an empty group"),
        (lambda: canvas("run", chain(app=app)), "an empty chain"),
        (lambda: canvas("run", chain(sig("a"), sig("b"), app=app), weights={"c": 1.0}, attempt=1), "got c"),
        (lambda: canvas("run", chain(sig("a"), sig("b"), app=app), weights={"a": 0.0}, attempt=1), "positive"),
        (lambda: canvas("a/b", sig("a"), attempt=1), "must not contain"),
        (lambda: run_headers("run", title=""), "title must have 1 to 200"),
        (lambda: step(sig("a"), ""), "step must have 1 to 64"),
    ],
)
def test_wrong_arguments_raise(call: Any, words: str) -> None:
    """A wrong canvas that is sent to the workers."""
    with pytest.raises(ValueError, match=words):
        call()


def test_own_task_ids_are_kept() -> None:
    """An id by which the caller waits for its task, and that is replaced without a word."""
    frozen = sig("a")
    frozen.freeze("mine")
    assert canvas("run", frozen, attempt=1).options["task_id"] == "mine"
    made = canvas("run", chain(frozen, sig("b"), frozen.clone(), app=app), attempt=1)
    ids = [leaf.options["task_id"] for leaf in made.tasks]
    assert ids == task_ids("run", 1, ["a", "b", "a-2"]), "one id in two places cannot be kept"
    made = canvas("run", group(frozen, sig("b"), app=app), attempt=1)
    assert [leaf.options["task_id"] for leaf in made.tasks] == ["mine", task_id("run", 1, "b")]
    again = canvas("next", made, attempt=2)
    assert [leaf.options["task_id"] for leaf in again.tasks] == task_ids("next", 2, ["a", "b"]), "not those of a run"


def large(count: int) -> Signature:
    return group([sig("part") for _ in range(count)], app=app)


def test_members_beyond_the_most_steps_are_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large canvas that cannot be sent, or of which the run log keeps every step."""
    events: list[Event] = []
    with capture_progress() as progress:

        def noting(run_id: str, event: Event) -> Committed:
            events.append(event)
            return progress.commit(run_id, event)

        # by its name: the package's `canvas` is the function
        monkeypatch.setattr(sys.modules["runrelay.celery.canvas"], "commit", noting)
        made = canvas("run", large(1003), weights={"part-1002": 5.0})
    (event,) = events
    assert event.steps is not None
    kept = [spec.name for spec in event.steps]
    assert (len(kept), event.more_steps) == (1000, 3)
    assert kept[:2] == ["part", "part-2"]
    assert kept[-2:] == ["part-999", "part-1002"], "what has a weight is kept"
    marked = [info(member) for member in made.tasks]
    assert {m["step"]: m["beyond"] for m in marked if "beyond" in m} == {"part-1000": 1, "part-1001": 2, "part-1003": 3}
    assert [len(m["steps"]) for m in marked if "steps" in m] == [1000], "so long a list goes with one message only"
    assert {m["more_steps"] for m in marked} == {3}
    assert [r.getMessage() for r in caplog.records if r.name == "runrelay.celery"] == [
        "run 'run': a run keeps at most 1000 steps, its canvas has 1,003 members: the others are only counted"
    ]
    assert not any("beyond" in info(member) for member in canvas("run", large(1000), attempt=1).tasks)


def test_more_weights_than_steps_are_refused() -> None:
    """Weights that only the run log refuses, in a process that cannot correct them."""
    weights = {"part": 1.0, **{f"part-{n}": 1.0 for n in range(2, 1003)}}
    with pytest.raises(ValueError, match=r"^a run has at most 1000 steps, got 1,002$"):
        canvas("run", large(1100), weights=weights, attempt=1)
    with pytest.raises(ValueError, match=r"of steps of the canvas \(part, part-2, .* and [0-9,]+ more\), got other$"):
        send(large(1100), "run", weights={"other": 1.0}, attempt=1)


def test_naming_very_many_members_is_fast() -> None:
    """Naming that compares each of twenty thousand members with all before it, which takes minutes."""
    names = step_names(large(20_000))
    assert len(set(names)) == 20_000
    assert names[-1] == "part-20000"
    long = group([sig("p" * 70) for _ in range(12_000)], app=app)
    assert max(map(len, step_names(long))) == 64
