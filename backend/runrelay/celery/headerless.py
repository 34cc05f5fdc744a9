"""Tasks whose message names no run, and which publish all the same: what most people try first.

The first run that such a task publishes to counts as its own, as long as it is the only one. Then the run fails when
the task fails, and the worker's heartbeats let it become stalled when the worker dies. It does not end when the task
succeeds, because several tasks may work for one run: that is left to the task (`END`). No attempt is begun, so nothing
is fenced: for that the message must name the run (`send`, `run_headers`).

A run that a start has begun (`send`, `run_progress`) has an owner, which alone ends it: it does not fail with a task
that its own task has sent, and that reports to it.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from celery import Celery, signals

from ..outbox.publisher import Publisher
from ..outbox.scopes import TaskScope, enter_scope, leave_scope
from ..progress import make_event
from ..publisher.publish import current_sink, emit
from ..publisher.run_progress import error_text
from .header import HEADER

__all__ = ["HeaderlessTasks"]

_SCOPE: Final = "_runrelay_open_scope"


class HeaderlessTasks:
    """The signal handlers for tasks of an application without the header.

    Args:
        app: the application.
        flush_s: seconds that the end of a task waits for its events.
    """

    def __init__(self, app: Celery, flush_s: float) -> None:
        self._app = app
        self._flush_s = flush_s
        signals.task_prerun.connect(self._prerun, weak=False)
        signals.task_failure.connect(self._failure, weak=False)
        signals.before_task_publish.connect(self._before_publish, weak=False)
        signals.task_postrun.connect(self._postrun, weak=False)

    def _prerun(self, task: Any = None, **_: Any) -> None:
        if task.app is self._app and not _has_header(task.request):
            scope = TaskScope("", open=True)
            setattr(task.request, _SCOPE, scope)
            enter_scope(scope)

    def _failure(self, sender: Any = None, exception: Any = None, **_: Any) -> None:
        self._fail(self._adopted(sender), exception)

    def _fail(self, scope: TaskScope | None, error: Any) -> None:
        if scope is not None and scope.ended is None:
            scope.ended = "FAILED"
            event = make_event("FAILED", error=error_text(error))
            emit(scope.run_id, event._replace(only_if_unbegun=True), scope)

    def _before_publish(self, headers: dict[str, Any] | None = None, **_: Any) -> None:
        """A task sends itself again. This is committed first: else the next try could end before it."""
        task = self._app.current_worker_task
        if task is None or headers is None or task.request.id != headers.get("id"):
            return
        scope = self._adopted(task)
        if scope is None or scope.ended is not None or (headers.get("retries") or 0) <= (task.request.retries or 0):
            return
        reason = sys.exc_info()[1]
        log = None if reason is None else f"retrying: {type(reason).__name__}: {reason}"
        event = make_event("RETRYING", log=log, level="warning")
        emit(scope.run_id, event._replace(kind="retrying", only_if_unbegun=True), scope)
        current_sink().flush(self._flush_s, while_down=False)

    def _postrun(self, task: Any = None, state: Any = None, **_: Any) -> None:
        scope = self._scope_of(task)
        if scope is None:
            return
        error = sys.exc_info()[1] if state is None else None
        if isinstance(error, Exception):  # eager mode with `task_eager_propagates`: there is no signal
            self._fail(self._adopted(task), error)
        setattr(task.request, _SCOPE, None)
        leave_scope(scope)
        if scope.run_id:
            sink = current_sink()
            sink.flush(self._flush_s, while_down=False)
            if scope.open and scope.ended is None and isinstance(sink, Publisher):
                sink.heartbeat.forget(scope.run_id)

    def _scope_of(self, task: Any) -> TaskScope | None:
        found = getattr(task.request, _SCOPE, None) if task.app is self._app else None
        return found if isinstance(found, TaskScope) else None

    def _adopted(self, task: Any) -> TaskScope | None:
        """The scope of a task that has published to exactly one run."""
        scope = self._scope_of(task)
        return scope if scope is not None and scope.run_id and scope.open else None


def _has_header(request: Any) -> bool:
    return request.get(HEADER) is not None or (request.get("headers") or {}).get(HEADER) is not None
