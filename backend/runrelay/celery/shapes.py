"""The shape of a canvas: its members in order, those that begin it, the one that ends it, and what comes after each.

Celery lets one Signature object stand in several places: `group([s, s])`, `s | s`. A run needs a name and a header for
each place. So a canvas is copied first (`copied`), and each place of the copy has an object of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

from celery import Signature
from celery.canvas import _basemap as Map
from celery.canvas import _chain as Chain
from celery.canvas import chord as Chord
from celery.canvas import chunks as Chunks
from celery.canvas import group as Group
from celery.canvas import maybe_signature

from ..progress.checks import MAX_STEP_CHARS
from .header import HEADER, mark, own_step

__all__ = ["Member", "check_canvas", "clone", "copied", "first", "is_single", "last", "leaves", "members"]


class Member(NamedTuple):
    """A member of a canvas."""

    signature: Signature
    name: str
    """Its name as a step."""
    rest: tuple[tuple[int, int], ...]
    """The parts of the canvas that come after it, and that are not sent if it does not succeed: of each part its first
    member's place in the canvas, from 0, and how many members it has. From the outermost part to the innermost."""


def check_canvas(signature: Any) -> None:
    """Raise a TypeError unless this, and each part of it, can be sent."""
    if not isinstance(signature, dict):
        raise TypeError(f"a signature must be sent, as `task.s(…)` makes one, got {signature!r}")
    if isinstance(signature, Chord) and signature.body is None:
        raise TypeError(f"a chord must have a body, got one without: {signature!r}")
    if isinstance(signature, Signature) and not is_single(signature):
        for part in _children(signature):
            for child in part:
                check_canvas(child)


def is_single(signature: Signature) -> bool:
    """Whether this is one task, and not a canvas of several."""
    return not isinstance(signature, (Chain, Group, Chord, Chunks))


def clone(signature: Signature) -> Signature:
    """A copy of one member. Celery's own clone of `chunks` would be a task that it cannot execute."""
    if not isinstance(signature, (Map, Chunks)):
        # The copy's `kwargs` must not be the signature's own: an older Celery clones the members into these.
        plain = {**signature, "kwargs": dict(signature.kwargs), "options": deepcopy(signature.options)}
        return Signature.from_dict(plain, app=signature._app)
    copy = type(signature)(**signature.kwargs, app=signature._app, **deepcopy(signature.options))
    copy.kwargs = dict(signature.kwargs)
    return copy


def copied(signature: Signature) -> Signature:
    """A copy of a task or canvas in which no object stands in two places, and none is the caller's.

    Headers of a chain, group or chord itself go to its members: as options of the canvas they would replace the
    members' own when it is sent. Celery sends `chunks` as a group and drops its options; here it is that group, and its
    members have the options.
    """
    if isinstance(signature, Chunks):
        return _as_group(signature)
    if isinstance(signature, Map):
        return _as_task(signature)
    copy = clone(signature)
    if isinstance(signature, (Chain, Group)):
        copy.kwargs["tasks"] = [copied(child) for child in _signatures(signature, "tasks")]
    elif isinstance(signature, Chord):
        header = signature.tasks
        copy.kwargs["header"] = (
            copied(header)
            if isinstance(header, Signature)
            else [copied(child) for child in _signatures(signature, "header")]
        )
        copy.kwargs["body"] = copied(maybe_signature(signature.body, app=signature.app))
    if not is_single(copy) and (common := copy.options.pop("headers", None)):
        common = {name: value for name, value in common.items() if name != HEADER}
        for leaf in leaves(copy):
            leaf.set(headers={**common, **(leaf.options.get("headers") or {})})
    return copy


def _as_group(chunks: Signature) -> Signature:
    """What `chunks` is sent as: a group of tasks, each for several items. They are named after the task."""
    group = chunks.group()
    options = {name: value for name, value in chunks.options.items() if name != "task_id"}
    step = own_step(chunks) or _short_name(maybe_signature(chunks.kwargs["task"]))
    children = [copied(child) for child in group.tasks]
    for child in children:
        child.set(**options)
        mark(child, {"step": step})
    group.kwargs["tasks"] = children
    return group


def _as_task(mapped: Signature) -> Signature:
    """`map` and `starmap` as the plain task that they are: so its options are sent by every version of Celery."""
    return Signature(
        mapped.task,
        kwargs={"task": mapped.kwargs["task"], "it": list(mapped.kwargs["it"])},
        options={"route_name": mapped.kwargs["task"]["task"], **deepcopy(mapped.options)},
        immutable=True,
        app=mapped._app,
    )


def _children(signature: Signature) -> list[list[Any]]:
    """A canvas' parts in order; the members of one part run at the same time."""
    if isinstance(signature, Chain):
        return [[task] for task in _signatures(signature, "tasks")]
    if isinstance(signature, Group):
        return [_signatures(signature, "tasks")]
    if isinstance(signature, Chunks):
        return [list(signature.group().tasks)]
    header = signature.tasks
    parts = _children(header) if isinstance(header, Signature) else [_signatures(signature, "header")]
    return [*parts, [signature.body]]


def _signatures(signature: Signature, name: str) -> list[Any]:
    """A list of members. Plain dictionaries (from JSON) become signatures."""
    return [
        item if isinstance(item, Signature) or not isinstance(item, dict) else maybe_signature(item, app=signature._app)
        for item in signature.kwargs[name]
    ]


def leaves(signature: Signature) -> Iterator[Signature]:
    """The tasks of a canvas, in order."""
    if is_single(signature):
        yield signature
        return
    for part in _children(signature):
        for child in part:
            yield from leaves(child)


def first(signature: Signature) -> list[Signature]:
    """The tasks that start at once."""
    if is_single(signature):
        return [signature]
    for part in _children(signature):
        found = [leaf for child in part for leaf in first(child)]
        if found:
            return found
    return []


def last(signature: Signature) -> Signature | None:
    """The task that ends last, if there is exactly one: its return value is the run's result."""
    if is_single(signature):
        return signature
    for part in reversed(_children(signature)):
        if any(True for child in part for _ in leaves(child)):
            return last(part[0]) if len(part) == 1 else None
    return None


def members(signature: Signature) -> list[Member]:
    """The tasks of a canvas, with their names as steps: the task's name after the last dot, or what `step` has set.

    Members of the same name get numbers: `image`, `image-2`, `image-3`.
    """
    taken: set[str] = set()
    counts: dict[str, int] = {}
    found: list[Member] = []
    for leaf, rest in _placed(signature, 0, ()):
        base = own_step(leaf) or _short_name(leaf)
        name, count = base, counts.get(base, 1)
        while name in taken:
            count += 1
            number = f"-{count}"
            name = base[: MAX_STEP_CHARS - max(5, len(number))] + number
        counts[base] = count
        taken.add(name)
        found.append(Member(leaf, name, rest))
    return found


def _short_name(signature: Signature) -> str:
    return str(signature.task).rpartition(".")[2][:MAX_STEP_CHARS]


def _placed(
    signature: Signature, at: int, rest: tuple[tuple[int, int], ...]
) -> Iterator[tuple[Signature, tuple[tuple[int, int], ...]]]:
    """Each task with the parts that come after it. `at`: the place of the first of these tasks in the whole canvas."""
    if is_single(signature):
        yield signature, rest
        return
    parts = _children(signature)
    sizes = [[sum(1 for _ in leaves(child)) for child in part] for part in parts]
    left = sum(map(sum, sizes))
    for part, counts in zip(parts, sizes, strict=True):
        left -= sum(counts)
        after = (*rest, (at + sum(counts), left)) if left else rest
        for child, count in zip(part, counts, strict=True):
            yield from _placed(child, at, after)
            at += count
