"""Scopes: which task (or `run_progress` block) an event comes from, and so which attempt fences it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from ..progress import Event
from ..progress.events import Kind
from ..runlog import Committed

__all__ = [
    "STARTS",
    "TaskScope",
    "active_scopes",
    "current_run_id",
    "enter_scope",
    "entered",
    "leave_scope",
    "scope_of",
]

STARTS: Final = frozenset[Kind](("start", "step_start"))
"""Events whose commit allocates an attempt. What comes after them needs to know it, so they end their batch."""


@dataclass(slots=True, eq=False)
class TaskScope:
    """One execution of a run, or of a step of it, in this process.

    The attempts are what the commit script allocated to this execution's start. They are not known when the task's
    first events are appended; the flusher fills them in when the start is committed, which is always before it builds
    the batches with those events. So the task never waits, and a zombie stays fenced.
    """

    run_id: str
    step: str | None = None
    attempt: int | None = None
    """0: the start was fenced, and with it everything that this scope says."""
    step_attempt: int | None = None
    sent_for: int | None = None
    """The attempt that the task was sent for, if it says."""
    unwanted: bool = False
    """The start was fenced because the run was cancelled, or because the task was sent for an attempt that has been
    replaced or was told to its caller as not sent: the work must not be done."""
    more_step: int | None = None
    """The number of a canvas' member whose step is not kept, among those."""
    result: Any = None
    """What the task wants the run's result to be, instead of its return value."""
    failure: str | None = None
    """The error of a `run_progress` block that ended by an exception inside this scope."""
    ended: str | None = None
    """The terminal state that the task itself has published."""
    before: TaskScope | None = None
    """The scope around this one, in the context that has entered it."""
    left: bool = False

    def fence(self, event: Event) -> Event:
        """An event of this scope with its attempts, unless it names one itself."""
        if self._starts(event):
            return event
        attempt = self.attempt if event.attempt is None else event.attempt
        if event.step is None or event.step != self.step:
            return event._replace(attempt=attempt, step_attempt=None)
        more_step = self.more_step or event.more_step
        return event._replace(attempt=attempt, step_attempt=self.step_attempt, more_step=more_step)

    def begun(self, event: Event, committed: Committed) -> None:
        """The scope's start is committed; that of another step within it says nothing of the scope."""
        if event.kind == "start":
            self.attempt = given = committed.given_attempt
        elif self._starts(event):
            self.step_attempt = given = committed.given_step_attempt
        else:
            return
        if given == 0 and self.sent_for is not None:
            self.unwanted = self.sent_for < committed.superseded_below or committed.status == "cancelled"

    def _starts(self, event: Event) -> bool:
        return event.kind == "start" or (event.kind == "step_start" and event.step == self.step)


_current: ContextVar[TaskScope | None] = ContextVar("runrelay_scope", default=None)
# Threads that a task starts do not have its context (before Python 3.14), but mean its run all the same. A process that
# it forks keeps both: it still works for the task.
active_scopes: dict[str, list[TaskScope]] = {}
ever_entered = False
"""Whether any scope was ever entered in this process. Until then `scope_of` need not be asked."""


def _still_entered(scope: TaskScope | None) -> TaskScope | None:
    """The innermost scope from here outwards that has not been left."""
    while scope is not None and scope.left:
        scope = scope.before
    return scope


def enter_scope(scope: TaskScope) -> None:
    """Make `scope` the current one of this context."""
    global ever_entered
    ever_entered = True
    scope.before = _still_entered(_current.get())
    _current.set(scope)
    active_scopes.setdefault(scope.run_id, []).append(scope)


def leave_scope(scope: TaskScope) -> None:
    """Undo `enter_scope`: in whatever order blocks in generators are left, and in whatever context they are closed."""
    scope.left = True
    if _current.get() is scope:
        _current.set(_still_entered(scope))
    scopes = active_scopes.get(scope.run_id, [])
    if scope in scopes:
        scopes.remove(scope)
    if not scopes:
        active_scopes.pop(scope.run_id, None)


@contextmanager
def entered(scope: TaskScope) -> Iterator[TaskScope]:
    """Make `scope` the current one for the block."""
    enter_scope(scope)
    try:
        yield scope
    finally:
        leave_scope(scope)


def scope_of(run_id: str) -> TaskScope | None:
    """The scope that events of this run belong to: the current one, or the only one of this run in the process."""
    scope = _current.get()
    if scope is not None and scope.run_id == run_id:
        return scope
    if active_scopes:
        scopes = active_scopes.get(run_id)
        if scopes is not None and len(scopes) == 1:
            return scopes[0]
    return None


def current_run_id() -> str | None:
    """The run that the calling code works for, if it is in a scope."""
    scope = _still_entered(_current.get())
    if scope is not None:
        return scope.run_id
    runs = list(active_scopes)
    return runs[0] if len(runs) == 1 else None
