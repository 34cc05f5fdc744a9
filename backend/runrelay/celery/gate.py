"""The gate: a task whose work is not wanted any more does not begin.

A task can come late. The relay told its caller that the work could not be sent, and the broker took it after all; a
run was cancelled while its task waited in a queue; a retry has taken an attempt's place, and the old task comes again.
What such a task says is fenced. But it would still do its work: write files, call models, cost money, beside the
attempt that took its place.

Whether it is wanted is decided by the commit of its start, in the run log's script, and nowhere else. So there is no
moment between: either the start is committed first, and the relay is told that the run has begun when it wants to
call it off (`must="unbegun"`); or it is called off first, and the start is fenced. Therefore the body waits here for
that commit, a round trip, before it begins. While Redis is away nobody can tell, and then the work is done: the run
log is there to show work, not to stop it.

A member of a group whose sibling has failed begins all the same: Celery promises that, and it may matter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from celery import Celery, signals
from celery.exceptions import Ignore

__all__ = ["START_WAIT_S", "Gate"]

START_WAIT_S: Final = 5.0
"""Seconds that a task's body waits for the commit of its start, unless Redis is known to be away: the run log's own
time-out."""
_GUARDED: Final = "_runrelay_guarded"

_log = logging.getLogger("runrelay.celery")


class Gate:
    """Puts a check before the body of every task of an application.

    Celery calls a task's `before_start` within its tracer: there, and not in a signal's handler, `Ignore` ends a task
    without a result, a failure or a next member. A class' own `before_start` is called after the check.
    """

    def __init__(self, app: Celery, unwanted: Callable[[Any], str | None]) -> None:
        """
        Args:
            unwanted: is asked with a task that is about to begin why it must not; None: it may.
        """
        self._app = app
        self._unwanted = unwanted
        # Class by class, since users' own do not inherit from the application's. A worker builds its tracers after the
        # second signal, when all of its modules are imported.
        app.on_after_finalize.connect(self._guard_all, weak=False)
        signals.worker_init.connect(self._guard_all, weak=False)
        if app.finalized:
            self._guard_all()

    def _guard_all(self, **_: Any) -> None:
        for task in list(self._app.tasks.values()):
            if not getattr(type(task).before_start, _GUARDED, False):
                self._guard(type(task))

    def _guard(self, task_class: Any) -> None:
        before_start = task_class.before_start

        @wraps(before_start)
        def guarded(task: Any, task_id: str, args: Any, kwargs: Any) -> Any:
            if task.app is self._app and (why := self._unwanted(task)) is not None:
                _log.warning("task %s[%s] is not executed: %s", task.name, task_id, why)
                raise Ignore(why)
            return before_start(task, task_id, args, kwargs)

        # Celery leaves out methods that come from its own module.
        guarded.__module__ = __name__
        setattr(guarded, _GUARDED, True)
        task_class.before_start = guarded
