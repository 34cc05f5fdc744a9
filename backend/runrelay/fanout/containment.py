"""Containment: a failure of one run, one client or one message ends there, and everything else goes on.

Code that works for one of many (in a loop over all of them, in a callback of the event loop, or in a task of the hub)
catches every exception and records it here. Then the subscribers of the run, or the one client, are notified: see
Topic.fail.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Final

from ..errors import ListenerDown, RunlogError
from ..metrics import RelayMetrics

__all__ = ["Children", "Containment", "for_ever"]

log = logging.getLogger(__name__)

_EACH_S: Final = 60.0
_LINES_PER_MINUTE: Final = 20
_MAX_KNOWN: Final = 1_000


class Containment:
    """Counts every contained failure. Logs each kind of failure of a run once a minute, and 20 lines a minute in all.

    A client that can cause one failure can cause a million: it must not be able to stop the relay by filling the log.
    """

    def __init__(self, metrics: RelayMetrics) -> None:
        self._metrics = metrics
        self._logged: OrderedDict[tuple[str, str | None], float] = OrderedDict()
        self._minute_began_s = 0.0
        self._lines = 0
        self._unlogged = 0

    def record(self, error: BaseException, what: str, run_id: str | None = None) -> None:
        """Count a failure and log it, an unexpected one with its traceback, unless the same was logged a moment ago.

        Args:
            what: the part that failed, for the log.
            run_id: the run whose failure it is, if it is one run's.
        """
        self._metrics.contained += 1
        now_s, key = monotonic(), (what, run_id)
        if now_s - self._minute_began_s > _EACH_S:
            if self._unlogged:
                log.error("%d more failures were contained and not logged", self._unlogged)
            self._minute_began_s, self._lines, self._unlogged = now_s, 0, 0
        if self._lines >= _LINES_PER_MINUTE or now_s - self._logged.get(key, -_EACH_S) < _EACH_S:
            self._unlogged += 1
            return
        self._lines += 1
        self._logged[key] = now_s
        self._logged.move_to_end(key)
        if len(self._logged) > _MAX_KNOWN:
            self._logged.popitem(last=False)
        whose = "" if run_id is None else f" of run {run_id!r}"
        expected = isinstance(error, RunlogError)
        log.error("contained: %s%s failed: %s", what, whose, error if expected else repr(error),
                  exc_info=None if expected else error)  # fmt: skip


class Children:
    """Tasks of which each may fail alone. In a task group, the first failure would cancel all, and the owner."""

    def __init__(self, containment: Containment) -> None:
        self._containment = containment
        self._tasks: dict[asyncio.Task[None], str | None] = {}
        self._ended = False

    def spawn(self, work: Coroutine[Any, Any, None], name: str, run_id: str | None = None) -> asyncio.Task[None]:
        """Run work in a task, which `end` cancels. If it fails, that is recorded, with its run.

        Raises:
            RuntimeError: it is called after `end`.
        """
        if self._ended:
            work.close()
            raise RuntimeError(f"{name} cannot start: the hub has ended")
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = run_id
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        run_id = self._tasks.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._containment.record(error, task.get_name().partition(" ")[0], run_id)

    async def end(self) -> None:
        """Cancel all tasks that still run, and wait for them."""
        self._ended = True
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def for_ever(part: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a part of the relay that must run until it is cancelled.

    If it returns, or is cancelled from within, that is a failure, too; a task group alone would not notice it.

    Raises:
        ListenerDown: it has returned, or was cancelled from within.
    """
    try:
        await part()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ListenerDown("a part of the relay was cancelled from within") from None
    raise ListenerDown("a part of the relay has come to an end")
