"""Joins: reads of one run that all share who begin alike at about the same time.

A read that is older than the watcher is as good as a new one for as long as what was delivered since is kept here; the
topic looks whether it is. So when thousands come back at once, Redis is asked a few times.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from ..progress import Cursor
from ..runlog import View
from .beginnings import Beginning
from .frames import Frame

__all__ = ["Joins"]

_RETAIN_S: Final = 0.3
"""For how long a read serves others: what was delivered since is sent to each of them."""
_MAX_RECENT: Final = 1_000


class Joins:
    """What a topic keeps for those who join it."""

    def __init__(
        self,
        read: Callable[[Cursor | None, int], Awaitable[View]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self.count = 0
        """How many are joining: while somebody is, what is delivered is kept."""
        self._read = read
        self._spawn = spawn
        self._recent: deque[Frame] = deque(maxlen=_MAX_RECENT)
        self._retaining = False
        self._retention: asyncio.TimerHandle | None = None
        self._readings: dict[tuple[Cursor | None, int], asyncio.Future[Beginning]] = {}

    async def beginning(self, after: Cursor | None, event_bytes: int) -> Beginning:
        """Read what a join begins with, or share what another has read or is reading.

        Args:
            after: the client's cursor.
            event_bytes: more than this of events is not worth it.

        Raises:
            RunlogError: from the read; or whatever else went wrong with it. Cancelled, the read goes on for those who
            share it.
        """
        key = after, event_bytes
        reading = self._readings.get(key)
        if reading is None:
            reading = self._readings[key] = asyncio.get_running_loop().create_future()
            self._retain()
            self._spawn(self._answer(key, reading))
        return reading.result() if reading.done() else await asyncio.shield(reading)

    async def _answer(self, key: tuple[Cursor | None, int], reading: asyncio.Future[Beginning]) -> None:
        self.count += 1  # whoever asked may be gone before it is answered, and others have come meanwhile
        try:
            reading.set_result(Beginning.of(await self._read(*key), key[0]))
        except Exception as error:  # those who wait for it are told; it is nobody else's
            reading.set_exception(error)
            reading.exception()  # looked at, if nobody is left who does
            del self._readings[key]
        finally:
            self.count -= 1
            reading.cancel()  # does nothing, unless the hub has ended

    def discard(self, after: Cursor | None, event_bytes: int) -> None:
        """A read was out of date: the next one who asks has another."""
        self._readings.pop((after, event_bytes), None)

    def note(self, frames: Sequence[Frame]) -> None:
        """Frames of the log were delivered."""
        if self._retaining:
            self._recent.extend(frames)

    def since(self, reached: Cursor) -> list[Frame]:
        """What was delivered after a position, as far as it was kept."""
        return [f for f in self._recent if f.cursor and f.cursor.epoch == reached.epoch and f.cursor.seq > reached.seq]

    def forget_delivered(self) -> None:
        """What was delivered so far leads to no position any more: a new initial_state came."""
        self._recent.clear()

    def _retain(self) -> None:
        """Keep what is delivered from now on, for as long as anyone joins, and a little longer for who comes next."""
        self._retaining = True
        if self._retention is None:
            self._retention = asyncio.get_running_loop().call_later(_RETAIN_S, self._forget)

    def _forget(self) -> None:
        """Share no read that is over; and, unless somebody waits for one, let go of what was kept for joins."""
        self._retention = None
        self._readings = {key: reading for key, reading in self._readings.items() if not reading.done()}
        if self.count:
            self._retain()
        else:
            self._retaining = False
            self._recent.clear()

    def close(self) -> None:
        """Nobody joins any more."""
        if self._retention is not None:
            self._retention.cancel()
