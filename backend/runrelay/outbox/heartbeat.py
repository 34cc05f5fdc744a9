"""The heartbeat: one daemon thread per process reports that the runs which the process executes are alive."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import RunlogError
from ..progress import Event
from .scopes import TaskScope, active_scopes

if TYPE_CHECKING:
    from ..runlog import RunLog

__all__ = ["Heartbeat"]

_log = logging.getLogger("runrelay.publisher")


class Heartbeat:
    """Renews the runs of the active scopes every `every_s` seconds, over a connection of its own.

    The reaper marks a run `stalled` if no heartbeat reached Redis for a while. If such a run is still executed here, an
    event is published, which sets it to running again.

    Args:
        connect: makes the thread's run log.
        every_s: seconds between two heartbeats.
        emit: publishes an event: run id, event, scope.
    """

    def __init__(
        self,
        connect: Callable[[], RunLog],
        every_s: float,
        emit: Callable[[str, Event, TaskScope | None], None],
    ) -> None:
        self._connect = connect
        self._every_s = every_s
        self._emit = emit
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._done: set[str] = set()

    def forget(self, run_id: str) -> None:
        """Nobody here works for this run any more, which has not ended: its silence says nothing from now on."""
        self._done.add(run_id)
        self.beat_soon()

    def beat_soon(self) -> None:
        """Send a heartbeat now, in the thread, which is started if it is not there: a run has begun."""
        with self._starting:
            self._wake.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="runrelay-heartbeat", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    self._thread = None  # the interpreter is shutting down

    def stop(self) -> None:
        """End the thread. It is not joined, because it may wait for Redis."""
        with self._starting:
            self._thread = None
            self._wake.set()

    def _run(self) -> None:
        runlog, failed = self._connect(), False
        try:
            while self._thread is threading.current_thread():
                # without runs there is nothing to do until one begins
                self._wake.wait(self._every_s if active_scopes or self._done else None)
                self._wake.clear()
                if self._thread is threading.current_thread():
                    try:
                        self.beat(runlog)
                    except Exception as error:  # without this thread, all runs of this process would become stalled
                        if not failed:
                            _log.exception("a heartbeat has failed: %s", error)
                        failed = True
                        runlog.close()
        finally:
            runlog.close()

    def beat(self, runlog: RunLog) -> None:
        """Send one heartbeat. If Redis is away, nothing happens until the next one."""
        self._remove_done(runlog)
        scopes = [scope for scopes in list(active_scopes.values()) for scope in scopes if scope.attempt != 0]
        if not scopes:
            return
        try:
            statuses = runlog.heartbeat(sorted({scope.run_id for scope in scopes}))
        except RunlogError as error:
            _log.debug("no heartbeat: %s", error)
            return
        for scope in scopes:
            if statuses.get(scope.run_id) == "stalled":
                _log.info("run %r was marked stalled; it goes on", scope.run_id)
                event = Event(time.time_ns() // 1_000_000, step=scope.step)
                self._emit(scope.run_id, event, scope)

    def _remove_done(self, runlog: RunLog) -> None:
        # Another process that works for the run enters it again with its next heartbeat.
        done = [run_id for run_id in list(self._done) if run_id not in active_scopes]
        if done:
            try:
                runlog.stop_heartbeats(done)
            except RunlogError as error:
                _log.debug("the heartbeats of %d runs are not removed: %s", len(done), error)
                return
        self._done.difference_update(done)
