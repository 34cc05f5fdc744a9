"""The shape of a canvas: each place has an object of its own, and what comes after each is known. No broker."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery, Signature, chain, chord, group

from runrelay.celery import canvas, send, step, step_names, task_id
from runrelay.celery.shapes import copied, leaves
from runrelay.testing import capture_progress

app = Celery("shapes-test", broker="memory://", set_as_current=False)


def sig(name: str) -> Signature:
    return Signature(f"some.module.{name}", app=app)


def infos(signature: Signature) -> list[dict[str, Any]]:
    return [leaf.options["headers"]["runrelay"] for leaf in leaves(signature)]


def shapes(s: Signature) -> dict[str, Signature]:
    """One signature object in several places."""
    return {
        "group": group([s, s], app=app),
        "chain": s | s,
        "chord": group([s, s], app=app) | sig("body"),
        "its own body": chord([s, s], s, app=app),
        "nested": chain(s, group(chain(s, s, app=app), s, app=app), s, app=app),
        "one chain twice": group([chain(s, sig("b"), app=app)] * 2, app=app),
        "one group twice": chain(s, *[group([s, sig("b")], app=app)] * 2, app=app),
    }


@pytest.mark.parametrize("shape", shapes(sig("s")))
def test_one_object_in_several_places_is_as_many_members(shape: str) -> None:
    """Two members with one task id and one step: the run never ends, and Celery never sends the body."""
    given = shapes(sig("s"))[shape]
    made = canvas("run", given, attempt=1)
    names = [member["step"] for member in infos(made)]
    assert len(set(names)) == len(names) == len(list(leaves(given)))
    assert [leaf.options["task_id"] for leaf in leaves(made)] == [task_id("run", 1, name) for name in names]
    assert len({id(leaf) for leaf in leaves(made)}) == len(names)
    assert not any("headers" in leaf.options or "task_id" in leaf.options for leaf in leaves(given))


def test_one_object_with_two_step_names() -> None:
    """Two steps of the name that was given last."""
    s = sig("image")
    assert step_names(group([step(s, "cover"), step(s, "back"), s], app=app)) == ["cover", "back", "image"]


def test_a_member_knows_what_comes_after_it() -> None:
    """A run that waits for members that Celery never sends, or that does not wait for one that it sends."""
    made = canvas(
        "run",
        chain(
            sig("a"),
            chord([chain(sig("b"), sig("c"), app=app), sig("d")], chain(sig("e"), sig("f"), app=app), app=app),
            app=app,
        ),
        attempt=1,
    )
    rests = {member["step"]: [tuple(part) for part in member["rest"]] for member in infos(made)}
    assert rests == {
        "a": [("b", 5)],
        "b": [("e", 2), ("c", 1)],
        "c": [("e", 2)],
        "d": [("e", 2)],
        "e": [("f", 1)],
        "f": [],
    }


def test_what_comes_after_the_members_of_a_large_group_is_not_repeated() -> None:
    """Headers that grow with the canvas: each of ten thousand messages with ten thousand names."""
    made = canvas("run", group([sig("part")] * 3000, app=app) | sig("body"), attempt=1)
    assert {str(member.get("rest")) for member in infos(made)} == {"[['body', 1]]", "[]"}


def test_options_of_a_canvas_do_not_replace_those_of_its_members() -> None:
    """Headers of a group that take the place of the run's, so that no member belongs to the run."""
    for given in (group([sig("a"), sig("b")], app=app), chain(sig("a"), sig("b"), app=app)):
        made = canvas("run", given.set(headers={"trace": "1"}), attempt=1)
        assert "headers" not in made.options
        assert [leaf.options["headers"]["trace"] for leaf in leaves(made)] == ["1", "1"]
        assert [member["run_id"] for member in infos(made)] == ["run", "run"]


def test_chunks_are_the_group_that_celery_sends() -> None:
    """A run that stays queued for ever, because Celery drops the options of `chunks`, and with them the header."""

    @app.task(name="some.module.add")  # type: ignore[untyped-decorator]
    def add(x: int, y: int) -> int:
        return x + y

    given = add.chunks(((i, i) for i in range(25)), 10).set(queue="slow")
    assert step_names(given) == ["add", "add-2", "add-3"]
    made = canvas("run", given, attempt=1)
    assert [member["step"] for member in infos(made)] == ["add", "add-2", "add-3"]
    assert {leaf.options["queue"] for leaf in leaves(made)} == {"slow"}
    assert [leaf.task for leaf in leaves(made)] == ["celery.starmap"] * 3
    assert [len(leaf.kwargs["it"]) for leaf in leaves(made)] == [10, 10, 5]
    assert [leaf.options["route_name"] for leaf in leaves(made)] == ["some.module.add"] * 3
    assert step_names(step(given, "sum")) == ["sum", "sum-2", "sum-3"]
    mapped = copied(add.map([1, 2]).set(queue="slow"))
    assert (mapped.task, mapped.options, mapped.kwargs["it"], mapped.immutable) == (
        "celery.map", {"queue": "slow", "route_name": "some.module.add"}, [1, 2], True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (print, "a signature must be sent, as `task.s"),
        (chord([sig("a")], app=app), "a chord must have a body"),
        (chain(sig("a"), chord([sig("a")], app=app), app=app), "a chord must have a body"),
    ],
)
def test_what_cannot_be_sent_leaves_no_queued_run(given: Any, words: str) -> None:
    """A run that is queued for ever: its canvas was refused after that."""
    with capture_progress() as captured, pytest.raises(TypeError, match=words):
        send(given, "run")
    assert captured.events == []
