"""A publisher and the life of its process: started with the first event, new in a forked child, flushed at the end."""

from __future__ import annotations

import atexit

# redis-py imports it with a program's first event, and in the program's exit hooks that is not possible any more.
import concurrent.futures.thread  # noqa: F401
import logging
import sys
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final

from ..errors import RunlogError, RunlogUnavailable
from ..progress import Event
from ..runlog import Batch, Committed, ProducerSequence
from ..settings import PublisherSettings
from .counts import Counts, Statistics
from .flusher import Flusher
from .forks import import_early, on_fork
from .heartbeat import Heartbeat
from .outbox import Outbox
from .scopes import TaskScope
from .spool import Spool, open_spool

if TYPE_CHECKING:
    from ..runlog import RunLog

__all__ = ["EXIT_FLUSH_S", "Publisher"]

EXIT_FLUSH_S: Final = 5.0
"""How long a process waits at its end for its events to be committed, unless Redis is known to be away."""
KEPT_RUNLOGS: Final = 4
"""The most connections that `commit` keeps. More threads than this make some of their own for a call."""
COMMIT_TIMEOUT_S: Final = 2.0
COMMIT_CONNECT_TIMEOUT_S: Final = 1.0
COMMIT_AWAY_S: Final = 2.0
"""After a `commit` that Redis did not take, it counts as away for so long: callers that can do without do not wait."""

_log = logging.getLogger("runrelay.publisher")


class Publisher:
    """An outbox, its flusher, its spool and its heartbeat. In a forked child the outbox is empty, and a new producer.

    Raises:
        ValueError: the settings' URL is not one of Redis.
    """

    def __init__(self, settings: PublisherSettings | None = None) -> None:
        self.settings = settings or PublisherSettings()
        import_early()
        self._connect().close()  # no connection is made, but a wrong URL is refused here and not in the flusher
        self._begin()
        _publishers.add(self)

    def _begin(self) -> None:
        settings = self.settings
        self.outbox = Outbox(
            settings.outbox_bytes,
            on_first=self._start,
            on_full=lambda: self.spool.put(),
            is_draining=lambda: self.flusher.draining,
        )
        self.spool: Spool = open_spool(settings.spool, self.outbox, self._begun)
        self.flusher = Flusher(
            self.outbox, self._connect, flush_ms=settings.flush_ms, spool=self.spool, on_begun=self._begun
        )
        self._heartbeat: Heartbeat | None = None
        self._exit_hook = False
        self._lost_told = 0
        self._runlogs: deque[RunLog] = deque()
        """Connections of `commit` that nobody uses now."""
        self._away_until_s = 0.0

    @property
    def heartbeat(self) -> Heartbeat:
        """The thread that reports that the runs executed here are alive. Made at first use."""
        if self._heartbeat is None:
            self._heartbeat = Heartbeat(self._connect, self.settings.heartbeat_s, self.emit)
        return self._heartbeat

    def _begun(self) -> None:
        self.heartbeat.beat_soon()

    def _connect(self, **timeouts: float) -> RunLog:
        from ..runlog import RunLog  # needs redis-py: see runlog/__init__.py

        return RunLog(self.settings.redis_url, self.settings.keys, self.settings.retention, **timeouts)

    @property
    def down(self) -> bool:
        """Whether Redis is known to be away: to the flusher, or by a `commit` of the last seconds."""
        return self.flusher.down or time.monotonic() < self._away_until_s

    @property
    def counts(self) -> Counts:
        """What became of this publisher's events so far."""
        return self.outbox.counts

    def statistics(self) -> Statistics:
        """How much the outbox holds now."""
        return self.outbox.statistics()

    def emit(self, run_id: str, event: Event, scope: TaskScope | None = None, follow: Event | None = None) -> None:
        """Append a checked event to the outbox; microseconds, whatever Redis does."""
        self.outbox.append(run_id, event, scope, follow)

    def _start(self) -> None:
        if _exiting:
            self.flusher.flush_here(EXIT_FLUSH_S)
            self.spool.put()
            return
        self.flusher.start()
        if not self._exit_hook and "multiprocessing.util" in sys.modules:
            # children of multiprocessing end without atexit hooks, but run these finalizers
            self._exit_hook = True
            sys.modules["multiprocessing.util"].Finalize(self, _close_at_exit, (weakref.ref(self),), exitpriority=10)

    def replay_spool(self) -> None:
        """Start the flusher now, if there is a spool: events of a dead process need not wait for this one's first."""
        if self.spool.enabled:
            self.flusher.start()

    def flush(self, timeout_s: float = 5.0, *, while_down: bool = True) -> bool:
        """Wait up to `timeout_s` until everything published so far is committed. Returns whether it is.

        It is not, too, if events were given up (`Counts.lost`) since the last call that waited for all.
        """
        if not self.flusher.wait(timeout_s, while_down=while_down):
            return False
        lost, told = self.counts.lost, self._lost_told
        if while_down:
            self._lost_told = lost
        return lost == told

    def commit(self, run_id: str, event: Event) -> Committed:
        """Commit one event now, in the calling thread, without the outbox: for what must be so before work goes on.

        Connections are kept for the next call. One that its server has closed meanwhile is replaced once: the same
        numbers are sent again, which is idempotent.

        Raises:
            RunlogUnavailable: Redis cannot be reached or cannot write; the event may be committed or not.
            RunlogError: it was refused.
        """
        sequence = ProducerSequence.fresh()
        batch = Batch(run_id, sequence.producer, sequence.next, [event])
        kept = self._kept_runlog()
        runlog = kept or self._connect(timeout_s=COMMIT_TIMEOUT_S, connect_timeout_s=COMMIT_CONNECT_TIMEOUT_S)
        try:
            try:
                done = runlog.commit(batch)
            except RunlogUnavailable:
                if kept is None:
                    raise
                done = runlog.commit(batch)  # the first call has closed the connection
            try:
                runlog.index({run_id: done.updated_at})
                runlog.delete_marks([(run_id, sequence.producer)])  # its only batch is acknowledged
            except RunlogError:
                _log.debug("run %r is not in the list of runs yet: its next event or a listing adds it", run_id)
        except BaseException as error:
            # also an interruption: a reply that was not read would be taken for the next command's
            runlog.close()
            if isinstance(error, RunlogUnavailable):
                self._away_until_s = time.monotonic() + COMMIT_AWAY_S
            raise
        self._away_until_s = 0.0
        if len(self._runlogs) < KEPT_RUNLOGS:
            self._runlogs.append(runlog)
        else:
            runlog.close()
        return done

    def steps_of(self, run_id: str) -> tuple[str | None, list[str]]:
        """A run's status, None if there is no such run, and the names of its steps, as they are committed now.

        Raises:
            RunlogError: they cannot be read.
        """
        runlog = self._connect(timeout_s=COMMIT_TIMEOUT_S, connect_timeout_s=COMMIT_CONNECT_TIMEOUT_S)
        try:
            return runlog.steps_of(run_id)
        finally:
            runlog.close()

    def _kept_runlog(self) -> RunLog | None:
        try:
            return self._runlogs.pop()
        except IndexError:
            return None

    def close(self, timeout_s: float = EXIT_FLUSH_S) -> bool:
        """Flush, and end the threads. The next event starts new ones.

        It does not wait while Redis is known to be away. With a spool, events that could not be committed are left
        there to another process.

        Args:
            timeout_s: for the flush, and again for the end of the flusher.

        Returns whether everything is committed.
        """
        done = self.flusher.wait(timeout_s, while_down=False)
        ended = self.flusher.stop(timeout_s)
        if self.spool.enabled:
            if not done:
                self.spool.put()
            if ended:
                self.spool.close()
        elif not done:
            _log.warning("events of %d runs are not committed, because Redis is away", len(self.outbox.waiting()))
        if self._heartbeat is not None:
            self._heartbeat.stop()
        while (runlog := self._kept_runlog()) is not None:
            runlog.close()
        return done

    def forked(self) -> None:
        """In a forked child: start with an empty outbox. Waiting events and the connection are the parent's."""
        self.spool.forked()
        self._begin()


_publishers: weakref.WeakSet[Publisher] = weakref.WeakSet()


@on_fork
def _after_fork() -> None:
    for publisher in _publishers:
        publisher.forked()


def _close_at_exit(reference: weakref.ref[Publisher]) -> None:
    publisher = reference()
    if publisher is not None:
        publisher.close()


_exiting = False
"""The exit hook has run. Hooks that were registered before it run after it, and may publish. Their events are committed
at once, in the hook's thread: no thread can be started any more."""


@atexit.register
def _close_all() -> None:
    global _exiting
    for publisher in list(_publishers):
        publisher.close()
    _exiting = True
