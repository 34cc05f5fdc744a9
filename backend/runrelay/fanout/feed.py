"""The feed of the run list: which runs changed, read from the run log, at most once a second each."""

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
    """Tells the list's subscribers of changes.

    Messages only name the runs; what is told is read from the run log. So a forged message does no harm, a hundred
    events of a run cost one read, and the last state before a silence is always told. The first change is told at
    once.
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
        self._told: dict[str, float] = {}
        self._news = asyncio.Event()

    @property
    def watched(self) -> bool:
        """Whether anybody watches the list."""
        return bool(self._subscribers)

    def join(self, connection: Connection) -> None:
        """Tell this client of changes from now on. It reads the list itself, after this, so that nothing falls
        between.
        """
        self._subscribers.add(connection)
        connection.send(Batch.of({"type": "subscribed", "runs": True}))

    def leave(self, connection: Connection) -> None:
        """Tell this client nothing more."""
        self._subscribers.discard(connection)
        if not self._subscribers:
            self._dirty.clear()
            self._deleted.clear()
            self._told.clear()

    def record(self, run_id: str) -> None:
        """Something happened to a run."""
        self._dirty.add(run_id)
        self._news.set()

    def record_all(self) -> None:
        """Anything may have happened: clients hear `upstream up` and read the list again."""
        self._told.clear()

    def deleted(self, run_id: str) -> None:
        """A run was deleted, here or by another relay, or so somebody says: it may also have begun again since."""
        if self._subscribers:
            self._deleted.add(run_id)
            self._told.pop(run_id, None)
            self.record(run_id)

    async def run(self) -> None:
        """Tell changes until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(self._at_once_s)  # a burst at a run's start is one change
            now = loop.time()
            due = [r for r in self._dirty if r not in self._told or now - self._told[r] >= self._every_s]
            try:
                for at in range(0, len(due), _CHUNK):
                    await self._send_changes(due[at : at + _CHUNK], now)
            except RunlogUnavailable as error:
                log.info("the runs feed waits: %s", error)
            except Exception as error:
                self._containment.note(error, "runs feed")
            if self._dirty:
                await asyncio.sleep(self._every_s / 4)
                self._news.set()
            if len(self._told) > 10_000:
                self._told = {r: told for r, told in self._told.items() if now - told < self._every_s}

    async def _send_changes(self, run_ids: list[str], now: float) -> None:
        frames = []
        summaries = await self._runlog.summaries(run_ids)
        for run_id, (snapshot, _) in zip(run_ids, summaries, strict=True):
            self._dirty.discard(run_id)
            if snapshot is not None:
                self._told[run_id] = now
                try:
                    frames.append(Frame.of({"type": "run", **snapshot.summary()}))
                except Exception as error:
                    self._containment.note(error, "summary", run_id)
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
                    self._containment.note(error, "a connection")
                    is_there = False
                if not is_there:
                    self.leave(connection)
