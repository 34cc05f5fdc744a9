"""Scopes: the task (or `run_progress` block) that an event comes from, and with it the attempt that fences it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from ..progress import Event
from ..progress.fields import Kind
from ..runlog import Committed
from .children import announce_to_children, share_runs

__all__ = [
    "STARTS",
    "TaskScope",
    "active_scopes",
    "current_run_id",
    "enter_scope",
    "enter_step",
    "entered",
    "entered_scope_of",
    "leave_scope",
    "scope_of",
]

STARTS: Final = frozenset[Kind](("start", "step_start"))
"""Events whose commit allocates an attempt. Later events need its number, so a start is the last of its batch."""


@dataclass(slots=True, eq=False)
class TaskScope:
    """One execution of a run, or of a step of it, in this process.

    The commit script allocates the attempts when this execution's start is committed. They are not known when the
    task's first events are appended: the flusher sets them when the start is committed, which is always before it makes
    the batches with those events. So the task never waits, and an execution that was replaced (a zombie) stays fenced.
    """

    run_id: str
    step: str | None = None
    attempt: int | None = None
    """0: the start was fenced, and with it every event of this scope."""
    step_attempt: int | None = None
    sent_for: int | None = None
    """The attempt that the task was sent for, if its message says so."""
    unwanted: bool = False
    """The work must not be done. The start was fenced because the run was cancelled, or because the task was sent for
    an attempt that was replaced, or of which its sender was told that it was not sent."""
    more_step: int | None = None
    """Of a member of a canvas whose step is not kept (beyond MAX_STEPS): its number among those, from 1."""
    result: Any = None
    """The run's result as set by the task, instead of its return value."""
    failure: str | None = None
    """The error of a `run_progress` block inside this scope that an exception ended."""
    ended: str | None = None
    """The terminal state that the task itself has published."""
    before: TaskScope | None = None
    """The scope around this one in the context that has entered it."""
    outer: TaskScope | None = None
    """Of a block of code that is a step: the scope that its events belong to. This one says only the step's name."""
    left: bool = False
    open: bool = False
    """Of a task without a header, which takes the first run that it publishes to for its own."""
    heard: bool = False
    """An event of it is committed."""
    loops: set[tuple[float, float, str | None]] = field(default_factory=set)
    """The parts of the progress, and their steps, that loops of it have reported."""
    said_of_loops: bool = False
    """It was logged that two loops report the same part."""

    def fence(self, event: Event) -> Event:
        """The event with the attempts of this scope. An attempt that the event names itself stays."""
        if self._starts(event):
            return event
        attempt = self.attempt if event.attempt is None else event.attempt
        if event.step is None or event.step != self.step:
            return event._replace(attempt=attempt, step_attempt=None)
        more_step = self.more_step or event.more_step
        return event._replace(attempt=attempt, step_attempt=self.step_attempt, more_step=more_step)

    def begun(self, event: Event, committed: Committed) -> None:
        """A start is committed: take its attempts if it is this scope's own, and not that of a step within it."""
        if event.kind == "start":
            self.attempt = given = committed.given_attempt
        elif self._starts(event):
            self.step_attempt = given = committed.given_step_attempt
        else:
            return
        if given == 0 and self.sent_for is not None:
            self.unwanted = self.sent_for < committed.superseded_below or committed.status == "cancelled"

    def adopt(self, run_id: str) -> TaskScope | None:
        """Take a run for the task's own, if it is the only one that the task publishes to."""
        if self.run_id:
            # A second run: the task looks after the work of others, and its end says nothing of theirs.
            self.open = False
            _forget(self)
            return None
        self.run_id = run_id
        active_scopes.setdefault(run_id, []).append(self)
        return self

    def _starts(self, event: Event) -> bool:
        return event.kind == "start" or (event.kind == "step_start" and event.step == self.step)


_current: ContextVar[TaskScope | None] = ContextVar("runrelay_scope", default=None)
# Before Python 3.14, threads that a task starts do not have its context, but they work for its run. A process that the
# task forks keeps both: it still works for the task.
active_scopes: dict[str, list[TaskScope]] = {}
share_runs(active_scopes)
ever_entered: list[bool] = []
"""Empty until a scope is entered in this process: until then `scope_of` returns None. A list, so that the quick path
can import it and tests it without a look-up in this module."""


def _still_entered(scope: TaskScope | None) -> TaskScope | None:
    """The innermost scope from here outwards that has not been left."""
    while scope is not None and scope.left:
        scope = scope.before
    return scope


def enter_scope(scope: TaskScope) -> None:
    """Make `scope` the current one of this context."""
    if not ever_entered:
        ever_entered.append(True)
    announce_to_children()
    scope.before = _still_entered(_current.get())
    _current.set(scope)
    if scope.run_id:
        active_scopes.setdefault(scope.run_id, []).append(scope)


def leave_scope(scope: TaskScope) -> None:
    """Undo `enter_scope`. Scopes may be left in any order and in any context: generators are closed anywhere."""
    scope.left = True
    if _current.get() is scope:
        _current.set(_still_entered(scope))
    _forget(scope)


def _forget(scope: TaskScope) -> None:
    scopes = active_scopes.get(scope.run_id, [])
    if scope in scopes:
        scopes.remove(scope)
    if not scopes:
        active_scopes.pop(scope.run_id, None)


def enter_step(run_id: str, step: str) -> TaskScope | None:
    """Make a block of code the current step of this context, until `leave_scope`. None: there is no scope around it."""
    outer = _owner(scope_of(run_id))
    if outer is None:
        return None
    scope = TaskScope(run_id, step, outer=outer, before=_still_entered(_current.get()))
    _current.set(scope)
    return scope


def _owner(scope: TaskScope | None) -> TaskScope | None:
    return scope if scope is None or scope.outer is None else scope.outer


@contextmanager
def entered(scope: TaskScope) -> Iterator[TaskScope]:
    """Make `scope` the current one for the block."""
    enter_scope(scope)
    try:
        yield scope
    finally:
        leave_scope(scope)


def scope_of(run_id: str) -> TaskScope | None:
    """The scope of events of this run: the context's current one, or else the only one of this run in the process.

    The scope of a task without a header becomes that of the first run for which this is called.
    """
    scope = _current.get()
    if scope is not None:
        if scope.run_id == run_id:
            return scope
        if scope.open and not scope.left:
            return scope.adopt(run_id)
    if active_scopes:
        scopes = active_scopes.get(run_id)
        if scopes is not None and len(scopes) == 1:
            return scopes[0]
    return None


def current_run_id() -> str | None:
    """The run of the scope that the calling code is in, if there is one.

    Only of this context: another thread or greenlet of the process may work for another run, or for none.
    """
    scope = _still_entered(_current.get())
    return None if scope is None else scope.run_id or None


def entered_scope_of(run_id: str) -> TaskScope | None:
    """The scope that works for this run and ends it, if the calling code is part of such work.

    Not that of a task without a header, which does not end its run when it succeeds.
    """
    current = _current.get()
    scope = None if current is not None and current.open else _owner(scope_of(run_id))
    return None if scope is None or scope.left or scope.open else scope
