"""The process' publisher, and the one line in the worker."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from time import time_ns
from typing import Any, Final, Protocol, SupportsFloat

from ..outbox.outbox import Outbox
from ..outbox.publisher import Publisher
from ..outbox.scopes import TaskScope, active_scopes, scope_of
from ..progress import TERMINAL_STATES, Event, check_run_id, make_event
from ..progress.events import MAX_LOG_BYTES
from ..runlog import Committed
from ..settings import PublisherSettings

__all__ = [
    "Sink",
    "commit",
    "configure",
    "current_sink",
    "emit",
    "flush",
    "publish_progress",
    "shut_down",
    "use_sink",
]

_QUICK_LOG_CHARS: Final = MAX_LOG_BYTES // 4
_STATE_TYPES: Final = (str, type(None))


class Sink(Protocol):
    """Where events go: the process' publisher, or what a test puts in its place."""

    def emit(self, run_id: str, event: Event, scope: TaskScope | None = None, follow: Event | None = None) -> None:
        """Take an event; see `Outbox.append`."""

    def flush(self, timeout_s: float, *, while_down: bool = True) -> bool:
        """Wait until what was taken is committed; see `Flusher.wait`."""

    def commit(self, run_id: str, event: Event) -> Committed:
        """Commit one event now; see `Publisher.commit`."""

    def close(self) -> bool:
        """Flush, and end what runs beside."""

    @property
    def down(self) -> bool:
        """Whether Redis is known to be away."""


_choosing = threading.Lock()
_sink: Sink | None = None
_outbox: Outbox | None = None
"""The sink's outbox, if it is a publisher: `publish_progress` goes straight there."""

# What has been checked before need not be checked again. Terminal states are never among them.
_known_run_ids: set[str] = set()
_known_states: set[str | None] = {None}
_KNOWN: Final = 10_000


def _after_fork() -> None:
    global _choosing, _outbox
    _choosing = threading.Lock()
    if isinstance(_sink, Publisher):
        _outbox = _sink.outbox


if hasattr(os, "register_at_fork"):
    # after the publishers' own hook, which is registered before: by then the child's outbox is there
    os.register_at_fork(after_in_child=_after_fork)


def current_sink() -> Sink:
    """The process' sink: what `configure` made, else a publisher with the environment's settings."""
    global _sink, _outbox
    if _sink is None:
        with _choosing:
            if _sink is None:
                publisher = Publisher(PublisherSettings.from_env(os.environ))
                _sink, _outbox = publisher, publisher.outbox
    return _sink


def use_sink(sink: Sink | None) -> Sink | None:
    """Put `sink` in the place of the process' publisher (None: the environment's again). Returns the one before."""
    global _sink, _outbox
    with _choosing:
        before, _sink = _sink, sink
        _outbox = sink.outbox if isinstance(sink, Publisher) else None
    return before


def configure(settings: PublisherSettings) -> Publisher:
    """Make the process' publisher with these settings instead of the environment's. The one before is closed."""
    publisher = Publisher(settings)
    before = use_sink(publisher)
    if isinstance(before, Publisher):
        before.close()
    return publisher


def commit(run_id: str, event: Event) -> Committed:
    """Commit one event now, in the calling thread; see `Publisher.commit`."""
    return current_sink().commit(run_id, event)


def shut_down() -> None:
    """Flush and end the threads, as at the process' end."""
    if _sink is not None:
        _sink.close()


def emit(run_id: str, event: Event, scope: TaskScope | None = None, follow: Event | None = None) -> None:
    """Append an event that is made and checked already."""
    (_sink or current_sink()).emit(run_id, event, scope, follow)


def publish_progress(
    run_id: str,
    state: str | None = None,
    progress: SupportsFloat | None = None,
    log: str | None = None,
    *,
    level: str = "info",
    step: str | None = None,
    data: Mapping[str, Any] | None = None,
    result: Any = None,
    error: str | None = None,
    attempt: int | None = None,
) -> None:
    """Say where a run is. Takes microseconds, never waits for Redis and never fails because of it.

    Args:
        run_id: 1 to 200 characters; no control characters, no `/`, `{`, `}`.
        state: the pipeline's own label, 1 to 64 characters. `END`, `FAILED` and `CANCELLED` end the run.
        progress: 0..1. Within an attempt a run's progress never goes down.
        log: a line for the run's log; over 16 KiB of UTF-8 it is cut.
        level: of the line: debug, info, warning or error.
        step: the step that this is about; inside a member of a canvas, by default, its own.
        data: a JSON object up to 4 KiB that is shown with the event.
        result: JSON up to 64 KiB; with a terminal state, or of a step.
        error: text; with a terminal state, or of a step.
        attempt: the attempt that this belongs to. By default, inside a task of an application with `install(app)` the
            one that the task's start was given, so that a task which was replaced is not heard any more; elsewhere
            the current one.

    Raises:
        TypeError, ValueError: an argument is wrong; nothing is published. Or, at the first call, a setting is.
    """
    outbox = _outbox
    if (
        outbox is not None
        and type(run_id) is str
        and run_id in _known_run_ids
        and (progress is None or (type(progress) is float and 0.0 <= progress <= 1.0))
        and (log is None or (type(log) is str and len(log) <= _QUICK_LOG_CHARS and log.isascii()))
        and type(state) in _STATE_TYPES
        and state in _known_states
        and level == "info"
        and step is None
        and data is None
        and result is None
        and error is None
        and attempt is None
    ):
        # The common case, in as few steps as can be: in a task that does other work, each of them finds a cold cache.
        scope = scope_of(run_id) if active_scopes else None
        ingress = outbox.ingress
        ingress.append((run_id, time_ns(), state, progress, log, "info", None if scope is None else scope.step, scope))
        if outbox.state:
            outbox.notify()
        if len(ingress) > outbox.ingress_limit:
            outbox.sort()
        return
    run_id = check_run_id(run_id)
    scope = scope_of(run_id)
    if scope is not None and step is None:
        step = scope.step
    event = make_event(
        state, progress, log, level=level, step=step, data=data, result=result, error=error, attempt=attempt
    )
    if scope is not None and state in TERMINAL_STATES and step == scope.step:
        scope.ended = state
    if len(_known_run_ids) > _KNOWN:
        _known_run_ids.clear()
    _known_run_ids.add(run_id)
    if len(_known_states) < _KNOWN and state not in TERMINAL_STATES:
        _known_states.add(state)
    (_sink or current_sink()).emit(run_id, event, scope)


def flush(timeout_s: float = 5.0) -> bool:
    """Wait up to `timeout_s` seconds until all that this process has published is committed. Returns whether it is."""
    return (_sink or current_sink()).flush(timeout_s)
