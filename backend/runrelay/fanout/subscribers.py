"""The subscribers: a run's live subscribers in this process, and the batch that is on its way to them."""

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
    """One watching of one run by one client."""

    connection: Connection

    def run_ended(self) -> None:
        """The run has ended some seconds ago: nothing more comes."""

    def run_failed(self, error: Exception) -> None:
        """The run cannot be followed any more, as it is no run (NotARun) or for a fault here: nothing more comes."""


class Subscribers:
    """Subscribers_ who have all been sent the same, or are being sent it.

    A batch to many takes several turns of the loop, so that nothing else has to wait for it. There is one at a time.
    Who is added meanwhile gets it last; who is removed, or cut off, gets no more of it.
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
        """Set while nothing is on its way."""
        self.idle.set()
        self._metrics = metrics
        self._on_delivered = on_delivered
        self._containment = containment or Containment(metrics)
        self._on_failed = on_failed
        self._batch: Batch | None = None
        self._waiting: deque[Subscriber] = deque()

    @property
    def is_delivering(self) -> bool:
        """Whether a batch is on its way."""
        return self._batch is not None

    def add(self, subscriber: Subscriber) -> None:
        """From now on this subscriber gets what is being delivered, and all that follows."""
        self.members[subscriber] = subscriber.connection
        if self._batch is not None:
            self._waiting.append(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Send this subscriber nothing more."""
        self.members.pop(subscriber, None)

    def deliver(self, frames: Sequence[Frame]) -> None:
        """Send frames to everybody; `on_delivered` is called when that is done, which may be before this returns."""
        self._batch = Batch(frames)
        self.idle.clear()
        if len(self.members) <= _SUBSCRIBERS_PER_TURN:  # nobody comes or goes within a turn: no queue is needed
            self._send(self._batch, self.members.values())
            self._done()
        else:
            self._waiting.extend(self.members)
            self._go_on()

    def _go_on(self) -> None:
        """Send to the next part of them; the loop has a turn between two parts."""
        members, waiting = self.members, self._waiting
        assert self._batch is not None
        part = [waiting.popleft() for _ in range(min(len(waiting), _SUBSCRIBERS_PER_TURN))]
        self._send(self._batch, [members[subscriber] for subscriber in part if subscriber in members])
        if waiting:
            asyncio.get_running_loop().call_soon(self._go_on_later)
        else:
            self._done()

    def _go_on_later(self) -> None:
        """As `_go_on`, but called by the loop, to which an exception would say nothing."""
        if self._batch is None:
            return  # it was given up meanwhile
        try:
            self._go_on()
        except Exception as error:
            if self._on_failed is None:
                raise
            self._on_failed(error)

    def give_up(self) -> None:
        """Tell nobody anything any more: what was on its way stays so, and everybody has left."""
        self.members.clear()
        self._waiting.clear()
        self._batch = None
        self.idle.set()

    def _send(self, batch: Batch, connections: Collection[Connection]) -> None:
        cut_off = broadcast(batch, connections, self._fail)
        self._metrics.deliveries += len(connections) * len(batch.frames)
        if cut_off:
            for subscriber in [subscriber for subscriber, connection in self.members.items() if connection in cut_off]:
                del self.members[subscriber]

    def _fail(self, connection: Connection, error: Exception) -> None:
        """A connection's `send` has raised: close it; the others of its run get their message."""
        self._containment.note(error, "a connection")
        try:
            connection.close(CloseCode.INTERNAL_ERROR, "an unexpected error")
        except Exception as other:
            self._containment.note(other, "a connection")

    def _done(self) -> None:
        assert self._batch is not None
        frames, self._batch = self._batch.frames, None
        self.idle.set()
        self._on_delivered(frames)

    def send(self, batch: Batch) -> None:
        """Send what is no step of the log to everybody at once, as what is exempt from their bounds."""
        for subscriber, connection in [*self.members.items()]:
            try:
                is_open = connection.send(batch, exempt=True)
            except Exception as error:
                self._fail(connection, error)
                is_open = False
            if not is_open:
                self.members.pop(subscriber, None)
