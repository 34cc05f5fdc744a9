"""Repairs: topics that must read what they have missed, a few at a time.

After an outage these may be all topics. `at_once` of them read at the same time, and reads of joins go first (see
runlog/pipelined.py), so that a new subscriber does not wait behind those that are connected. Repairs do not starve: a
fourth of all reads is theirs while any wait. A repair that must read again goes to the end of the queue. So a run with
many forged messages costs the other runs one read each time, and no more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

__all__ = ["Repairable", "Repairs"]

AT_ONCE: Final = 32


class Repairable(Protocol):
    """A topic as its repair sees it."""

    run_id: str

    async def repair_once(self) -> bool:
        """Read and deliver what was missed. True: it must read again."""


class Repairs:
    """The queue of topics that wait for their repair. The topic sees to it that it is queued at most once."""

    def __init__(
        self, spawn: Callable[[Coroutine[Any, Any, None], str, str], object], *, at_once: int = AT_ONCE
    ) -> None:
        self._spawn = spawn
        self._at_once = at_once
        self._under_way = 0
        self._waiting: deque[Repairable] = deque()

    @property
    def waiting(self) -> int:
        """How many topics wait."""
        return len(self._waiting)

    def add(self, topic: Repairable) -> None:
        """Repair a topic when its turn comes, which may be at once."""
        self._waiting.append(topic)
        self._start_next()

    def _start_next(self) -> None:
        while self._waiting and self._under_way < self._at_once:
            topic = self._waiting.popleft()
            self._under_way += 1
            self._spawn(self._repair(topic), f"repair {topic.run_id}", topic.run_id)

    async def _repair(self, topic: Repairable) -> None:
        again = False
        try:
            again = await topic.repair_once()
        except asyncio.CancelledError:  # the hub ends
            self._waiting.clear()
            raise
        finally:
            self._under_way -= 1
            if again:
                self._waiting.append(topic)
            self._start_next()
