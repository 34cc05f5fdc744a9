"""`publish_progress`, the one line in the worker, and the process' publisher that it goes to."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any, Final, Protocol, SupportsFloat

from ..environment import warn_unknown_names
from ..outbox.forks import forks_without_hooks, is_forked_child, on_fork, same_process, start_anew
from ..outbox.outbox import Outbox
from ..outbox.publisher import Publisher
from ..outbox.quick import checked_event, publish_quickly
from ..outbox.scopes import TaskScope, current_run_id
from ..progress import TERMINAL_STATES, Event
from ..runlog import Committed
from ..settings import PublisherSettings

__all__ = [
    "FORKED_FLUSH_S",
    "Sink",
    "commit",
    "configure",
    "current_run",
    "current_sink",
    "emit",
    "flush",
    "flush_if_forked",
    "publish_progress",
    "shut_down",
    "use_sink",
]

FORKED_FLUSH_S: Final = 1.0
"""The longest that a forked child waits at the end of a run for its events to be committed."""


class Sink(Protocol):
    """Where events go: the process' publisher, or a test's capture in its place."""

    def emit(self, run_id: str, event: Event, scope: TaskScope | None = None, follow: Event | None = None) -> None:
        """Append a checked event; see `Outbox.append`."""

    def flush(self, timeout_s: float, *, while_down: bool = True) -> bool:
        """Wait until all events so far are committed; see `Flusher.wait`."""

    def commit(self, run_id: str, event: Event) -> Committed:
        """Commit one event now; see `Publisher.commit`."""

    def close(self) -> bool:
        """Flush, and end the threads. Returns whether everything is committed."""

    @property
    def down(self) -> bool:
        """Whether Redis is known to be away."""


_choosing = threading.RLock()
_sink: Sink | None = None
_quick_outbox: Outbox | None = None
"""The sink's outbox, if the sink is a publisher whose settings allow the quick path (outbox/quick.py), which does not
look whether the process has forked: Python's hooks say so."""


def _quick_outbox_of(sink: Sink | None) -> Outbox | None:
    if not isinstance(sink, Publisher) or not sink.settings.quick_path or forks_without_hooks():
        return None
    return sink.outbox


def _before_fork() -> None:
    # The first event imports redis-py. A child that is forked in the middle of that would never have the whole of it.
    _choosing.acquire()


def _after_fork_in_parent() -> None:
    _choosing.release()


if hasattr(os, "register_at_fork"):  # a child makes a lock of its own
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent)


@on_fork  # the publishers' own hook was registered before, and has made the child's outbox by then
def _after_fork() -> None:
    global _choosing, _quick_outbox
    _choosing = threading.RLock()
    _quick_outbox = _quick_outbox_of(_sink)


def current_sink() -> Sink:
    """The process' sink: the one that was configured, or else a publisher with the environment's settings.

    Raises:
        ValueError: a setting in the environment is wrong.
    """
    global _sink, _quick_outbox
    if not same_process[0]:
        start_anew()
    if _sink is None:
        with _choosing:
            if _sink is None:
                publisher = Publisher(PublisherSettings.from_env(os.environ))
                warn_unknown_names(os.environ)
                _sink, _quick_outbox = publisher, _quick_outbox_of(publisher)
    return _sink


def use_sink(sink: Sink | None) -> Sink | None:
    """Replace the process' sink. Returns the one before, which is not closed.

    Args:
        sink: None: the next event makes a publisher with the environment's settings.
    """
    global _sink, _quick_outbox
    with _choosing:
        before, _sink = _sink, sink
        _quick_outbox = _quick_outbox_of(sink)
    return before


def configure(settings: PublisherSettings) -> Publisher:
    """Make the process' publisher with these settings instead of the environment's. The one before is closed.

    Raises:
        ValueError: the settings' URL is wrong.
    """
    with _choosing:  # see _before_fork
        publisher = Publisher(settings)
    before = use_sink(publisher)
    if isinstance(before, Publisher):
        before.close()
    return publisher


def commit(run_id: str, event: Event) -> Committed:
    """Commit one event now, in the calling thread; see `Publisher.commit` for what it raises."""
    return current_sink().commit(run_id, event)


def shut_down() -> None:
    """Flush and end the threads, as at the end of the process. Does nothing if nothing was published."""
    if _sink is not None:
        _sink.close()


def emit(run_id: str, event: Event, scope: TaskScope | None = None, follow: Event | None = None) -> None:
    """Append an event that was checked already."""
    current_sink().emit(run_id, event, scope, follow)


def flush_if_forked() -> None:
    """In a forked child, wait for what was published: the run has ended, and so may the process, without exit hooks.

    At most `FORKED_FLUSH_S` seconds, and not while Redis is known to be away.
    """
    if is_forked_child():
        current_sink().flush(FORKED_FLUSH_S, while_down=False)


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
    """Publish an event of a run. Takes microseconds, never waits for Redis and never fails because of it.

    Except the end of a run in a forked child (`os.fork`, RQ's work horse): such a process may end at once, without exit
    hooks, so the call waits until the end is committed, at most a second.

    Args:
        run_id: 1 to 200 characters; no control characters, no `/`, `{`, `}`.
        state: the pipeline's own label, 1 to 64 characters. `END`, `FAILED` and `CANCELLED` end the run.
        progress: 0..1. Within an attempt a run's progress never goes down: a lower value has no effect.
        log: a line for the run's log. More than 16 KiB of UTF-8 is cut.
        level: the line's level: debug, info, warning or error.
        step: the step that the event belongs to. By default, inside a member of a canvas: its own; in a block
            `with run.step(name)`: that one, unless the event ends the run.
        data: a JSON object up to 4 KiB: carried by the event, and merged into the run's data (RFC 7386: null removes a
            key).
        result: JSON up to 64 KiB, only with a terminal state or a step.
        error: text, only with a terminal state or a step.
        attempt: the attempt that the event belongs to. By default, inside a task of an application with `install(app)`:
            the one that the task's start was given, so that later events of a task that was replaced are fenced.
            Elsewhere: the current one.

    Raises:
        TypeError, ValueError: an argument is wrong; nothing is published. At the first call also: a setting is wrong.
    """
    outbox = _quick_outbox
    if (
        outbox is not None
        and level == "info"
        and step is None
        and data is None
        and result is None
        and error is None
        and attempt is None
        and publish_quickly(outbox, run_id, state, progress, log)
    ):
        return
    given = {"level": level, "data": data, "result": result, "error": error, "attempt": attempt}
    emit(*checked_event(run_id, state, progress, log, step, **given))
    if state in TERMINAL_STATES and step is None:
        flush_if_forked()


def current_run() -> str | None:
    """The id of the run that the calling code works for: that of the task or `run_progress` block that it is in.

    None elsewhere. A thread or greenlet of its own is elsewhere, unless it was given the context
    (`contextvars.copy_context().run(…)`; `asyncio` does so by itself).
    """
    return current_run_id()


def flush(timeout_s: float = 5.0) -> bool:
    """Wait up to `timeout_s` seconds until all events of this process are committed. Returns whether they are.

    False, too, if events were given up since the last call: dropped while Redis was away, or they cannot be sent.
    """
    return current_sink().flush(timeout_s)
