"""A Celery task or canvas as a run: its tasks' headers, step names and task ids.

A task's message has one header, `runrelay`, with its run and step (header.py). The members of a canvas have it in their
own options: Celery keeps those in the messages of chains and chords, so that each member's message has it. A task that
is sent by a task does not inherit it.

The caller's signatures are never changed: a copy is marked (shapes.py). So one signature can be used in several places
and for several runs, and nothing of one run goes into the next.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from celery import Celery, Signature
from celery.canvas import maybe_signature

from ..progress import Event, StepSpec, check_run_id, step_specs
from ..progress.checks import MAX_LOG_BYTES, MAX_STEP_CHARS, MAX_STEPS
from ..progress.text import check_label, check_text, cut_text
from ..publisher.publish import commit
from ..publisher.run_progress import MAX_TITLE_CHARS
from .header import HEADER, mark
from .shapes import check_canvas, clone, copied, first, is_single, last, leaves, members

__all__ = [
    "HEADER",
    "cancel",
    "canvas",
    "mark_replacement",
    "marked",
    "run_headers",
    "step",
    "step_names",
    "task_id",
    "task_ids",
]

_CANCELLED_ATTEMPTS: Final = 1000
_NAMED: Final = 20
"""The most names in an error text."""
_log = logging.getLogger("runrelay.celery")
_NAMESPACE: Final = uuid.UUID("7a3c7d0e-2f5b-4f0e-9a53-3e0c6d1b8f42")


def task_id(run_id: str, attempt: int, step: str | None = None) -> str:
    """The id of the task that executes this attempt of a run, or a step of it.

    It is derived from the arguments (UUID 5), so that any process can revoke the task.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{run_id}\n{attempt}\n{step or ''}"))


def task_ids(run_id: str, attempt: int, steps: Iterable[str] = ()) -> list[str]:
    """The ids of all tasks of an attempt of a run: those of its steps, or of its only task if it has no steps."""
    return [task_id(run_id, attempt, step) for step in steps] or [task_id(run_id, attempt)]


def run_headers(
    run_id: str, *, title: str | None = None, pipeline: str | None = None, attempt: int | None = None
) -> dict[str, Any]:
    """Headers that make a single task a run: `task.apply_async(args, headers=run_headers("film-7"))`.

    In an application with `install(app)` the run is committed as queued before the task is sent, if Redis is there.

    Args:
        run_id: as for `publish_progress`.
        title, pipeline: shown to people, up to 200 characters each.
        attempt: the attempt that is already queued for this task, if there is one.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """
    info: dict[str, Any] = {"run_id": check_run_id(run_id)}
    for name, label in (("title", title), ("pipeline", pipeline)):
        if label is not None:
            info[name] = check_label(name, label, MAX_TITLE_CHARS)
    if attempt is not None:
        info["attempt"] = attempt
    return {HEADER: info}


def step(signature: Signature, name: str) -> Signature:
    """A copy of a canvas' member with this step name. By default it is the task's name after the last dot.

    Raises:
        TypeError, ValueError: the name is wrong.
    """
    check_label("step", name, MAX_STEP_CHARS)
    copy = clone(signature)
    mark(copy, {"step": name})
    return copy


def step_names(signature: Signature) -> list[str]:
    """The names that the members of a canvas have as steps, in order; empty for a single task.

    Members of the same name get numbers: `image`, `image-2`, `image-3`.
    """
    copy = copied(signature)
    return [] if is_single(copy) else [member.name for member in members(copy)]


def canvas(
    run_id: str,
    signature: Signature,
    *,
    weights: Mapping[str, float] | None = None,
    title: str | None = None,
    pipeline: str | None = None,
    closing: str | None = None,
    attempt: int | None = None,
    stop_on_failure: bool = False,
) -> Signature:
    """Make a task, or a chain, group or chord (nested ones too), one run; its members are the run's steps.

    Returns a marked copy of the signature: `canvas(…).apply_async()` sends it. The signature itself stays as it is. The
    run is committed as queued.

    The run ends when its last member has ended: as succeeded if all have succeeded, else as failed, or as cancelled if
    some were revoked and none has failed. If a member of a group does not succeed, the others go on. Members that are
    not sent any more, as Celery does it after a failure, are not waited for.

    A run keeps 1,000 steps. Of a larger canvas the first members are kept, and those that `weights` names. The others
    are counted (`steps_truncated`): their events are delivered, and the run's end waits for them, too.

    Args:
        run_id: as for `publish_progress`.
        signature: the task or canvas. `chunks` becomes the group that Celery sends it as.
        weights: the steps' shares of the whole by name (any positive unit); equal by default.
        title, pipeline: shown to people.
        closing: the run's last log line, published with the event that ends it as succeeded. The run's result is the
            return value of the last member.
        attempt: the attempt that the caller has already queued, as a relay does. Without it, `queued` is committed
            here, as a new attempt if the run exists.
        stop_on_failure: when a member fails, is revoked or expires, the run ends at once, and the other members are
            revoked or killed (SIGTERM).

    A member that has a task id already (`freeze`) keeps it. Others get an id that is derived from the run, by which
    `cancel` finds them.

    Raises:
        TypeError, ValueError: an argument is wrong, `weights` has a name that is no step, or the canvas is empty.
        RunlogUnavailable: without `attempt`: Redis cannot be reached. The canvas must not be sent then.
    """
    given: dict[str, Any] = {"weights": weights, "title": title, "pipeline": pipeline, "closing": closing}
    return marked(run_id, signature, **given, attempt=attempt, stop_on_failure=stop_on_failure)


def marked(
    run_id: str,
    signature: Signature,
    *,
    weights: Mapping[str, float] | None,
    title: str | None,
    pipeline: str | None,
    closing: str | None,
    attempt: int | None,
    stop_on_failure: bool,
    queued: bool = True,
) -> Signature:
    """What `canvas` does.

    Args:
        queued: False: no attempt of this run was queued, and none is: Redis is away. The run begins with the start of
            its first task. `attempt` is None then.
    """
    run_id = run_headers(run_id, title=title, pipeline=pipeline)[HEADER]["run_id"]
    if closing is not None:
        closing = cut_text(check_text("closing", closing), MAX_LOG_BYTES)
    check_canvas(signature)
    made = copied(maybe_signature(signature))
    found = [] if is_single(made) else members(made)
    if not found and not is_single(made):
        raise ValueError(f"a canvas must have members, got an empty {made.subtask_type}: its run would never end")
    kept, beyond = _kept([member.name for member in found], weights)
    specs = _specs(kept, weights)
    if beyond:
        _log.warning(
            "run %r: a run keeps at most %d steps, its canvas has %s members: the others are only counted",
            run_id, MAX_STEPS, f"{len(found):,}",
        )  # fmt: skip
    if attempt is None and queued:
        event = Event(
            time.time_ns() // 1_000_000,
            state="QUEUED",
            kind="queue",
            title=title,
            pipeline=pipeline,
            steps=specs or None,
            more_steps=len(beyond) or None,
        )
        attempt = commit(run_id, event).attempt
    # Without a word from Redis: a run that nobody has heard of. The start of a single task finds its attempt itself.
    info = {"run_id": run_id, "attempt": attempt or (1 if found else None), "closing": closing}
    attempt = attempt or 1
    own_ids = _own_ids(made)
    if not found:
        mark(made, {**info, "title": title, "pipeline": pipeline})
        made.set(task_id=own_ids.get(id(made)) or task_id(run_id, attempt))
        return made
    starting, ends = set(map(id, first(made))), last(made)
    for member in found:
        # Celery sends the next member before it signals that one has succeeded, so any of them may end the run.
        more: dict[str, Any] = {
            "step": member.name,
            "last": member.signature is ends,
            "beyond": beyond.get(member.name),
            "stop": stop_on_failure or None,
            "rest": [[found[at].name, count] for at, count in member.rest],
        }
        if id(member.signature) in starting:
            # The steps are declared again with the first members: a log that was lost does not have them, and a relay
            # that has queued the run does not know the weights. A list of 1,000 goes with one member only.
            declares = member is found[0] if beyond else weights or not queued
            more["steps"] = [list(spec) for spec in specs] if declares else None
            more["more_steps"] = len(beyond) or None
            more["first"] = member is found[0]
            more |= {"title": title, "pipeline": pipeline}
        mark(member.signature, {**info, **more})
        member.signature.set(task_id=own_ids.get(id(member.signature)) or task_id(run_id, attempt, member.name))
    return made


def _own_ids(made: Signature) -> dict[int, str]:
    """The task ids that the caller has given, by the members' `id()`.

    Not those of an earlier run (a signature that `canvas` has marked), nor one that stands in several places.
    """
    found = {
        id(leaf): str(leaf.options["task_id"])
        for leaf in leaves(made)
        if leaf.options.get("task_id") and "run_id" not in ((leaf.options.get("headers") or {}).get(HEADER) or {})
    }
    several = Counter(found.values())
    return {place: own for place, own in found.items() if several[own] == 1}


def cancel(app: Celery, run_id: str, attempt: int, steps: Iterable[str] = ()) -> None:
    """Stop the work of a run: its waiting tasks are revoked, and those that are executed are killed (SIGTERM).

    That includes the attempts before `attempt`: a task that is retried or redelivered is a new attempt of a single-task
    run, and keeps its id.

    Commit CANCELLED before. Later events, of a killed process or of a task that cannot be killed (in a thread), are
    then fenced, because the run has ended.
    """
    names = list(steps)
    attempts = range(max(1, attempt - _CANCELLED_ATTEMPTS + 1), attempt + 1)
    ids = [task for number in attempts for task in task_ids(run_id, number, names)]
    app.control.revoke(ids, terminate=True, signal="SIGTERM")


def mark_replacement(signature: Signature, task_id: str, info: Mapping[str, Any]) -> None:
    """Set the header of the member with this task id to `info`, and mark the others as parts of it."""
    for leaf in leaves(signature):
        if leaf.options.get("task_id") == task_id:
            mark(leaf, info)
        elif "run_id" not in ((leaf.options.get("headers") or {}).get(HEADER) or {}):
            mark(leaf, {**info, "part": True})


def _kept(names: list[str], weights: Mapping[str, float] | None) -> tuple[list[str], dict[str, int]]:
    """The names of the steps that the run's log keeps, and the other names with their numbers, from 1."""
    if len(names) <= MAX_STEPS:
        return names, {}
    weighted = {name for name in names if weights and name in weights}
    room = MAX_STEPS - len(weighted)
    others = [name for name in names if name not in weighted][: max(0, room)]
    kept = weighted.union(others)
    left = [name for name in names if name not in kept]
    return [name for name in names if name in kept], {name: number for number, name in enumerate(left, 1)}


def _specs(names: list[str], weights: Mapping[str, float] | None) -> tuple[StepSpec, ...]:
    if not weights:
        return step_specs(names)
    unknown = sorted(set(weights) - set(names))
    if unknown:
        raise ValueError(f"weights must be of steps of the canvas ({_some(names)}), got {_some(unknown)}")
    return step_specs({name: weights.get(name, 1.0) for name in names})


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")
