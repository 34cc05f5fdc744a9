"""Shared reads of a run (single flight): subscribers that join at the same cursor at about the same time share one
read.

So when thousands of clients reconnect at once, Redis is asked a few times. A read that is older than the subscriber is
as good as a new one while the events that were delivered since are kept here; the topic checks that. A read whose last
subscriber has gone is cancelled. If it was not sent yet, it costs nothing.
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
"""For so long a finished read is reused; what was delivered since is sent along with it."""
_MAX_RECENT: Final = 1_000


class Joinable(Protocol):
    """A topic as a join sees it."""

    def give_up(self, join: Join) -> None:
        """Forget a join that is over."""


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
        """Called once: with None when the subscriber is live, or with the error. Not called after `cancel`."""
        self.on_answer = on_answer
        """Called at most once: when the first read has ended, in any way."""
        self.over = False
        self.topic: Joinable | None = None
        self.reading: SharedRead | None = None

    def answered(self) -> None:
        """The first read has ended."""
        callback, self.on_answer = self.on_answer, None
        if callback is not None:
            callback(self)

    def end(self, error: Exception | None) -> None:
        """The join is over: the subscriber is live, or could not join."""
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


def _nothing(join: Join, outcome: Catchup | Exception) -> None:
    """In place of the callback of a topic that is not used any more."""


class SharedRead:
    """A read that is under way, or that is finished and reused."""

    __slots__ = ("key", "outcome", "view", "waiting")

    def __init__(self, key: tuple[Cursor | None, int], view: asyncio.Future[RunView]) -> None:
        self.key = key
        self.view = view
        self.waiting: dict[Join, None] = {}
        self.outcome: Catchup | Exception | None = None


def _outcome(view: asyncio.Future[RunView], after: Cursor | None) -> Catchup | Exception:
    """The result of a read that has ended. Its error is not raised here: the traceback would hold this frame, and the
    frame the error, a reference cycle for each read that fails.
    """
    if view.cancelled():
        return RunlogUnavailable("the read was cancelled")  # no join waits for it, or it would wait for ever
    error = view.exception()
    if isinstance(error, Exception):
        return error
    try:
        return Catchup.of(view.result(), after)
    except Exception as unexpected:
        return unexpected


class SharedReads:
    """A topic's reads for joins, and the frames that were delivered since they began.

    `then` is called with each join when its read has ended, and with its catch-up or the error. It does not raise.
    """

    def __init__(
        self,
        read: Callable[[Cursor | None, int], Awaitable[RunView]],
        then: Callable[[Join, Catchup | Exception], None],
    ) -> None:
        self.count = 0
        """How many joins are under way: while there is one, delivered frames are kept."""
        self._read = read
        self._then = then
        self._recent: deque[Frame] = deque(maxlen=_MAX_RECENT)
        self._retaining = False
        self._retention: asyncio.TimerHandle | None = None
        self._readings: dict[tuple[Cursor | None, int], SharedRead] = {}

    def begin(self, join: Join) -> None:
        """Read for a join, or share the read of another join."""
        key = join.after, join.subscriber.connection.resume_bytes
        reading = self._readings.get(key)
        if reading is None:
            self._retain()
            reading = self._readings[key] = SharedRead(key, asyncio.ensure_future(self._read(*key)))
            reading.view.add_done_callback(partial(self._answer, reading))
        if reading.outcome is None:
            join.reading = reading
            reading.waiting[join] = None
        else:
            self._then(join, reading.outcome)

    def leave(self, join: Join) -> None:
        """A join does not wait for its read any more. A read without a join is cancelled."""
        reading, join.reading = join.reading, None
        if reading is not None:
            reading.waiting.pop(join, None)
            if not reading.waiting and reading.outcome is None:
                self._stop_sharing(reading)
                reading.view.cancel()

    def _answer(self, reading: SharedRead, view: asyncio.Future[RunView]) -> None:
        outcome = reading.outcome = _outcome(view, reading.key[0])
        if isinstance(outcome, Exception):  # a failure of the joins that wait for this read
            self._stop_sharing(reading)
        waiting, reading.waiting = reading.waiting, {}
        for join in waiting:
            join.reading = None
            self._then(join, outcome)

    def _stop_sharing(self, reading: SharedRead) -> None:
        """Share this read with no further join."""
        if self._readings.get(reading.key) is reading:
            del self._readings[reading.key]

    def renew(self, join: Join) -> None:
        """The read that a join was given is out of date: the next join gets another."""
        reading = self._readings.get((join.after, join.subscriber.connection.resume_bytes))
        if reading is not None and reading.outcome is not None:
            self._stop_sharing(reading)

    def record(self, frames: Sequence[Frame]) -> None:
        """Keep frames that were delivered, while there are joins."""
        if self._retaining:
            self._recent.extend(frames)

    def since(self, reached: Cursor) -> list[Frame]:
        """The kept frames that were delivered after a position."""
        return [f for f in self._recent if f.cursor and f.cursor.epoch == reached.epoch and f.cursor.seq > reached.seq]

    def forget_delivered(self) -> None:
        """A new initial_state was sent: the frames before it lead to no position any more."""
        self._recent.clear()

    def _retain(self) -> None:
        """Keep delivered frames from now on, while there are joins, and 0.3 s longer for the next ones."""
        self._retaining = True
        if self._retention is None:
            self._retention = asyncio.get_running_loop().call_later(_RETAIN_S, self._forget)

    def _forget(self) -> None:
        """Stop reusing finished reads; if there are no joins, forget the frames that were kept."""
        self._retention = None
        self._readings = {key: reading for key, reading in self._readings.items() if reading.outcome is None}
        if self.count:
            self._retain()
        else:
            self._retaining = False
            self._recent.clear()

    def close(self) -> None:
        """Nobody joins for now: free what was read."""
        self._readings.clear()
        self._recent.clear()
        if self._retention is not None:
            self._retention.cancel()
            self._retention = None

    def discard(self) -> None:
        """Nobody will join any more: let the topic go."""
        self.close()
        self._then = _nothing
