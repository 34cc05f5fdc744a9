"""The quick publish path, and beside it the plain one. Both give the outbox the same events.

Why: between two calls a task does other work, so that the code of a call is no longer in the CPU's caches, and each
step of it costs several times what it costs in a tight loop. To check the arguments and make an `Event` takes 2 µs in
a tight loop, but 7 to 9 µs at one call per millisecond.

How: the caller only looks up whether the run id and the state were checked before, and appends a tuple to the
outbox's ingress. The thread that sorts the ingress, nearly always the flusher's, makes the event from it (`unpacked`).
It also cleans the log line: any text may contain lone surrogates, which have no UTF-8. So a Korean line costs its
caller what an English one does.

Switch: `RUNRELAY_QUICK_PATH=0` (`PublisherSettings.quick_path`). Test: tests/unit/outbox/test_quick.py gives both paths
the same random calls, and compares what the commit script would get. Measured: docs/performance.md, scenario g.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any, Final, SupportsFloat

from ..progress import TERMINAL_STATES, Event, Level, check_run_id, make_event
from ..progress.checks import MAX_LOG_BYTES
from ..progress.fields import DEFAULTS, QUICK
from ..progress.text import cut_text
from .scopes import TaskScope, ever_entered, scope_of

if TYPE_CHECKING:
    from .outbox import Outbox

__all__ = ["Appended", "Ingress", "Quick", "checked_event", "publish_quickly", "unpacked"]

Appended = tuple[str, Event, TaskScope | None, Event | None]
"""What `Outbox.append` takes: run id, event, scope, the event that is published after it."""
Quick = tuple[str, int, str | None, float | None, str | None, Level, str | None, TaskScope | None]
"""What the quick path takes: run id, time in ns, state, progress, log, level, step, scope."""
Ingress = Quick | Appended

_MAX_LOG_CHARS: Final = MAX_LOG_BYTES // 4
"""A character has at most 4 bytes of UTF-8: a line of so many need not be measured."""
_DEFAULTS: Final = DEFAULTS[QUICK.stop :]

# Run ids and states that were checked before. Terminal states are left out: `checked_event` must record them in the
# scope.
_known_run_ids: set[str] = set()
_known_states: set[str | None] = {None}
_MAX_KNOWN: Final = 10_000
_STATE_TYPES: Final = (str, type(None))


def publish_quickly(
    outbox: Outbox, run_id: str, state: str | None, progress: SupportsFloat | None, log: str | None
) -> bool:
    """Append an event if its arguments need no further check. Returns False, and does nothing, if they do.

    The types are compared exactly: a subclass of str can have any hash and comparison.
    """
    if (
        type(run_id) is str
        and run_id in _known_run_ids
        and (progress is None or (type(progress) is float and 0.0 <= progress <= 1.0))
        and (log is None or (type(log) is str and len(log) <= _MAX_LOG_CHARS))
        and type(state) in _STATE_TYPES
        and state in _known_states
    ):
        scope = scope_of(run_id) if ever_entered else None
        step = None if scope is None else scope.step
        if scope is not None and scope.outer is not None:
            scope = scope.outer
        ingress = outbox.ingress
        ingress.append((run_id, time_ns(), state, progress, log, "info", step, scope))
        if outbox.wakeup.needs_notify:
            outbox.wakeup.notify()
        if len(ingress) > outbox.ingress_limit:
            outbox.sort()
        return True
    return False


def checked_event(
    run_id: str,
    state: str | None,
    progress: SupportsFloat | None,
    log: str | None,
    step: str | None,
    **given: Any,
) -> tuple[str, Event, TaskScope | None]:
    """The plain path: check all arguments and make the event. Returns the arguments of `Outbox.append`.

    Raises:
        TypeError, ValueError: an argument is wrong; see `make_event`.
    """
    run_id = check_run_id(run_id)
    scope = scope_of(run_id)
    if scope is not None and scope.outer is not None:
        # in the block of a step; the end that it publishes is that of what is around: the block ends its step itself
        if step is None and state not in TERMINAL_STATES:
            step = scope.step
        scope = scope.outer
    if scope is not None and step is None:
        step = scope.step
    event = make_event(state, progress, log, step=step, **given)
    if scope is not None and state in TERMINAL_STATES and step == scope.step:
        scope.ended = state
    if len(_known_run_ids) > _MAX_KNOWN:
        _known_run_ids.clear()
    _known_run_ids.add(run_id)
    if len(_known_states) < _MAX_KNOWN and state not in TERMINAL_STATES:
        _known_states.add(state)
    return run_id, event, scope


def unpacked(item: Ingress) -> Appended:
    """An item of the ingress, from either path, as the arguments of `Outbox.append`."""
    if len(item) == 4:
        return item
    run_id, time_ns, state, progress, log, level, step, scope = item
    if log is not None and not log.isascii():
        log = cut_text(log, MAX_LOG_BYTES)  # only its lone surrogates are changed
    if not progress and progress is not None:
        progress = 0.0  # not -0.0
    # the same as Event(…), which takes three times as long because of its twenty defaults
    event = tuple.__new__(Event, (time_ns // 1_000_000, state, progress, log, level, step, *_DEFAULTS))
    return run_id, event, scope, None
