"""install(app): Celery's signals become events of runs. A task's run and step are in its message's header."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

from celery import VERSION, Celery, signals, states
from celery.canvas import maybe_signature
from celery.exceptions import Retry
from celery.local import Proxy
from celery.utils.serialization import UnpickleableExceptionWrapper

from ..errors import RunlogError
from ..outbox.publisher import Publisher
from ..outbox.scopes import TaskScope, enter_scope, leave_scope
from ..progress import Event, make_event
from ..progress.fields import Kind
from ..publisher.publish import commit, configure, current_sink, emit, shut_down
from ..publisher.run_progress import error_text
from ..settings import PublisherSettings
from .canvas import mark_replacement
from .ends import StateSet, fail, succeed, tell_unsignalled_end
from .gate import START_WAIT_S, Gate
from .header import HEADER, TaskInfo, info_of
from .headerless import HeaderlessTasks
from .log_capture import LogCapture
from .stopping import has_ended, stop_others
from .task_classes import on_every_task
from .unknown_tasks import UnknownTasks

__all__ = ["TASK_FLUSH_S", "install"]

TASK_FLUSH_S: Final = 1.0
"""The longest that a task's end waits for its events. It does not wait while Redis is known to be away."""
_EXECUTION: Final = "_runrelay_execution"
_RETRY_PUBLISHED: Final = "_runrelay_retry_published"
_POPS_CHAIN: Final = VERSION < (5, 6, 3)
"""An older Celery takes the next member out of `request.chain` before it signals success."""

_log = logging.getLogger("runrelay.celery")
_installed: dict[int, Installation] = {}
_captured: set[int] = set()


def install(app: Celery, *, settings: PublisherSettings | None = None, capture_logs: bool = False) -> None:
    """Publish the life of this application's tasks. Call it once, where the application is made.

    Of tasks that work for a run (`send`, `canvas`, or `headers=run_headers(…)`), being queued, started, retried,
    failed, revoked and succeeded is then published without a line in the task. `publish_progress` inside them is fenced
    by the attempt that the task's start was given. A redelivered task is a new attempt; if the earlier one still lives,
    its events are fenced.

    Args:
        app: the Celery application.
        settings: for the process' publisher, instead of the environment's.
        capture_logs: what these tasks log (of the levels that the worker logs) becomes lines of their runs' logs.

    Raises:
        ValueError: a setting is wrong. Raised here, and not in the first task.
    """
    if settings is not None:
        configure(settings)
    else:
        current_sink()
    if isinstance(app, Proxy):  # celery.current_app; a task's `app` is the application itself
        app = app._get_current_object()
    if id(app) not in _installed:
        _installed[id(app)] = Installation(app)
        HeaderlessTasks(app, TASK_FLUSH_S)
        UnknownTasks(app)
    if capture_logs and id(app) not in _captured:
        _captured.add(id(app))
        LogCapture(app)


@dataclass(slots=True)
class _Execution:
    """One execution of a task in this process."""

    info: TaskInfo
    scope: TaskScope
    chain: Any
    """The task's `request.chain` at its start: the members of a chain that come after it."""
    chained: int
    """How many these were."""
    told: bool = False
    """What becomes of the task is published: its end or its retry."""
    resent: bool = False
    """The task has sent itself again, or another one in its place. That may fail: then it is rejected."""
    said: StateSet | None = None

    def drops_rest(self, chain: Any) -> bool:
        """Whether the task has emptied its `request.chain`: Celery does not send what comes after it then.

        Args:
            chain: `request.chain` when success is signalled.
        """
        if chain or not self.chained:
            return False
        return not (_POPS_CHAIN and self.chained == 1 and chain is self.chain)


class Installation:
    """The signal handlers of one application. Signals come from all applications: each handler checks the task's."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        # Requests by task id, for the worker's main process. It never sees a task's end, hence the weak references.
        self._requests: WeakValueDictionary[str, Any] = WeakValueDictionary()
        Gate(app, self._why_unwanted)
        on_every_task(app, "update_state", self._noting_states)
        signals.before_task_publish.connect(self._before_publish, weak=False)
        signals.task_received.connect(self._received, weak=False)
        signals.task_prerun.connect(self._prerun, weak=False)
        signals.task_success.connect(self._success, weak=False)
        signals.task_failure.connect(self._failure, weak=False)
        signals.task_retry.connect(self._retry, weak=False)
        signals.task_revoked.connect(self._revoked, weak=False)
        signals.task_postrun.connect(self._postrun, weak=False)
        signals.worker_process_init.connect(_worker_started, weak=False)
        signals.worker_process_shutdown.connect(_worker_ended, weak=False)
        signals.worker_shutdown.connect(_worker_ended, weak=False)

    def _before_publish(self, headers: dict[str, Any] | None = None, body: Any = None, **_: Any) -> None:
        """Commit `queued` before the message can be delivered: else the start could be committed before it."""
        if headers is None:
            return
        task = self.app.current_worker_task
        if task is not None and task.request.id == headers.get("id"):
            self._before_again(task, headers)
            return
        if task is not None and (headers.get("replaced_task_nesting") or 0) > task.request.replaced_task_nesting:
            self._before_replacement(task, headers, body)
        info = headers.get(HEADER)
        if not isinstance(info, dict) or info.get("attempt") is not None or info.get("step") is not None:
            return
        checked = info_of({HEADER: info})
        if checked is None or current_sink().down:
            return
        event = _event("queue", state="QUEUED", title=checked.title, pipeline=checked.pipeline)
        try:
            # a new dictionary: `info` is the caller's
            headers[HEADER] = {**info, "attempt": commit(checked.run_id, event).attempt}
        except RunlogError as error:
            # The task is sent all the same. Its start will be the run's first event.
            _log.warning("run %r is not queued: %s", checked.run_id, error)

    def _before_again(self, task: Any, headers: dict[str, Any]) -> None:
        """A task sends a message with its own id: to be retried, or to be replaced (`Task.replace`)."""
        execution = self._execution_of(task)
        if execution is None:
            return
        headers.setdefault(HEADER, self._header_of_replacement(execution, task))
        if (headers.get("retries") or 0) > (task.request.retries or 0):
            # Committed before the message can be delivered: else the next attempt could start first, and `retrying` of
            # this one would be fenced.
            self._publish_retry(execution, sys.exc_info()[1])
            setattr(task.request, _RETRY_PUBLISHED, sys.exc_info()[1] is not None)
            current_sink().flush(TASK_FLUSH_S, while_down=False)
        execution.resent = True

    def _before_replacement(self, task: Any, headers: dict[str, Any], body: Any) -> None:
        """A task replaces itself by a canvas: the member with its id, which ends last, gets its header. The others are
        parts of it: Celery ends the task as failed when one of them fails, and signals nothing for the last one.
        """
        execution = self._execution_of(task)
        if execution is None or not isinstance(body, tuple):
            return
        execution.resent = True
        embedded = body[2]
        header = self._header_of_replacement(execution, task)
        headers.setdefault(HEADER, {**header, "part": True})
        for signature in (*(embedded.get("chain") or ()), embedded.get("chord")):
            if signature is not None:
                mark_replacement(maybe_signature(signature, app=self.app), task.request.id, header)

    def _header_of_replacement(self, execution: _Execution, task: Any) -> dict[str, Any]:
        """The task's own header, with the attempt that goes on if another task takes its place."""
        scope = execution.scope
        given = scope.attempt if execution.info.step is None else scope.step_attempt
        return {**(task.request.get(HEADER) or {}), "continues": given or None}

    def _publish_retry(self, execution: _Execution, reason: Any) -> None:
        info, scope = execution.info, execution.scope
        log = None if reason is None else _reason(reason)
        event = make_event(None if info.step else "RETRYING", log=log, level="warning", step=info.step)
        emit(info.run_id, event._replace(kind="retrying"), scope)

    def _received(self, request: Any = None, **_: Any) -> None:
        if request.app is self.app and info_of(request.request_dict) is not None:
            self._requests[request.id] = request

    def _prerun(self, task: Any = None, **_: Any) -> None:
        info = info_of(task.request) if task.app is self.app else None
        if info is None:
            return
        attempt = None if info.step is None else info.attempt
        scope = TaskScope(info.run_id, info.step, attempt, sent_for=info.attempt, more_step=info.beyond)
        if info.part:
            part = TaskScope(info.run_id, info.step, info.attempt, info.continues, more_step=info.beyond)
            scope = part if info.step else TaskScope(info.run_id, attempt=info.continues)
        setattr(task.request, _EXECUTION, _Execution(info, scope, task.request.chain, len(task.request.chain or ())))
        enter_scope(scope)
        if info.part:
            return
        # A task that another one was replaced by goes on with its attempt: see `nesting` in progress/fields.py.
        nesting = (task.request.replaced_task_nesting or None) if info.continues else None
        if info.step is None:
            event = _event(
                "start",
                state="STARTED",
                base_attempt=info.attempt,
                title=info.title,
                pipeline=info.pipeline,
                continues=info.continues,
                nesting=nesting,
            )
        else:
            event = _event(
                "step_start",
                state="STARTED" if info.first else None,
                step=info.step,
                attempt=info.attempt,
                steps=info.steps,
                more_steps=info.more_steps,
                more_step=info.beyond,
                title=info.title,
                pipeline=info.pipeline,
                continues=info.continues,
                nesting=nesting,
            )
        emit(info.run_id, event, scope)

    def _why_unwanted(self, task: Any) -> str | None:
        """Why a task that is about to begin must not begin, or None. Waits for the commit of its start."""
        execution = self._execution_of(task)
        if execution is None or execution.info.attempt is None or execution.info.part:
            return None
        current_sink().flush(START_WAIT_S, while_down=False)
        if not execution.scope.unwanted:
            return None
        return f"attempt {execution.info.attempt} of run {execution.info.run_id!r} was cancelled, withdrawn or replaced"

    def _noting_states(self, update_state: Any) -> Any:
        """`Task.update_state` that is noted, too: a task that raises `Ignore` afterwards has said how it ends."""

        def noting(task: Any, task_id: Any = None, state: Any = None, meta: Any = None, **more: Any) -> Any:
            execution = self._execution_of(task)
            if execution is not None and state is not None and task_id in (None, task.request.id):
                execution.said = StateSet(str(state), meta)
            return update_state(task, task_id, state, meta, **more)

        return noting

    def _success(self, sender: Any = None, result: Any = None, **_: Any) -> None:
        execution = self._told(sender)
        if execution is not None and not execution.info.part:
            succeed(execution.info, execution.scope, result, rest_dropped=execution.drops_rest(sender.request.chain))

    def _failure(self, sender: Any = None, task_id: str = "", exception: Any = None, **_: Any) -> None:
        execution = self._told(sender)
        if execution is not None:
            if isinstance(exception, UnpickleableExceptionWrapper):  # the exception that it wraps is being handled
                exception = sys.exc_info()[1] or exception
            fail(execution.info, execution.scope, error_text(exception))
            self._stop_others(execution.info)
            return
        # In the worker's main process: the task's process has died, or was killed for its time limit.
        info = self._info_of_request(sender, task_id)
        if info is not None:
            fail(info, None, f"{type(exception).__name__}: {exception}")
            self._stop_others(info)

    def _stop_others(self, info: TaskInfo) -> None:
        if info.stop:
            stop_others(self.app, info, TASK_FLUSH_S)

    def _retry(self, sender: Any = None, reason: Any = None, **_: Any) -> None:
        execution = self._told(sender)
        if execution is None or execution.info.part:
            return
        execution.scope.failure = None
        published = getattr(sender.request, _RETRY_PUBLISHED, None)
        if published is None or (published is False and getattr(reason, "exc", None) is not None):
            self._publish_retry(execution, reason)

    def _revoked(
        self, sender: Any = None, request: Any = None, terminated: Any = None, expired: Any = None, **_: Any
    ) -> None:
        info = info_of(request) if sender.app is self.app else None
        if info is not None:
            why = "expired" if expired else "terminated" if terminated else "revoked"
            stopping = info.stop and has_ended(info)  # this is one of the others
            fail(info, None, f"the task was {why}", "CANCELLED")
            if not stopping:
                self._stop_others(info)

    def _postrun(self, task: Any = None, state: Any = None, retval: Any = None, **_: Any) -> None:
        execution = self._execution_of(task)
        if execution is not None:
            if not execution.told and not (execution.resent and state == states.IGNORED):
                tell_unsignalled_end(execution.info, execution.scope, task, state, retval, execution.said)
                self._stop_others(execution.info)
            setattr(task.request, _EXECUTION, None)
            leave_scope(execution.scope)
            current_sink().flush(TASK_FLUSH_S, while_down=False)

    def _execution_of(self, task: Any) -> _Execution | None:
        if task.app is not self.app:
            return None
        found = getattr(task.request, _EXECUTION, None)
        return found if isinstance(found, _Execution) else None

    def _told(self, task: Any) -> _Execution | None:
        """The execution of a task of which Celery signals what became of it."""
        execution = self._execution_of(task)
        if execution is not None:
            execution.told = True
        return execution

    def _info_of_request(self, task: Any, task_id: str) -> TaskInfo | None:
        # `pop`: Celery signals a time limit twice, when the process is killed and when it has ended
        request = self._requests.pop(task_id, None) if task.app is self.app else None
        return None if request is None else info_of(request.request_dict)


def _worker_started(**_: Any) -> None:
    """Replay the spool of a crashed worker at start, not at the first event."""
    sink = current_sink()
    if isinstance(sink, Publisher):
        sink.replay_spool()


def _worker_ended(**_: Any) -> None:
    """Flush: a worker's children end without atexit hooks."""
    shut_down()


def _event(kind: Kind, **fields: Any) -> Event:
    return Event(time.time_ns() // 1_000_000, kind=kind, **fields)


def _reason(reason: Any) -> str:
    cause = getattr(reason, "exc", None) or reason
    if isinstance(cause, Retry):
        return f"retrying {cause.humanize().removeprefix('Retry ')}"  # no error: in 20s
    name, text = type(cause).__name__, str(cause)
    if isinstance(cause, UnpickleableExceptionWrapper):  # Celery's stand-in for an exception that it cannot send
        name, text = cause.exc_cls_name, str(Exception(*cause.exc_args))
    return f"retrying: {name}: {text or name}" if isinstance(cause, BaseException) else f"retrying: {text or name}"
