"""Withdrawals: a start that could not be sent is called off, so that work which is sent late does not begin.

A sender that is given up may be in the middle of its call: the broker may take the message a second later, after the
caller was told 503. So the run does not just end as FAILED. One commit ends it under the condition that nothing of it
has begun, and from then on the start of what was sent for this attempt is fenced, and its work not done (see
publisher/celery_gate.py). If something has begun by then, the work was sent after all: the run goes on, and the caller
is told so. Both are decided in the run log's script, one after the other, so there is no third case.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import NamedTuple

from ..errors import CommitRefused, RunlogError, RunlogUnavailable
from ..progress import Event, make_event
from ..runlog import AsyncRunLog, ProducerSequence

__all__ = ["Withdrawals"]

log = logging.getLogger(__name__)

_AGAIN_S = 1.0
_MAX_PUT_OFF = 1_000


class _Withdrawal(NamedTuple):
    run_id: str
    event: Event
    sequence: ProducerSequence


class Withdrawals:
    """Calls starts off: at once, or when Redis is back."""

    def __init__(self, runlog: AsyncRunLog) -> None:
        self._runlog = runlog
        self._put_off: deque[_Withdrawal] = deque(maxlen=_MAX_PUT_OFF)
        self._news = asyncio.Event()

    async def withdraw(self, run_id: str, attempt: int, why: str) -> bool:
        """End a queued attempt as FAILED because its work could not be sent. False: it has begun, so it was sent.

        Raises:
            RunlogUnavailable: Redis is away. It is done when Redis is back.
        """
        event = make_event("FAILED", error=f"the work could not be sent: {why}", attempt=attempt)
        withdrawal = _Withdrawal(
            run_id, event._replace(kind="unsent", precondition="unbegun"), ProducerSequence.fresh()
        )
        try:
            return await self._commit(withdrawal)
        except (RunlogUnavailable, asyncio.CancelledError):
            self._put_off.append(withdrawal)
            self._news.set()
            raise

    async def _commit(self, withdrawal: _Withdrawal) -> bool:
        try:
            await self._runlog.commit(withdrawal.run_id, [withdrawal.event], withdrawal.sequence)
        except CommitRefused as error:
            # cancelled meanwhile (or expired): what is sent late does not begin either
            return error.status in ("cancelled", "unknown")
        return True

    async def run(self) -> None:
        """Do what was put off, until cancelled."""
        while True:
            while not self._put_off:
                self._news.clear()
                await self._news.wait()
            withdrawal = self._put_off[0]
            try:
                await self._commit(withdrawal)
            except RunlogUnavailable:
                await asyncio.sleep(_AGAIN_S)
                continue
            except RunlogError as error:
                log.error("the start of run %r cannot be called off: %s", withdrawal.run_id, error)
            if self._put_off and self._put_off[0] is withdrawal:
                self._put_off.popleft()
