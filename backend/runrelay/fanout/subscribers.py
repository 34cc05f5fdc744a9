"""A run's live subscribers in this process, and the batch that is being delivered to them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

from ..codes import CloseCode
from ..metrics import RelayMetrics
from .connections import Connection
from .containment import Containment
from .direct_sends import broadcast
from .frames import Batch, Frame

__all__ = ["Subscriber", "Subscribers"]

_SUBSCRIBERS_PER_TURN: Final = 500
"""A write costs about 4 µs, so a turn takes about 2 ms."""


class Subscriber(Protocol):
    """One client's subscription to one run."""

    connection: Connection

    @property
    def stays_after_end(self) -> bool:
        """Whether it stays subscribed after the run's end, for another attempt; `run_ended` is not called then."""

    def run_ended(self) -> None:
        """The run ended some seconds ago: nothing more is sent."""

    def run_failed(self, error: Exception) -> None:
        """The run cannot be followed any more: it is no run (NotARun), or something failed. Nothing more is sent."""


def _nothing(frames: Sequence[Frame]) -> None:
    """In place of the callback of a topic that is not used any more."""


class Subscribers:
    """Subscribers that all have been sent the same frames, or are being sent them.

    A batch to many of them takes several turns of the loop, so that nothing else waits long. One batch is delivered at
    a time. A subscriber that is added meanwhile gets it last; one that is removed, or cut off, gets no more of it.
    """

    def __init__(
        self,
        metrics: RelayMetrics,
        on_delivered: Callable[[Sequence[Frame]], None],
        *,
        containment: Containment | None = None,
        on_failed: Callable[[Exception], None] | None = None,
    ) -> None:
        self.members: dict[Subscriber, Connection] = {}
        self.idle = asyncio.Event()
        """Set while no batch is being delivered."""
        self.idle.set()
        self._metrics = metrics
        self._on_delivered = on_delivered
        self._containment = containment or Containment(metrics)
        self._on_failed = on_failed
        self._batch: Batch | None = None
        self._waiting: deque[Subscriber] = deque()

    @property
    def is_delivering(self) -> bool:
        """Whether a batch is being delivered."""
        return self._batch is not None

    def add(self, subscriber: Subscriber) -> None:
        """Send this subscriber the batch that is being delivered, and all that follow."""
        self.members[subscriber] = subscriber.connection
        if self._batch is not None:
            self._waiting.append(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Send this subscriber nothing more."""
        self.members.pop(subscriber, None)

    def deliver(self, frames: Sequence[Frame]) -> None:
        """Send frames to all; `on_delivered` is called when that is done, which may be before this returns."""
        if not frames:
            return
        self._batch = Batch(frames)
        self.idle.clear()
        if len(self.members) <= _SUBSCRIBERS_PER_TURN:  # one turn, in which nobody is added or removed: no queue
            self._send(self._batch, self.members.values())
            self._done()
        else:
            self._waiting.extend(self.members)
            self._send_next()

    def _send_next(self) -> None:
        """Send to the next 500; the loop has a turn before the following ones."""
        members, waiting = self.members, self._waiting
        assert self._batch is not None
        part = [waiting.popleft() for _ in range(min(len(waiting), _SUBSCRIBERS_PER_TURN))]
        self._send(self._batch, [members[subscriber] for subscriber in part if subscriber in members])
        if waiting:
            asyncio.get_running_loop().call_soon(self._send_next_later)
        else:
            self._done()

    def _send_next_later(self) -> None:
        """As `_send_next`, but called by the loop, which would only log an exception."""
        if self._batch is None:
            return  # discarded meanwhile
        try:
            self._send_next()
        except Exception as error:
            if self._on_failed is None:
                raise
            self._on_failed(error)

    def discard(self) -> None:
        """Forget all subscribers and the batch that is being delivered: nothing more is sent."""
        self.members.clear()
        self._waiting.clear()
        self._batch = None
        self.idle.set()

    def end(self, run_id: str) -> None:
        """The run has ended: let the subscribers go that do not stay for another attempt."""
        for subscriber in [*self.members]:
            if subscriber.stays_after_end:
                continue
            self.remove(subscriber)
            try:
                subscriber.run_ended()
            except Exception as error:
                self._containment.record(error, "a subscriber", run_id)

    def detach(self) -> None:
        """Call the callbacks no more: nobody will be sent anything."""
        self._on_delivered, self._on_failed = _nothing, None

    def _send(self, batch: Batch, connections: Collection[Connection]) -> None:
        cut_off = broadcast(batch, connections, self._fail)
        self._metrics.deliveries += len(connections) * len(batch.frames)
        if cut_off:
            for subscriber in [subscriber for subscriber, connection in self.members.items() if connection in cut_off]:
                del self.members[subscriber]

    def _fail(self, connection: Connection, error: Exception) -> None:
        """A connection's `send` has raised: close it; the others of its run get their message."""
        self._containment.record(error, "a connection")
        try:
            connection.close(CloseCode.INTERNAL_ERROR, "an unexpected error")
        except Exception as other:
            self._containment.record(other, "a connection")

    def _done(self) -> None:
        assert self._batch is not None
        frames, self._batch = self._batch.frames, None
        self.idle.set()
        self._on_delivered(frames)

    def send(self, batch: Batch) -> None:
        """Send a batch that is no event of the log to all at once, exempt from their bounds."""
        for subscriber, connection in [*self.members.items()]:
            try:
                is_open = connection.send(batch, exempt=True)
            except Exception as error:
                self._fail(connection, error)
                is_open = False
            if not is_open:
                self.members.pop(subscriber, None)
