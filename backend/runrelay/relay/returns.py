"""Clients that reconnect again and again to a run that has ended.

Why: a close with 1000 says that the run is over, but some libraries reconnect after every close
(reconnecting-websocket, partysocket, `async for` of the websockets package). They would reconnect every few seconds,
each time for the whole initial state.

How: after three such closes the client stays connected. It is idle, and gets the events if the run begins another
attempt.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final, NamedTuple

__all__ = ["Returns"]

_CLOSES: Final = 3
"""So many closes before a client stays connected. Several clients may have the same address."""
_WITHIN_S: Final = 60.0
_MOST: Final = 10_000


class _Closes(NamedTuple):
    times: int
    at_s: float


class Returns:
    """Counts recent closes for the end of a run, by address and run. Bounded; the oldest is dropped first."""

    def __init__(self) -> None:
        self._closes: OrderedDict[tuple[str, str], _Closes] = OrderedDict()

    def record(self, address: str, run_id: str) -> None:
        """A client of this address was closed because the run had ended."""
        self._closes[address, run_id] = _Closes(self._count(address, run_id) + 1, time.monotonic())
        self._closes.move_to_end((address, run_id))
        if len(self._closes) > _MOST:
            self._closes.popitem(last=False)

    def is_return(self, address: str, run_id: str) -> bool:
        """Whether this address had three such closes, each within a minute of the one before."""
        return self._count(address, run_id) >= _CLOSES

    def _count(self, address: str, run_id: str) -> int:
        closes = self._closes.get((address, run_id))
        return 0 if closes is None or time.monotonic() - closes.at_s > _WITHIN_S else closes.times
