"""Shared reads of a run (single flight): subscribers that begin at the same cursor at about the same time share one.

A read that is older than the subscriber is as good as a new one while the events that were delivered since are kept
here; the topic checks that. So when thousands of clients come back at once, Redis is asked a few times. A read whose
last subscriber has gone is cancelled: before it is sent, it costs nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol

from ..errors import RunlogUnavailable
from ..progress import Cursor
from ..runlog import RunView
from .catchup import Catchup
from .frames import Frame
from .subscribers import Subscriber

__all__ = ["Join", "Joinable", "SharedReads"]

_RETAIN_S: Final = 0.3
"""For how long a read serves others: what was delivered since is sent to each of them."""
_MAX_RECENT: Final = 1_000


class Joinable(Protocol):
    """What a join leads into: a topic."""

    def give_up(self, join: Join) -> None:
        """Let go of a join that is over."""


class Join:
    """A subscriber on its way into a topic: waiting for its turn, for its read, or for a repair."""

    __slots__ = ("after", "on_answer", "on_end", "over", "reading", "run_id", "subscriber", "topic")

    def __init__(
        self,
        run_id: str,
        subscriber: Subscriber,
        after: Cursor | None,
        on_end: Callable[[Join, Exception | None], None],
        on_answer: Callable[[Join], None] | None = None,
    ) -> None:
        self.run_id = run_id
        self.subscriber = subscriber
        self.after = after
        self.on_end = on_end
        """Called once: when the subscriber is live, or with why it has not joined. Not after `cancel`."""
        self.on_answer = on_answer
        """Called once at most: when the first read that it waits for has ended in any way."""
        self.over = False
        self.topic: Joinable | None = None
        self.reading: Reading | None = None

    def answered(self) -> None:
        """The first read has ended."""
        told, self.on_answer = self.on_answer, None
        if told is not None:
            told(self)

    def end(self, error: Exception | None) -> None:
        """It is over: the subscriber has joined, or could not."""
        if not self.over:
            self._leave()
            self.on_end(self, error)

    def cancel(self) -> None:
        """The subscriber has gone."""
        if not self.over:
            self._leave()

    def _leave(self) -> None:
        self.over = True
        topic, self.topic = self.topic, None
        if topic is not None:
            topic.give_up(self)
        self.answered()


class Reading:
    """A read under way, or one that is over and still serves."""

    __slots__ = ("key", "outcome", "view", "waiting")

    def __init__(self, key: tuple[Cursor | None, int], view: asyncio.Future[RunView]) -> None:
        self.key = key
        self.view = view
        self.waiting: dict[Join, None] = {}
        self.outcome: Catchup | Exception | None = None


class SharedReads:
    """What a topic keeps for those who join it.

    `then` gets each join when its read has ended, with what it begins with or with what went wrong. It does not raise.
    """

    def __init__(
        self,
        read: Callable[[Cursor | None, int], Awaitable[RunView]],
        then: Callable[[Join, Catchup | Exception], None],
    ) -> None:
        self.count = 0
        """How many are joining: while somebody is, what is delivered is kept."""
        self._read = read
        self._then = then
        self._recent: deque[Frame] = deque(maxlen=_MAX_RECENT)
        self._retaining = False
        self._retention: asyncio.TimerHandle | None = None
        self._readings: dict[tuple[Cursor | None, int], Reading] = {}

    def begin(self, join: Join) -> None:
        """Read what a join begins with, or share what another has read or is reading."""
        key = join.after, join.subscriber.connection.resume_bytes
        reading = self._readings.get(key)
        if reading is None:
            self._retain()
            reading = self._readings[key] = Reading(key, asyncio.ensure_future(self._read(*key)))
            reading.view.add_done_callback(partial(self._answer, reading))
        if reading.outcome is None:
            join.reading = reading
            reading.waiting[join] = None
        else:
            self._then(join, reading.outcome)

    def leave(self, join: Join) -> None:
        """A join does not wait for its read any more. The last one's is given up."""
        reading, join.reading = join.reading, None
        if reading is not None:
            reading.waiting.pop(join, None)
            if not reading.waiting and reading.outcome is None:
                self._let_go(reading)
                reading.view.cancel()

    def _answer(self, reading: Reading, view: asyncio.Future[RunView]) -> None:
        outcome: Catchup | Exception
        try:
            if view.cancelled():  # nobody waits; were it otherwise, they would wait for ever
                raise RunlogUnavailable("the read was given up")
            outcome = Catchup.of(view.result(), reading.key[0])
        except Exception as error:  # those who wait for it are told; it is nobody else's
            outcome = error
            self._let_go(reading)
        reading.outcome = outcome
        waiting, reading.waiting = reading.waiting, {}
        for join in waiting:
            join.reading = None
            self._then(join, outcome)

    def _let_go(self, reading: Reading) -> None:
        """Whoever asks from now on has another read."""
        if self._readings.get(reading.key) is reading:
            del self._readings[reading.key]

    def discard(self, join: Join) -> None:
        """The read that a join began with was out of date: the next one who asks has another."""
        reading = self._readings.get((join.after, join.subscriber.connection.resume_bytes))
        if reading is not None and reading.outcome is not None:
            self._let_go(reading)

    def record(self, frames: Sequence[Frame]) -> None:
        """Frames of the log were delivered."""
        if self._retaining:
            self._recent.extend(frames)

    def since(self, reached: Cursor) -> list[Frame]:
        """What was delivered after a position, as far as it was kept."""
        return [f for f in self._recent if f.cursor and f.cursor.epoch == reached.epoch and f.cursor.seq > reached.seq]

    def forget_delivered(self) -> None:
        """What was delivered so far leads to no position any more: a new initial_state came."""
        self._recent.clear()

    def _retain(self) -> None:
        """Keep what is delivered from now on, for as long as anyone joins, and a little longer for who comes next."""
        self._retaining = True
        if self._retention is None:
            self._retention = asyncio.get_running_loop().call_later(_RETAIN_S, self._forget)

    def _forget(self) -> None:
        """Share no read that is over; and, unless somebody waits for one, let go of what was kept for joins."""
        self._retention = None
        self._readings = {key: reading for key, reading in self._readings.items() if reading.outcome is None}
        if self.count:
            self._retain()
        else:
            self._retaining = False
            self._recent.clear()

    def close(self) -> None:
        """Nobody joins any more. What was read is let go of now: topics are rings, and wait for the collector."""
        self._readings.clear()
        self._recent.clear()
        if self._retention is not None:
            self._retention.cancel()
