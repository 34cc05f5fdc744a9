"""Adoption: a raw message on the channel (by hand, or of an older publisher) becomes an event of its run.

Every relay hears a raw message; one must commit it. Exactly once under one holder of the lease, at most once while
the lease changes hands:

- A relay that takes the lease publishes a marker on the control channel and adopts only what it hears after the
  marker: that was published after the lease was its own. (Redis hands a subscriber's messages out in the order in
  which they were published, over all channels of one connection.)
- A message that the new holder adopts was therefore published after the old holder's lease had ended in Redis. The
  old one, however late it reads, finds its lease ended by its own clock, which ends earlier, and leaves the message.
- A message from before the marker is left by the new holder, whatever the old one did with it: at most once.
- A holder that is stopped between taking a message and committing it commits it when it goes on: not lost and not
  doubled, but after messages that the new holder has adopted since.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from contextlib import suppress
from typing import Any

from ..errors import RunlogUnavailable
from ..fanout import Containment, Listener, RawMessage, for_ever
from ..metrics import RelayMetrics
from ..progress import Event, make_event
from ..runlog import AsyncRunLog, ProducerSequence
from .leases import Lease
from .waiting import Waiting, WaitingRun

__all__ = ["Adopter", "event_of"]

log = logging.getLogger(__name__)

_MAX_RUNS = 10_000
_PAUSE_S = 0.5
_LATEST_MS = 8_640_000_000_000_000
"""The last moment that a browser's `Date` can tell (ECMA-262, 21.4.1.1)."""


def event_of(fields: dict[str, Any]) -> Event:
    """The event that a raw message means.

    Raises:
        TypeError, ValueError: a field is wrong.
    """
    given = {
        name: fields[name]
        for name in ("state", "progress", "log", "level", "step", "data", "result", "error", "attempt")
        if fields.get(name) is not None
    }
    ts = fields.get("ts")
    return make_event(**given, ts_ms=ts if type(ts) is int and 0 < ts <= _LATEST_MS else None)


class Adopter:
    """Commits raw messages while this relay holds the lease."""

    def __init__(self, runlog: AsyncRunLog, metrics: RelayMetrics, *, marker: bool = True) -> None:
        self._runlog = runlog
        self._metrics = metrics
        self._marker = marker
        self._listener: Listener | None = None
        self._lease: Lease | None = None
        self._after_marker = False
        self._take = asyncio.Event()
        self._marker_number = 0
        self._containment = Containment(metrics)
        self._waiting = Waiting()
        self._news = asyncio.Event()
        self._sequences: OrderedDict[str, ProducerSequence] = OrderedDict()

    def attach(self, listener: Listener) -> None:
        """Say which listener hears for this relay, before `run`."""
        self._listener = listener
        self._lease = Lease(self._runlog, "adoption", listener.relay_id, on_taken=self.resubscribed)

    def resubscribed(self) -> None:
        """The lease is new, or the subscription is: what is heard until the marker comes back is not adopted."""
        self._after_marker = not self._marker
        self._marker_number += 1
        self._take.set()

    def control(self, message: dict[str, Any]) -> None:
        """Hear the relays' control channel."""
        # An older marker may come late, from before a time in which another relay held the lease.
        if (
            self._listener is not None
            and message.get("adopts") == self._listener.relay_id
            and message.get("number") == self._marker_number
        ):
            self._after_marker = True

    def receive(self, message: RawMessage) -> None:
        """Hear a raw message; take it if it is this relay's to take."""
        if self._lease is None or not self._lease.held or not self._after_marker:
            return
        try:
            event = event_of(message.fields)
        except (TypeError, ValueError) as error:
            self._metrics.adoption_refused += 1
            log.info("refused a raw message for run %r: %s", message.run_id, error)
            return
        if self._waiting.add(message.run_id, event, message.size_bytes):
            self._news.set()
        else:
            self._metrics.adoption_refused += 1

    async def run(self) -> None:
        """Keep the lease, send markers, commit, until cancelled."""
        assert self._lease is not None, "attach() first"
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(for_ever(self._lease.run), name="adoption lease")
            tasks.create_task(for_ever(self._send_markers), name="adoption markers")
            tasks.create_task(for_ever(self._commit), name="adoption commits")

    async def _send_markers(self) -> None:
        assert self._listener is not None
        while True:
            await self._take.wait()
            self._take.clear()
            try:
                await self._listener.send({"adopts": self._listener.relay_id, "number": self._marker_number})
            except RunlogUnavailable:
                await asyncio.sleep(0.2)
                self._take.set()
            except Exception as error:
                self._containment.note(error, "adoption markers")
                await asyncio.sleep(1.0)
                self._take.set()

    async def _commit(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            run = self._waiting.next(loop.time())
            if run is not None:
                await self._commit_run(run)
                continue
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._waiting.due_in_s(loop.time())):
                    await self._news.wait()

    async def _commit_run(self, run: WaitingRun) -> None:
        loop, run_id = asyncio.get_running_loop(), run.run_id
        if run.sequence is None:
            run.sequence = self._sequences.pop(run_id, None) or ProducerSequence.fresh()
        try:
            await self._runlog.commit(run_id, run.batch, run.sequence)
        except RunlogUnavailable as error:
            # the same numbers again: committed once, whatever became of this try
            if not self._waiting.put_off(run, loop.time()):
                self._give_up(run, error)
            elif self._waiting.is_stuck:
                await asyncio.sleep(_PAUSE_S)  # thousands may wait: not one try after the other without a pause
        except Exception as error:
            self._give_up(run, error)
        else:
            self._metrics.adopted += len(run.batch)
            self._sequences[run_id] = run.sequence
            run.sequence = None
            if len(self._sequences) > _MAX_RUNS:
                self._sequences.popitem(last=False)
            self._waiting.done(run, loop.time())

    def _give_up(self, run: WaitingRun, error: Exception) -> None:
        self._metrics.adoption_refused += self._waiting.drop(run)
        self._containment.note(error, "adoption", run.run_id)
