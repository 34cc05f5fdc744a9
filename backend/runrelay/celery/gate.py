"""The gate: a task whose work is no longer wanted does not begin.

A task can be delivered late:

- The relay answered that the work could not be sent, and the broker has delivered it all the same.
- The run was cancelled while the task waited in a queue.
- A retry has replaced the attempt, and the old task is delivered again.

The events of such a task are fenced. But without the gate its body would still run beside the attempt that replaced it:
write files, call models, cost money.

Only the commit of the task's start decides, in the commit script, which is atomic. So there is no race: either the
start is committed first, and the relay's attempt to withdraw the work is refused (`precondition="unbegun"`); or the
work is withdrawn first, and the start is fenced. Therefore the body waits for that commit, one round trip, before it
begins. While Redis is away the decision cannot be known, and the body runs: the run log shows work, it does not stop
it.

A member of a group begins although another member has failed: Celery promises that, and tasks may rely on it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from celery import Celery
from celery.exceptions import Ignore

from .task_classes import on_every_task

__all__ = ["START_WAIT_S", "Gate"]

START_WAIT_S: Final = 5.0
"""The longest that a task's body waits for the commit of its start. It does not wait while Redis is known to be
away."""

_log = logging.getLogger("runrelay.celery")


class Gate:
    """Puts a check before the body of every task of an application.

    Celery calls a task's `before_start` within its tracer. There, but not in a signal's handler, `Ignore` ends a task
    without a result, a failure or a next member. A class' own `before_start` is called after the check.

    Args:
        app: the application.
        unwanted: called with a task that is about to begin. Returns why it must not, or None if it may.
    """

    def __init__(self, app: Celery, unwanted: Callable[[Any], str | None]) -> None:
        self._app = app
        self._unwanted = unwanted
        on_every_task(app, "before_start", self._guarding)

    def _guarding(self, before_start: Any) -> Any:
        def guarded(task: Any, task_id: str, args: Any, kwargs: Any) -> Any:
            if task.app is self._app and (why := self._unwanted(task)) is not None:
                _log.warning("task %s[%s] is not executed: %s", task.name, task_id, why)
                raise Ignore(why)
            return before_start(task, task_id, args, kwargs)

        return guarded
