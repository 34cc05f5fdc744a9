"""run_progress: a block of code as a run, or as part of the task that it runs in."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final

from ..outbox.children import current_process_name, runs_of_parent
from ..outbox.scopes import TaskScope, enter_scope, enter_step, entered_scope_of, leave_scope
from ..progress import Event, check_run_id, make_event, step_specs
from ..progress.checks import MAX_ERROR_BYTES, MAX_RESULT_BYTES, MAX_STATE_CHARS, MAX_STEP_CHARS, encode_json
from ..progress.text import check_label, cut_text
from .publish import emit, flush_if_forked, publish_progress
from .spans import Span, current_span

__all__ = ["MAX_TITLE_CHARS", "RunProgress", "StepSpan", "error_text", "run_progress"]

MAX_TITLE_CHARS: Final = 200
_FRAMES: Final = 30


def error_text(error: BaseException) -> str:
    """An exception as a run's error: one line with its type and message, then the traceback; at most 64 KiB."""
    summary = "".join(traceback.format_exception_only(error)).strip()
    trace = "".join(traceback.format_exception(error, limit=-_FRAMES)).strip()
    return cut_text(f"{summary}\n\n{trace}" if trace != summary else summary, MAX_ERROR_BYTES)


def _is_cancellation(error: BaseException) -> bool:
    """Whether this is `asyncio.CancelledError`. Without importing asyncio, which takes a worker long: where nobody has
    imported it, nobody can have raised its error.
    """
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


class StepSpan(Span):
    """A step of a run as a block of code. If it is entered again (after it has failed), that is a new step attempt.

    Within the block `publish_progress` is of this step, unless it names another one or ends the run.
    """

    _scope: TaskScope | None = None

    def _publish_start(self) -> None:
        event = make_event(self._state, self.low, self._log, step=self.step_name)
        self._scope = enter_step(self.run_id, str(self.step_name))
        emit(self.run_id, event._replace(kind="step_start"), None if self._scope is None else self._scope.outer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._scope is not None:
            leave_scope(self._scope)
            self._scope = None
        super().__exit__(kind, error, trace)
        if self.forked:
            return
        if error is None:
            publish_progress(self.run_id, "END", step=self.step_name)
        else:
            publish_progress(self.run_id, "FAILED", step=self.step_name, error=error_text(error))


class RunProgress(Span):
    """The run of a `run_progress` block."""

    def __init__(self, run_id: str, begin: Event, declare: Event | None) -> None:
        super().__init__(run_id)
        self._begin = begin
        self._declare = declare
        self._scope: TaskScope | None = None
        self._result: Any = None

    @property
    def result(self) -> Any:
        """The run's result: JSON up to 64 KiB, published with its end unless it fails.

        Raises:
            TypeError, ValueError: (on setting) it is no JSON, or too large.
        """
        return self._result

    @result.setter
    def result(self, value: Any) -> None:
        encode_json("result", value, MAX_RESULT_BYTES)
        self._result = value

    def _innermost(self) -> Span:
        return current_span(self.run_id)

    def step(self, name: str, state: str | None = None, log: str | None = None) -> StepSpan:
        """A block of code as one of the run's steps: its own progress 0..1, END on leaving, FAILED on an exception.

        Raises:
            TypeError, ValueError: the name is wrong.
        """
        check_label("step", name, MAX_STEP_CHARS)
        return StepSpan(self.run_id, state=state, step=name, log=log)

    def __enter__(self) -> RunProgress:
        self._pid = os.getpid()
        outer = entered_scope_of(self.run_id)
        if outer is None:
            begin = self._begin if self.run_id not in runs_of_parent() else self._as_step()
            self._scope = TaskScope(self.run_id, begin.step)
            enter_scope(self._scope)
            emit(self.run_id, begin, self._scope)
        elif self._declare is not None:
            # inside a member of a canvas: the canvas declares the run's steps, not its members
            steps = self._declare.steps if outer.step is None else None
            emit(self.run_id, self._declare._replace(step=outer.step, steps=steps), outer)
        return self

    def _as_step(self) -> Event:
        """The beginning of a step: this process was spawned by one that works for the run, which ends it."""
        name = cut_text(self._begin.title or current_process_name(), MAX_STEP_CHARS)
        state = None if self._begin.state == "STARTED" else self._begin.state
        return make_event(state, step=name, attempt=self._begin.base_attempt)._replace(kind="step_start")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.forked:
            return
        scope = self._scope
        if scope is None:
            # The block is part of a task, which ends the run: after an exception it may be retried.
            outer = entered_scope_of(self.run_id)
            if outer is not None:
                outer.failure = None if error is None else error_text(error)
                outer.result = outer.result if self._result is None else self._result
            return
        leave_scope(scope)
        self._scope = None
        if scope.ended:
            return
        if error is None:
            result = scope.result if self._result is None else self._result
            event = make_event("END", result=result, step=scope.step)
        elif _is_cancellation(error):
            event = make_event("CANCELLED", step=scope.step)
        else:
            event = make_event("FAILED", error=error_text(error), step=scope.step)
        emit(self.run_id, event, scope)
        flush_if_forked()


def run_progress(
    run_id: str,
    *,
    title: str | None = None,
    steps: Mapping[str, float] | Sequence[str] | None = None,
    pipeline: str | None = None,
    state: str | None = None,
    attempt: int | None = None,
) -> RunProgress:
    """A block of code as a run: started on entering, END on leaving, FAILED with the error on an exception.

    `asyncio.CancelledError` ends the run as CANCELLED.

    Inside a task of an application with `install(app)` that works for this run, the block is part of the task: the
    task's end ends the run, after its retries. If the task is a member of a canvas, it ends the task's step.

    In a process that `multiprocessing` has spawned from one that works for this run, the block is a step of the run:
    its name is the title, or the process' name.

        with run_progress("film-7", title="A film") as run:
            with run.span(0.0, 0.4, state="PLOT"):
                run.update(0.5, log="half of the plot")     # the run is at 0.2
            run.result = {"file": "film.mp4"}

    Args:
        run_id: as for `publish_progress`. A run of this id that has ended begins a new attempt.
        title: shown to people, up to 200 characters.
        steps: names with their weights, or names alone.
        pipeline: the pipeline's name.
        state: the first state; `STARTED` by default.
        attempt: the attempt that this program was started for. If a retry has replaced it, its events are fenced.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """
    run_id = check_run_id(run_id)
    for name, label in (("title", title), ("pipeline", pipeline)):
        if label is not None:
            check_label(name, label, MAX_TITLE_CHARS)
    if state is not None:
        check_label("state", state, MAX_STATE_CHARS)
    plain = make_event(state, attempt=attempt)._replace(
        title=title, pipeline=pipeline, steps=None if steps is None else step_specs(steps)
    )
    begin = plain._replace(kind="start", state=state or "STARTED", attempt=None, base_attempt=attempt, reopen=True)
    declares = not (title is None and pipeline is None and steps is None and state is None)
    return RunProgress(run_id, begin, plain if declares else None)
