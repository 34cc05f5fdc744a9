"""The run list's feed: changed runs, read from the run log, each at most once a second."""

from __future__ import annotations

import asyncio
import logging

from ..errors import RunlogUnavailable
from ..runlog import AsyncRunLog
from .connections import Connection
from .containment import Containment
from .frames import Batch, Frame

__all__ = ["RunListFeed"]

log = logging.getLogger(__name__)

_CHUNK = 500


class RunListFeed:
    """Sends changes to the subscribers of the list.

    A message only says which run has changed; what is sent is read from the run log. So a forged message does no harm,
    a hundred events of a run cost one read, and the last state before a silence is always sent. The first change of a
    run is sent at once.
    """

    def __init__(
        self, runlog: AsyncRunLog, containment: Containment, *, every_s: float = 1.0, at_once_s: float = 0.05
    ) -> None:
        self._runlog = runlog
        self._containment = containment
        self._every_s = every_s
        self._at_once_s = at_once_s
        self._subscribers: set[Connection] = set()
        self._dirty: set[str] = set()
        self._deleted: set[str] = set()
        self._sent_at_s: dict[str, float] = {}
        self._wake = asyncio.Event()

    @property
    def watched(self) -> bool:
        """Whether the list has subscribers."""
        return bool(self._subscribers)

    def join(self, connection: Connection) -> None:
        """Send changes to this client from now on. It reads the list itself, after this call, so that no change is
        missed in between.
        """
        self._subscribers.add(connection)
        connection.send(Batch.of({"type": "subscribed", "runs": True}))

    def leave(self, connection: Connection) -> None:
        """Send this client nothing more."""
        self._subscribers.discard(connection)
        if not self._subscribers:
            self._dirty.clear()
            self._deleted.clear()
            self._sent_at_s.clear()

    def record(self, run_id: str) -> None:
        """A run may have changed."""
        self._dirty.add(run_id)
        self._wake.set()

    def record_all(self) -> None:
        """Every run may have changed. Clients are sent `upstream: up`, and read the list again by themselves."""
        self._sent_at_s.clear()

    def deleted(self, run_id: str) -> None:
        """Somebody says that a run was deleted. It may have begun again since, so the run log is read."""
        if self._subscribers:
            self._deleted.add(run_id)
            self._sent_at_s.pop(run_id, None)
            self.record(run_id)

    async def run(self) -> None:
        """Send changes until cancelled. On cancellation, changes that were not sent are lost, as the clients are."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(self._at_once_s)  # the events at a run's start are sent as one change
            now = loop.time()
            due = [r for r in self._dirty if r not in self._sent_at_s or now - self._sent_at_s[r] >= self._every_s]
            try:
                for at in range(0, len(due), _CHUNK):
                    await self._send_changes(due[at : at + _CHUNK], now)
            except RunlogUnavailable as error:
                log.info("the run list's feed waits: %s", error)
            except Exception as error:
                self._containment.record(error, "run list feed")
            if self._dirty:
                await asyncio.sleep(self._every_s / 4)
                self._wake.set()
            if len(self._sent_at_s) > 10_000:
                self._sent_at_s = {r: sent_s for r, sent_s in self._sent_at_s.items() if now - sent_s < self._every_s}

    async def _send_changes(self, run_ids: list[str], now: float) -> None:
        frames = []
        summaries = await self._runlog.summaries(run_ids)
        for run_id, (snapshot, _) in zip(run_ids, summaries, strict=True):
            self._dirty.discard(run_id)
            if snapshot is not None:
                self._sent_at_s[run_id] = now
                try:
                    frames.append(Frame.of({"type": "run", **snapshot.summary()}))
                except Exception as error:
                    self._containment.record(error, "summary", run_id)
            elif run_id in self._deleted:
                frames.append(Frame.of({"type": "run_deleted", "run_id": run_id}))
            self._deleted.discard(run_id)
        self._send(frames)

    def _send(self, frames: list[Frame]) -> None:
        if frames:
            batch = Batch(frames)
            for connection in [*self._subscribers]:
                try:
                    is_there = connection.send(batch)
                except Exception as error:
                    self._containment.record(error, "a connection")
                    is_there = False
                if not is_there:
                    self.leave(connection)
