"""What the end of a task publishes: the end of its run, or of its step; and how a task has ended without a signal.

A single task ends its run. A member of a canvas ends its step, and says `finish`: the commit script ends the run when
no member is left that runs or will run. No member needs to know that, and nothing can come between the look and the
end, because one script call does both. So a group's members are heard to their end, whatever becomes of one of them.

Celery signals success, failure, retry and revocation. A task can also end by `raise Ignore()` or `Reject`, by an
exception that Celery passes on (eager mode), or by one of Celery's own parts (the result cannot be stored). Each of
these ends is told here, too: otherwise the run would be shown as running, and then as stalled, which is untrue.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Final

import orjson
from celery import states
from celery.exceptions import Reject

from ..outbox.scopes import TaskScope
from ..progress import Event, make_event
from ..progress.checks import MAX_RESULT_BYTES, encode_json
from ..progress.fields import Kind
from ..publisher.publish import emit
from ..publisher.run_progress import error_text
from .header import TaskInfo

__all__ = ["StateSet", "fail", "succeed", "tell_unsignalled_end"]

_log = logging.getLogger("runrelay.celery")
_WORDS: Final = {states.SUCCESS: "END", states.FAILURE: "FAILED"}


class StateSet:
    """What a task has said of itself by `update_state` before it raised `Ignore`."""

    def __init__(self, state: str, meta: Any) -> None:
        self.state = state
        self.meta = meta


def succeed(info: TaskInfo, scope: TaskScope, value: Any, *, rest_dropped: bool = False) -> None:
    """The task has succeeded.

    Args:
        value: its return value.
        rest_dropped: Celery does not send the members after this one, because the task has said that they are not
            needed. The run ends as succeeded without them.
    """
    if scope.failure is not None:
        fail(info, scope, scope.failure, rest_follows=not rest_dropped)
        return
    if scope.ended not in (None, "END"):
        _after_own_end(info, scope)
        return
    value = scope.result if scope.result is not None else value
    encoded = _encoded(value) if info.step is None or info.last or rest_dropped else None
    if scope.ended is None:
        log = info.closing if info.step is None else None
        event = Event(_now_ms(), state="END", log=log, step=info.step, result=encoded)
        emit(info.run_id, event._replace(lost=_lost(info) if rest_dropped else None), scope)
    if info.step is not None:
        lost = _lost(info) if rest_dropped and scope.ended else None
        _finish(info, scope, "END", log=info.closing, result=encoded, lost=lost)


def fail(
    info: TaskInfo, scope: TaskScope | None, error: str, state: str = "FAILED", *, rest_follows: bool = False
) -> None:
    """The task has failed, or was cancelled.

    Args:
        scope: None in the worker's main process, which executes no task.
        error: why, as text.
        state: FAILED or CANCELLED.
        rest_follows: Celery sends the members after this one all the same.
    """
    if scope is not None and scope.ended:
        _after_own_end(info, scope, None if rest_follows else error)
        return
    if info.step is None:
        event = make_event(state, error=error)
        # only the task's own process knows the attempt that its start was given
        emit(info.run_id, event if scope is not None else event._replace(base_attempt=info.attempt), scope)
        return
    event = make_event(state, step=info.step, error=error, attempt=info.attempt)
    event = event._replace(more_step=info.beyond)  # the worker's main process has no scope that would add it
    why = f"{info.step}: {error}"
    if info.rest is None or info.stop:
        # The sender wants the others to be stopped, or is of a version that does not say what comes after the member.
        # The run fails at once, but only if the step's failure is not fenced: otherwise another execution of the step
        # is at work.
        emit(info.run_id, event, scope, make_event(state, error=why, attempt=info.attempt))
        return
    emit(info.run_id, event._replace(lost=None if rest_follows else _lost(info)), scope)
    _finish(info, scope, state, error=why)


def tell_unsignalled_end(
    info: TaskInfo, scope: TaskScope, task: Any, state: str | None, retval: Any, said: StateSet | None
) -> None:
    """Publish an end that Celery has not signalled. Called last, in the handler of `task_postrun`.

    Args:
        state: Celery's, or None if an exception has left the tracer.
        retval: the return value, or the exception.
        said: what the task has set by `update_state`.
    """
    if scope.unwanted:
        return  # the gate has kept the task from beginning; its start was fenced
    error = sys.exc_info()[1] if state in (None, states.SUCCESS) else None
    if isinstance(error, Reject):
        state, retval = states.REJECTED, error
    if state == states.REJECTED:
        _rejected(info, scope, task, retval)
    elif state == states.IGNORED:
        _ignored(info, scope, retval, said)
    elif isinstance(error, Exception) or (error is not None and task.request.is_eager):
        fail(info, scope, error_text(error))
    elif state == states.SUCCESS:
        succeed(info, scope, retval)
    # Else the process ends (SystemExit): the worker's main process signals what became of the task.


def _ignored(info: TaskInfo, scope: TaskScope, reason: Any, said: StateSet | None) -> None:
    if scope.ended and scope.ended != "END":
        _after_own_end(info, scope, str(reason))
        return
    word = "END" if scope.ended else "CANCELLED" if said is None else _WORDS.get(said.state, "CANCELLED")
    if word == "END":
        succeed(info, scope, said.meta if said is not None else None, rest_dropped=True)
        return
    text = _of_meta(said.meta) if said is not None and word == "FAILED" else str(reason)
    fail(info, scope, text or "the task has ended itself without a result (celery.exceptions.Ignore)", word)


def _of_meta(meta: Any) -> str:
    """The error that a task has given to `update_state("FAILURE", meta)`: an exception, or Celery's own form of one."""
    if isinstance(meta, BaseException):
        return error_text(meta)
    if isinstance(meta, dict) and "exc_type" in meta:
        message = meta.get("exc_message")
        text = " ".join(map(str, message)) if isinstance(message, (list, tuple)) else str(message or "")
        return f"{meta['exc_type']}: {text}".rstrip(": ")
    return "" if meta is None else f"the task has failed: {meta!r}"


def _rejected(info: TaskInfo, scope: TaskScope, task: Any, reject: Any) -> None:
    reason = getattr(reject, "reason", None)
    why = error_text(reason) if isinstance(reason, BaseException) else str(reason or "no reason is given")
    if getattr(reject, "requeue", False) and task.acks_late:
        log = f"the task was rejected, and is delivered again: {why.partition(chr(10))[0]}"
        event = make_event(None if info.step else "RETRYING", log=log, level="warning", step=info.step)
        emit(info.run_id, event._replace(kind="retrying"), scope)
        return
    again = " (it is not delivered again: acks_late is off)" if getattr(reject, "requeue", False) else ""
    fail(info, scope, f"the task was rejected{again}: {why}")


def _after_own_end(info: TaskInfo, scope: TaskScope, error: str | None = None) -> None:
    """The task ends after it has itself published the end of its step, or of its run.

    Args:
        error: None if Celery sends the next members. Else why the task did not succeed.
    """
    state = scope.ended
    if info.step is None or state is None:
        return
    if state == "END" and error is not None:  # it has raised an exception although its step has succeeded
        emit(info.run_id, make_event("FAILED", error=f"{info.step}: {error}", attempt=scope.attempt))
    else:
        _finish(info, scope, state, lost=None if error is None else _lost(info))


def _finish(info: TaskInfo, scope: TaskScope | None, state: str, *, error: str | None = None, **fields: Any) -> None:
    """End the run if no member runs or will run. The script decides how it ends."""
    attempt = info.attempt if scope is None else scope.attempt
    event = make_event(state, error=error, attempt=attempt) if error else Event(_now_ms(), state=state, attempt=attempt)
    # a member that an older version has sent ends the run at once if it does not succeed
    kind: Kind = "finish" if state == "END" or info.rest is not None else "event"
    emit(info.run_id, event._replace(kind=kind, **fields))


def _lost(info: TaskInfo) -> bytes | None:
    return orjson.dumps(info.rest) if info.rest else None


def _encoded(value: Any) -> bytes | None:
    """A return value as a result, or None if it is no JSON or too large: a task may return anything."""
    if value is None:
        return None
    try:
        return encode_json("result", value, MAX_RESULT_BYTES)
    except (TypeError, ValueError) as error:
        _log.debug("a return value is not shown as the result: %s", error)
        return None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
