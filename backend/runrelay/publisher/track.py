"""track: the progress of a loop, published about every one percent."""

from __future__ import annotations

import logging
import math
import operator
from collections.abc import Iterable, Iterator
from typing import TypeVar

from ..outbox.scopes import scope_of
from ..progress import check_run_id
from ..progress.checks import MAX_STATE_CHARS, MAX_STEP_CHARS
from ..progress.text import check_label
from .publish import publish_progress
from .spans import Span, current_span

__all__ = ["STEPS", "Percent", "say_if_repeated", "track"]

T = TypeVar("T")
STEPS = 100
_log = logging.getLogger("runrelay.publisher")


class Percent:
    """Whether a count has reached another hundredth of its total. Pure."""

    def __init__(self, total: float | None) -> None:
        self.total = total
        self._last = -1

    def passed(self, count: float) -> float | None:
        """The share 0..1 if it is in another hundredth than at the last call that returned one, else None."""
        if not self.total or self.total <= 0:
            return None
        share = min(1.0, max(0.0, count / self.total))
        step = int(share * STEPS)
        if step == self._last:
            return None
        self._last = step
        return share


def track(
    items: Iterable[T],
    run_id: str,
    *,
    span: tuple[float, float] = (0.0, 1.0),
    total: int | None = None,
    state: str | None = None,
    step: str | None = None,
) -> Iterator[T]:
    """Yield the items, and publish the share that is done: at the start, about every one percent, and at the end.

    If the loop is left early, nothing more is published.

    Args:
        items: an iterable.
        run_id: as for `publish_progress`.
        span: the part of the run's progress, from and to; inside `with run.span(…)`, of that span's progress.
        total: the number of items; by default their length. If unknown, only the state and the end are published.
        state: the pipeline's own label for this loop.
        step: the step that the loop belongs to.

    Raises:
        TypeError, ValueError: an argument is wrong. Raised by the call, not when the loop begins.
    """
    run_id = check_run_id(run_id)
    if state is not None:
        check_label("state", state, MAX_STATE_CHARS)
    if step is not None:
        check_label("step", step, MAX_STEP_CHARS)
    if total is not None and not math.isfinite(total):
        raise ValueError(f"total must be a finite number, got {total!r}")
    part = current_span(run_id).span(*span)
    step = part.step_name if step is None else step
    say_if_repeated(part, step)
    if total is None:
        total = operator.length_hint(items, 0) or None
    return _tracked(items, part, Percent(total), state, step)


def say_if_repeated(part: Span, step: str | None) -> None:
    """Log a warning if an earlier loop has reported the same part of the run's progress: this one will show nothing."""
    scope = scope_of(part.run_id)
    if scope is None:
        return
    loop = (part.low, part.high, step or scope.step)
    if loop in scope.loops and not scope.said_of_loops:
        scope.said_of_loops = True
        _log.warning(
            "run %r: a second loop reports the same part of the progress, %g..%g, and shows nothing, as progress never "
            "goes down. Give each loop its part: track(…, span=(0.0, 0.5))",
            part.run_id, part.low, part.high,
        )  # fmt: skip
    scope.loops.add(loop)


def _tracked(items: Iterable[T], part: Span, percent: Percent, state: str | None, step: str | None) -> Iterator[T]:
    def publish(share: float | None) -> None:
        publish_progress(part.run_id, state, None if share is None else part.at(share), step=step)

    first = percent.passed(0)
    if state is not None or first is not None:
        publish(first)
    for done, item in enumerate(items, 1):
        yield item
        share = percent.passed(done)
        if share is not None:
            publish(share)
    publish(1.0)
