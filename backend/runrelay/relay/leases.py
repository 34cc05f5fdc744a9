"""Leases in Redis: the relay that holds one does some work for all relays."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ..errors import RunlogUnavailable
from ..runlog import AsyncRunLog

__all__ = ["Lease"]

log = logging.getLogger(__name__)


class Lease:
    """A lease in Redis, renewed for as long as this relay runs and can reach Redis.

    `held` uses this process's own monotonic clock, from the moment *before* the last renewal was sent. So the lease
    ends here before it ends in Redis, and no two relays hold it at the same time, however long one of them was paused.
    """

    def __init__(
        self,
        runlog: AsyncRunLog,
        name: str,
        owner: str,
        *,
        duration_s: float = 5.0,
        on_taken: Callable[[], None] = lambda: None,
    ) -> None:
        self._runlog = runlog
        self._name = name
        self._owner = owner
        self._duration_s = duration_s
        self._on_taken = on_taken
        self._until = 0.0

    @property
    def held(self) -> bool:
        """Whether this relay holds the lease now. It ends 2 % early, as clocks differ in speed."""
        return asyncio.get_running_loop().time() < self._until

    async def run(self) -> None:
        """Take and renew the lease until cancelled. After that it ends in Redis by itself, within `duration_s`."""
        loop, failed = asyncio.get_running_loop(), ""
        while True:
            before, had = loop.time(), self.held
            try:
                if await self._runlog.take_lease(self._name, self._owner, round(self._duration_s * 1000)):
                    self._until = before + self._duration_s * 0.98
                    if not had:
                        log.info("took the lease %s", self._name)
                        self._on_taken()
            except RunlogUnavailable as error:
                log.debug("the lease %s was not renewed: %s", self._name, error)
            except Exception as error:  # the relay serves its clients without the lease
                if failed != str(error):
                    log.error("the lease %s cannot be taken: %s", self._name, error)
                failed = str(error)
            else:
                failed = ""
            await asyncio.sleep(self._duration_s / 4)
