"""Adoption: a raw message on the channel (published by hand or by an older publisher) becomes an event of its run.

Every relay receives a raw message, and one of them must commit it: the one that holds the lease. Exactly once under one
holder, at most once while the lease changes hands. Why:

- Redis delivers to a subscriber in the order of publishing, over all channels of one connection. A relay that takes the
  lease publishes a marker on the control channel and adopts only what it receives after the marker. Such a message was
  published after the relay had taken the lease.
- So a message that the new holder adopts was published after the old holder's lease had ended in Redis. The old holder,
  however late it reads the message, finds its lease ended: its own clock ends the lease earlier. It leaves the message.
- The new holder leaves messages from before the marker, whatever the old holder did with them: at most once.
- A holder that is stopped between receiving a message and committing it commits it when it goes on. The message is
  neither lost nor doubled, but comes after messages that the new holder has adopted since.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import RunlogUnavailable
from ..fanout import Containment, Listener, RawMessage, for_ever
from ..metrics import RelayMetrics
from ..progress import Event, make_event
from ..progress.fields import GIVEN
from ..runlog import AsyncRunLog, ProducerSequence
from .adoption_queue import AdoptionQueue, QueuedRun
from .leases import Lease

__all__ = ["Adopter", "AdopterStatistics", "event_of"]

log = logging.getLogger(__name__)

_MAX_RUNS = 10_000
_PAUSE_S = 0.5
_LATEST_MS = 8_640_000_000_000_000
"""The latest time of a browser's `Date` (ECMA-262, 21.4.1.1)."""


def event_of(fields: dict[str, Any]) -> Event:
    """The event of a raw message's fields.

    Raises:
        TypeError, ValueError: a field is wrong.
    """
    given = {name: fields[name] for name in GIVEN if fields.get(name) is not None}
    ts = fields.get("ts")
    return make_event(**given, ts_ms=ts if type(ts) is int and 0 < ts <= _LATEST_MS else None)


@dataclass(frozen=True, slots=True)
class AdopterStatistics:
    """The adopter at one moment."""

    holds_lease: bool
    after_marker: bool
    """The newest marker has come back: raw messages are adopted, while the lease is held."""
    queued: int
    """Messages, including those that are being committed."""
    queued_bytes: int


class Adopter:
    """Commits raw messages while this relay holds the lease."""

    def __init__(self, runlog: AsyncRunLog, metrics: RelayMetrics, *, marker: bool = True) -> None:
        self._runlog = runlog
        self._metrics = metrics
        self._marker = marker
        self._listener: Listener | None = None
        self._lease: Lease | None = None
        self._after_marker = False
        self._marker_due = asyncio.Event()
        self._marker_number = 0
        self._containment = Containment(metrics)
        self._queue = AdoptionQueue()
        self._added = asyncio.Event()
        self._sequences: OrderedDict[str, ProducerSequence] = OrderedDict()

    def statistics(self) -> AdopterStatistics:
        """See AdopterStatistics."""
        held = self._lease is not None and self._lease.held
        return AdopterStatistics(held, self._after_marker, len(self._queue), self._queue.size_bytes)

    def attach(self, listener: Listener) -> None:
        """Give it this relay's listener, before `run`."""
        self._listener = listener
        self._lease = Lease(self._runlog, "adoption", listener.relay_id, on_taken=self.resubscribed)

    def resubscribed(self) -> None:
        """The lease or the subscription is new: what is received until the new marker comes back is not adopted."""
        self._after_marker = not self._marker
        self._marker_number += 1
        self._marker_due.set()

    def receive_control(self, message: dict[str, Any]) -> None:
        """Take a message of the relays' control channel: only the newest marker counts.

        An older one may come late, after another relay has held the lease in between.
        """
        if (
            self._listener is not None
            and message.get("adopts") == self._listener.relay_id
            and message.get("number") == self._marker_number
        ):
            self._after_marker = True

    def receive(self, message: RawMessage) -> None:
        """Take a raw message; queue it if this relay is to adopt it."""
        if self._lease is None or not self._lease.held or not self._after_marker:
            return
        try:
            event = event_of(message.fields)
        except (TypeError, ValueError) as error:
            self._metrics.adoption_refused += 1
            log.info("refused a raw message for run %r: %s", message.run_id, error)
            return
        if self._queue.add(message.run_id, event, message.size_bytes):
            self._added.set()
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
            await self._marker_due.wait()
            self._marker_due.clear()
            try:
                await self._listener.send({"adopts": self._listener.relay_id, "number": self._marker_number})
            except RunlogUnavailable:
                await asyncio.sleep(0.2)
                self._marker_due.set()
            except Exception as error:
                self._containment.record(error, "adoption markers")
                await asyncio.sleep(1.0)
                self._marker_due.set()

    async def _commit(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            run = self._queue.next(loop.time())
            if run is not None:
                await self._commit_run(run)
                continue
            self._added.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._queue.due_in_s(loop.time())):
                    await self._added.wait()

    async def _commit_run(self, run: QueuedRun) -> None:
        loop, run_id = asyncio.get_running_loop(), run.run_id
        if run.sequence is None:
            run.sequence = self._sequences.pop(run_id, None) or ProducerSequence.fresh()
        try:
            await self._runlog.commit(run_id, run.batch, run.sequence)
        except RunlogUnavailable as error:
            # Retried with the same numbers, so it is idempotent, whatever happened to this try.
            if not self._queue.retry_later(run, loop.time()):
                self._give_up(run, error)
            elif self._queue.is_stuck:
                await asyncio.sleep(_PAUSE_S)  # thousands of runs may be queued: no tight loop of tries
        except Exception as error:
            self._give_up(run, error)
        else:
            self._metrics.adopted += len(run.batch)
            self._sequences[run_id] = run.sequence
            run.sequence = None
            if len(self._sequences) > _MAX_RUNS:
                self._sequences.popitem(last=False)
            self._queue.acknowledge(run, loop.time())

    def _give_up(self, run: QueuedRun, error: Exception) -> None:
        self._metrics.adoption_refused += self._queue.drop(run)
        self._containment.record(error, "adoption", run.run_id)
