"""Repairs: topics that must read what they have missed, a few at a time.

After an outage that may be all of them. `at_once` of them read at the same time, and each read gives way to those of
joins (see runlog/pipelined.py), so that who comes then does not wait behind who is there. Repairs do not starve: of the
reads that go out, a fourth is theirs while any wait. One that has to read again goes to the end of the line, so a run
that somebody keeps forging messages for costs the others a read each time, and no more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

__all__ = ["Repairable", "Repairs"]

AT_ONCE: Final = 32


class Repairable(Protocol):
    """A topic, as far as its repair goes."""

    run_id: str

    async def repair_once(self) -> bool:
        """Read and catch up. True: it must read again."""


class Repairs:
    """The line of topics that wait for their repair. A topic is in it once at most; that is the topic's to see to."""

    def __init__(
        self, spawn: Callable[[Coroutine[Any, Any, None], str, str], object], *, at_once: int = AT_ONCE
    ) -> None:
        self._spawn = spawn
        self._at_once = at_once
        self._under_way = 0
        self._waiting: deque[Repairable] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, topic: Repairable) -> None:
        """Repair a topic when it is its turn, which may be at once."""
        self._waiting.append(topic)
        self._go_on()

    def _go_on(self) -> None:
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
            self._go_on()
