"""Spans: a part of a run reports its own progress 0..1, which is mapped into the run's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, SupportsFloat

from ..progress.checks import check_progress
from .publish import publish_progress

__all__ = ["Span", "current_span"]

_current: ContextVar[Mapping[str, tuple[Span, ...]]] = ContextVar("runrelay_spans")
"""For each run the spans that this context has entered, the innermost last."""


def current_span(run_id: str) -> Span:
    """The span of this run that the calling code is in: the innermost `with run.span(…)`, or else the whole run."""
    # a generator may leave a span in another context: the span is still in this context's tuple then
    spans = (span for span in reversed(_current.get({}).get(run_id, ())) if span._entered)
    return next(spans, None) or Span(run_id)


class Span:
    """A part of a run, from `low` to `high` of the run's progress. Its own progress is 0..1.

    As a context manager it is the current span of its run during the block: then progress that is reported to the run
    itself, or by `track`, is mapped into it, too. Threads that the block starts have no current span, and use the
    object (`with run.span(…) as span`).
    """

    def __init__(
        self,
        run_id: str,
        low: float = 0.0,
        high: float = 1.0,
        *,
        state: str | None = None,
        step: str | None = None,
        log: str | None = None,
    ) -> None:
        self.run_id = run_id
        self.low = low
        self.high = high
        self.step_name = step
        self._state = state
        self._log = log
        self._entered = 0
        self._pid = os.getpid()

    def at(self, progress: SupportsFloat) -> float:
        """The run's progress at `progress` (0..1) of this span.

        Raises:
            TypeError, ValueError: it is not a number within 0..1.
        """
        return self.low + (self.high - self.low) * check_progress(progress)

    def update(
        self,
        progress: SupportsFloat | None = None,
        state: str | None = None,
        log: str | None = None,
        *,
        level: str = "info",
        step: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Publish an event of this part: as `publish_progress`, with `progress` 0..1 of the part."""
        span = self._innermost()
        publish_progress(
            self.run_id,
            state,
            None if progress is None else span.at(progress),
            log,
            level=level,
            step=span.step_name if step is None else step,
            data=data,
        )

    def log(self, message: str, level: str = "info") -> None:
        """Add a line to the run's log."""
        self.update(log=message, level=level)

    def span(self, low: float, high: float, state: str | None = None, log: str | None = None) -> Span:
        """A part of this part.

        Entering it publishes its state, log line and lowest progress. Leaving it without an exception publishes its
        highest.

        Raises:
            TypeError, ValueError: not 0 <= low <= high <= 1.
        """
        low, high = check_progress(low), check_progress(high)
        if low > high:
            raise ValueError(f"a span must not end before it begins, got {low:g}..{high:g}")
        outer = self._innermost()
        return Span(self.run_id, outer.at(low), outer.at(high), state=state, step=outer.step_name, log=log)

    def _innermost(self) -> Span:
        return self

    @property
    def forked(self) -> bool:
        """Whether this is a forked child of the process that entered the block. Leaving it here publishes nothing."""
        return os.getpid() != self._pid

    def __enter__(self) -> Span:
        self._pid = os.getpid()
        self._entered += 1
        spans = _current.get({})
        _current.set({**spans, self.run_id: (*spans.get(self.run_id, ()), self)})
        self._publish_start()
        return self

    def _publish_start(self) -> None:
        publish_progress(self.run_id, self._state, self.low, self._log, step=self.step_name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered -= 1
        spans = dict(_current.get({}))
        entered = list(spans.pop(self.run_id, ()))
        if self in entered:
            entered.remove(self)
        if entered:
            spans[self.run_id] = tuple(entered)
        _current.set(spans)
        if kind is None and not self.forked:
            publish_progress(self.run_id, None, self.high, step=self.step_name)
