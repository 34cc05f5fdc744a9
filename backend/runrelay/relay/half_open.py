"""Half-open connections, those without a whole request: bounded in total and per address, each with a deadline."""

from __future__ import annotations

import asyncio
import math
from typing import Final, Literal, Protocol

from ..metrics import RelayMetrics
from .addresses import TrustedProxies, counted_as
from .open_files import room_for_connections
from .settings import Settings

__all__ = ["HalfOpen", "HalfOpenConnection", "Reason"]

_SWEEP_S: Final = 0.5
_GRACE_S: Final = 1.0
"""A younger connection is not closed to make room. Thousands of honest clients that reconnect at once are accepted in
one turn of the loop, and read in the next ones. If those take longer, their requests wait in the kernel: a connection
with unread bytes gets so long again."""

Reason = Literal["late", "crowded"]


class HalfOpenConnection(Protocol):
    """A connection that waits for its client: for a request, the rest of a body, or the answer to a close."""

    def is_silent(self) -> bool:
        """Whether the client has sent nothing that was not read yet."""

    def expire(self, why: Reason) -> None:
        """Close the connection: it is late, or there are too many. HalfOpen does not count it any more."""


class HalfOpen:
    """The half-open connections of this process.

    Overflow policy: the oldest is closed, first one of the same address. So a client that opens many silent sockets
    loses its own, and a client that sends its request at once is served. The limits of the settings hold after a grace
    of one second; the bound on open files holds at once.
    """

    def __init__(self, settings: Settings, metrics: RelayMetrics) -> None:
        self._metrics = metrics
        self._most = settings.max_half_open or math.inf
        self._most_per_address = settings.max_half_open_per_address or math.inf
        # 0 turns all bounds off, this one, too.
        self._most_open = room_for_connections() if settings.max_half_open else math.inf
        self._trusted = TrustedProxies(settings.trusted_proxies)
        self._waiting: dict[HalfOpenConnection, tuple[str, float, float]] = {}
        """Address, start and deadline (the loop's clock, seconds); the oldest first."""
        self._of_address: dict[str, dict[HalfOpenConnection, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self._waiting)

    def address_of(self, host: str | None) -> str:
        """The key of a peer's connections; "" for a trusted proxy, which has many clients: counted in the total
        only.
        """
        return "" if host in self._trusted else counted_as(host)

    def make_room(self, open_connections: int) -> bool:
        """Close the oldest if the process has as many open files as it may. False: there is none to close."""
        if open_connections <= self._most_open:
            return True
        if not self._waiting:
            return False
        self._close(next(iter(self._waiting)), "crowded")
        return True

    def enter(self, connection: HalfOpenConnection, address: str, within_s: float) -> None:
        """Count a connection until `leave`. A second call starts its time again.

        Args:
            address: see `address_of`; "" is counted in the total only.
            within_s: seconds until it is closed; 0: no deadline.
        """
        self.leave(connection)
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._waiting[connection] = address, now, now + within_s if within_s else math.inf
        self._of_address.setdefault(address, {})[connection] = None
        if self._timer is None:
            self._timer = loop.call_later(_SWEEP_S, self._sweep)
        if len(self._waiting) > self._most or len(self._of_address[address]) > self._most_per_address:
            self._thin(address, now)

    def leave(self, connection: HalfOpenConnection) -> None:
        """The connection is not half-open any more, or is gone."""
        found = self._waiting.pop(connection, None)
        if found is not None:
            of_address = self._of_address[found[0]]
            del of_address[connection]
            if not of_address:
                del self._of_address[found[0]]

    def _close(self, connection: HalfOpenConnection, why: Reason) -> None:
        self.leave(connection)
        self._metrics.half_open_closed += 1
        connection.expire(why)

    def _thin(self, address: str, now: float) -> None:
        """Close the oldest connections while there are too many of this address, or in total."""
        if address:
            while (same := self._of_address.get(address)) and len(same) > self._most_per_address:
                if not self._close_old(next(iter(same)), now):
                    break
        while len(self._waiting) > self._most and self._close_old(next(iter(self._waiting)), now):
            pass

    def _close_old(self, connection: HalfOpenConnection, now: float) -> bool:
        if now - self._waiting[connection][1] < _GRACE_S:
            return False
        if not connection.is_silent():
            self._put_off(connection, now)  # to the end of the order, so that the caller's loop goes on and ends
            return True
        self._close(connection, "crowded")
        return True

    def _put_off(self, connection: HalfOpenConnection, now: float) -> None:
        address, _, until = self._waiting.pop(connection)
        self._waiting[connection] = address, now, max(until, now + _GRACE_S)
        same = self._of_address[address]
        del same[connection]
        same[connection] = None

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        for connection in [connection for connection, (_, _, until) in self._waiting.items() if until <= now]:
            if connection not in self._waiting:  # it was ended by the close of another one
                continue
            if connection.is_silent():
                self._close(connection, "late")
            else:  # this process was late: the loop runs timers before it reads sockets
                self._put_off(connection, now)
        for address in [name for name, same in self._of_address.items() if len(same) > self._most_per_address]:
            self._thin(address, now)
        self._thin("", now)
        if self._waiting and self._timer is None:
            self._timer = loop.call_later(_SWEEP_S, self._sweep)
