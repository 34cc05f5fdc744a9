"""The reaper: runs whose worker is gone are marked as stalled, and the list of runs is repaired.

One relay does it for all of them, under a lease.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..errors import CommitRefused, RunlogUnavailable
from ..fanout import Containment, for_ever
from ..metrics import RelayMetrics
from ..progress import Event
from ..runlog import LATEST_MS, AsyncRunLog
from .leases import Lease

__all__ = ["Reaper"]

log = logging.getLogger(__name__)


class Reaper:
    """Looks for silent workers every `check_s` seconds, and checks the list of runs every `repair_list_s` seconds."""

    def __init__(
        self,
        runlog: AsyncRunLog,
        metrics: RelayMetrics,
        owner: str,
        *,
        stalled_after_s: float = 30.0,
        check_s: float = 5.0,
        repair_list_s: float = 600.0,
    ) -> None:
        self._runlog = runlog
        self._containment = Containment(metrics)
        self._metrics = metrics
        self._stalled_after_ms = round(stalled_after_s * 1000)
        self._check_s = check_s
        self._repair_list_s = repair_list_s
        self._lease = Lease(runlog, "reaper", owner, duration_s=max(5.0, check_s * 2))

    async def run(self) -> None:
        """Keep the lease and do the reaper's work until cancelled. On cancellation, work that was begun may be half
        done: each commit is idempotent, and the next holder of the lease does the rest.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(for_ever(self._lease.run), name="reaper lease")
            tasks.create_task(for_ever(self._work), name="reaper work")

    @property
    def holds_lease(self) -> bool:
        """Whether this relay is the reaper now."""
        return self._lease.held

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        next_list = loop.time()
        while True:
            if self._lease.held:
                await self._do(self.mark_stalled)
                await self._do(self.prune)
                if loop.time() >= next_list and await self._do(self.repair_list):
                    next_list = loop.time() + self._repair_list_s
            await asyncio.sleep(self._check_s)

    async def _do(self, part: Callable[[], Awaitable[object]]) -> bool:
        """Do one part of the work. A failure of it does not keep the others from being done. Returns whether it was
        done.
        """
        try:
            await part()
        except RunlogUnavailable as error:
            log.info("reaper put off: %s", error)
        except Exception as error:
            self._containment.record(error, part.__name__)
        else:
            return True
        return False

    async def mark_stalled(self) -> int:
        """Mark running runs whose worker has sent no heartbeat for `stalled_after_s`. Returns how many.

        The commit checks the heartbeat again. So a run whose worker has sent one meanwhile is not marked, and two
        relays that both try mark a run once. Such a run stays in the set of heartbeats: its worker may die later.
        """
        before_ms = await self._runlog.server_now_ms() - self._stalled_after_ms
        silent = await self._runlog.silent_since(before_ms)
        marked = 0
        for run_id in silent:
            event = Event(
                before_ms + self._stalled_after_ms,
                log=f"no heartbeat from the worker for {self._stalled_after_ms // 1000} s",
                level="warning",
                kind="stalled",
                stale_before_ms=before_ms,
            )
            try:
                done = await self._runlog.commit(run_id, [event])
            except CommitRefused:
                continue
            except RunlogUnavailable:
                raise
            except Exception as error:
                self._containment.record(error, "marking as stalled", run_id)
                continue
            marked += done.after > done.before
        await self._runlog.stop_watching(silent, before_ms)
        self._metrics.stalled += marked
        return marked

    async def prune(self) -> None:
        """Remove entries of the list and of the heartbeats that are no runs of ours; see AsyncRunLog.prune."""
        await self._enter(await self._runlog.prune())

    async def _enter(self, run_ids: list[str]) -> None:
        """Put runs into the list, at the times that their hashes have."""
        found = {}
        for run_id, (snapshot, _) in zip(run_ids, await self._runlog.summaries(run_ids), strict=True):
            if snapshot is not None and snapshot.updated_at is not None and 0 <= snapshot.updated_at <= LATEST_MS:
                found[run_id] = snapshot.updated_at
        await self._runlog.index(found)

    async def repair_list(self) -> None:
        """Add runs that the list has lost (their publisher died between the commit and the entry), and remove expired
        ones.
        """
        async for run_ids in self._runlog.run_ids():
            await self._enter(run_ids)
        before: tuple[int, str] | None = None
        while page := await self._runlog.listed(before, 500):
            run_ids = [run_id for run_id, _ in page]
            rows = await self._runlog.summaries(run_ids)
            await self._runlog.unlist([r for r, (snap, _) in zip(run_ids, rows, strict=True) if snap is None])
            last_id, last_score = page[-1]
            before = (last_score, last_id)
