"""Limits on connections and subscriptions: in total, per address, per run."""

from __future__ import annotations

from collections import Counter

from ..codes import CloseCode
from ..errors import Refusal
from .settings import Settings

__all__ = ["Limits"]

_RETRY_AFTER_S = 5.0


class Limits:
    """Counts connections and subscriptions of this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.total = 0
        self.subscriptions = 0
        """Subscriptions to runs, over all connections."""
        self._addresses: Counter[str] = Counter()
        self._runs: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        """Whether no further connection is accepted."""
        return self.total >= self._settings.max_connections

    def enter(self, address: str) -> None:
        """Count one client's connection, until `leave`.

        Args:
            address: see `addresses.address_of`; clients without one are counted in the total only.

        Raises:
            Refusal: 4429, the limit is reached.
        """
        most = self._settings.max_connections_per_address
        if self.is_full:
            raise _too_many(f"too many connections: {self.total} of {self._settings.max_connections}")
        if address and self._addresses[address] >= most:
            raise _too_many(f"too many connections from this address: {most} of {most}")
        self.total += 1
        self._addresses[address] += 1

    def leave(self, address: str) -> None:
        """Count one connection less."""
        self.total -= 1
        _take_one(self._addresses, address)

    def enter_run(self, run_id: str) -> None:
        """Count one subscription to a run, until `leave_run`.

        Raises:
            Refusal: 4429, the limit is reached.
        """
        if self.subscriptions >= self._settings.max_subscriptions_total:
            raise _too_many(f"too many subscriptions: {self.subscriptions} of {self._settings.max_subscriptions_total}")
        most = self._settings.max_connections_per_run
        if self._runs[run_id] >= most:
            raise _too_many(f"too many connections to run {run_id!r}: {most} of {most}")
        self.subscriptions += 1
        self._runs[run_id] += 1

    def leave_run(self, run_id: str) -> None:
        """Count one subscription to the run less."""
        self.subscriptions -= 1
        _take_one(self._runs, run_id)


def _too_many(reason: str) -> Refusal:
    return Refusal(CloseCode.TOO_MANY, reason, _RETRY_AFTER_S)


def _take_one(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
