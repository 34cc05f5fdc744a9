"""The header of a task's message: the run, and the step, that the task works for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from celery import Signature

from ..progress import StepSpec, check_run_id
from ..progress.checks import check_attempt

__all__ = ["HEADER", "TaskInfo", "info_of", "mark", "own_step"]

HEADER: Final = "runrelay"

_log = logging.getLogger("runrelay.celery")


class TaskInfo(NamedTuple):
    """The header, checked."""

    run_id: str
    attempt: int | None = None
    step: str | None = None
    title: str | None = None
    pipeline: str | None = None
    steps: tuple[StepSpec, ...] | None = None
    more_steps: int | None = None
    beyond: int | None = None
    """Of a member whose step is not kept: its number among those, from 1."""
    first: bool = False
    last: bool = False
    closing: str | None = None
    stop: bool = False
    """The other members of the canvas are stopped when this one fails."""
    continues: int | None = None
    """Of a task that another one was replaced by: the attempt, of the run or of the step, that it goes on with."""
    part: bool = False
    """Of a member of a canvas by which a task was replaced, but not the one that ends it: the member works for the
    task's run, or step. It begins nothing, and ends it only by failing."""
    rest: tuple[tuple[str, int], ...] | None = None
    """The parts of the canvas that come after the member: each part's first member and how many members it has. None:
    the message was sent by a version that does not say it."""


def mark(signature: Signature, info: Mapping[str, Any]) -> None:
    """Set the header of a signature to `info`, without the values that are None. Nothing of an earlier one stays."""
    headers = dict(signature.options.get("headers") or {})
    headers[HEADER] = {name: value for name, value in info.items() if value is not None}
    signature.set(headers=headers)


def own_step(signature: Signature) -> str | None:
    """The step name that a signature has in its header."""
    header = (signature.options.get("headers") or {}).get(HEADER) or {}
    name: str | None = header.get("step")
    return name


def info_of(request: Any) -> TaskInfo | None:
    """A request's header, checked. None if there is none, or if it cannot be used, which is logged."""
    get = request.get
    raw = get(HEADER) or (get("headers") or {}).get(HEADER)
    if raw is None:
        return None
    try:
        steps, attempt, rest = raw.get("steps"), raw.get("attempt"), raw.get("rest")
        return TaskInfo(
            check_run_id(raw["run_id"]),
            attempt=None if attempt is None else check_attempt(attempt),
            step=raw.get("step"),
            title=raw.get("title"),
            pipeline=raw.get("pipeline"),
            more_steps=_number(raw.get("more_steps")),
            beyond=_number(raw.get("beyond")),
            steps=None if not steps else tuple(StepSpec(str(name), float(weight)) for name, weight in steps),
            first=bool(raw.get("first")),
            last=bool(raw.get("last")),
            closing=raw.get("closing"),
            stop=bool(raw.get("stop")),
            part=bool(raw.get("part")),
            continues=_number(raw.get("continues")),
            rest=None if rest is None else tuple((str(name), _number(count) or 0) for name, count in rest),
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        _log.warning("a task's header %r cannot be used: %s", HEADER, error)
        return None


def _number(value: Any) -> int | None:
    if value is not None and not (type(value) is int and value > 0):
        raise ValueError(f"a number of steps must be 1 or more, got {value!r}")
    return value
