"""Clients that come back again and again to a run that has ended.

A close with 1000 tells a client that the run is over. Some libraries reconnect after each close all the same:
reconnecting-websocket, partysocket, `async for` of the websockets package. They come back every few seconds, each time
for the whole initial state. Such a client is kept connected in the end: idle, and there if the run begins another
attempt.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final, NamedTuple

__all__ = ["Returns"]

_CLOSES: Final = 3
"""So often a client is told that the run is over. Several clients may have one address."""
_WITHIN_S: Final = 60.0
_MOST: Final = 10_000


class _Told(NamedTuple):
    times: int
    at_s: float


class Returns:
    """How often clients were told lately that a run is over. Bounded; the oldest goes first."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, str], _Told] = OrderedDict()

    def record(self, address: str, run_id: str) -> None:
        """A client of this address was closed because the run had ended."""
        self._told[address, run_id] = _Told(self._count(address, run_id) + 1, time.monotonic())
        self._told.move_to_end((address, run_id))
        if len(self._told) > _MOST:
            self._told.popitem(last=False)

    def is_return(self, address: str, run_id: str) -> bool:
        """Whether clients of this address were told so three times, each within a minute of the one before."""
        return self._count(address, run_id) >= _CLOSES

    def _count(self, address: str, run_id: str) -> int:
        told = self._told.get((address, run_id))
        return 0 if told is None or time.monotonic() - told.at_s > _WITHIN_S else told.times
