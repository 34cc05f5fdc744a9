"""Withdrawals: a start that could not be sent is withdrawn, so that work which arrives late does not begin.

Why: a call to the broker may go on after its time-out. The broker may then take the message a second after the caller
was answered 503.

How: one commit ends the run as FAILED under the condition that its work has not begun. From then on a start for this
attempt is fenced, and its work is not done (celery/gate.py). If the work has begun by then, it was sent after all: the
run goes on, and the caller is told so. The run log's script decides both, one after the other, so there is no third
case.
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
    """Withdraws starts: at once, or when Redis is back."""

    def __init__(self, runlog: AsyncRunLog) -> None:
        self._runlog = runlog
        self._put_off: deque[_Withdrawal] = deque(maxlen=_MAX_PUT_OFF)
        self._added = asyncio.Event()

    async def withdraw(self, run_id: str, attempt: int, why: str) -> bool:
        """End a queued attempt as FAILED because its work could not be sent. False: it has begun, so it was sent.

        Raises:
            RunlogUnavailable: Redis is away. The start is withdrawn when Redis is back.
        """
        event = make_event("FAILED", error=f"the work could not be sent: {why}", attempt=attempt)
        withdrawal = _Withdrawal(
            run_id, event._replace(kind="unsent", precondition="unbegun"), ProducerSequence.fresh()
        )
        try:
            return await self._commit(withdrawal)
        except (RunlogUnavailable, asyncio.CancelledError):
            self._put_off.append(withdrawal)
            self._added.set()
            raise

    async def _commit(self, withdrawal: _Withdrawal) -> bool:
        try:
            await self._runlog.commit(withdrawal.run_id, [withdrawal.event], withdrawal.sequence)
        except CommitRefused as error:
            # Cancelled or expired meanwhile: late work does not begin either.
            return error.status in ("cancelled", "unknown")
        return True

    async def run(self) -> None:
        """Withdraw what was put off, until cancelled."""
        while True:
            while not self._put_off:
                self._added.clear()
                await self._added.wait()
            withdrawal = self._put_off[0]
            try:
                await self._commit(withdrawal)
            except RunlogUnavailable:
                await asyncio.sleep(_AGAIN_S)
                continue
            except RunlogError as error:
                log.error("the start of run %r cannot be withdrawn: %s", withdrawal.run_id, error)
            if self._put_off and self._put_off[0] is withdrawal:
                self._put_off.popleft()
