"""Limits on connections: in total, per address, per run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from .settings import Settings

__all__ = ["Limits", "TooMany"]


class TooMany(Exception):
    """A limit is reached. The message names it."""


class Limits:
    """Counts what is open in this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.total = 0
        self._addresses: Counter[str] = Counter()
        self._runs: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        """Whether no further connection is accepted."""
        return self.total >= self._settings.max_connections

    @contextmanager
    def connection(self, address: str) -> Iterator[None]:
        """One client's connection, as long as it is open."""
        most = self._settings.max_connections_per_address
        if self.is_full:
            raise TooMany(f"too many connections: {self.total} of {self._settings.max_connections}")
        if self._addresses[address] >= most:
            raise TooMany(f"too many connections from this address: {most} of {most}")
        self.total += 1
        self._addresses[address] += 1
        try:
            yield
        finally:
            self.total -= 1
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    @contextmanager
    def run(self, run_id: str) -> Iterator[None]:
        """One watching of a run, as long as it lasts."""
        most = self._settings.max_connections_per_run
        if self._runs[run_id] >= most:
            raise TooMany(f"too many connections to run {run_id!r}: {most} of {most}")
        self._runs[run_id] += 1
        try:
            yield
        finally:
            self._runs[run_id] -= 1
            if not self._runs[run_id]:
                del self._runs[run_id]
