"""The queue of joins: whose turn it is to begin, and how many may wait.

Nothing is held for a join that waits here but its place: no task, no topic, no read.

Fairness
--------
Connections take turns, not joins. A connection that asks for 4,000 runs has one join begun for each that another
connection has, so whoever asks for one run waits for at most one join of each connection that waits, however many
those wait for. `at_once` reads are under way at most (two batches of a pipelined connection), so a turn comes soon. A
join whose first read has ended gives its place back, though it may wait on: for a repair of its run, which nobody
else's join must wait for.

A client that does not read
---------------------------
No more joins are begun for a connection than `BEGINNINGS_AT_ONCE`, and none while what it was sent first of other runs
still waits for it. So whoever subscribes to hundreds of runs over a slow link gets them one after another, and whoever
reads nothing costs one such helping. The rest keep their places here, until the connection is gone at the latest.

The bound
---------
`most` joins wait at most, those that were given up and whose turn has not come included (they are dropped then). Beyond
it a join is refused, and its client told when to come back. The last fifth is kept for connections with nothing waiting
here: those who have filled the rest do not shut out who wants one run.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from ..codes import CloseCode
from ..errors import Refusal, RunlogUnavailable
from ..progress import Cursor
from .bounds import BEGINNINGS_AT_ONCE
from .connections import Connection
from .shared_reads import Join
from .subscribers import Subscriber

__all__ = ["JoinQueue"]

log = logging.getLogger(__name__)

AT_ONCE: Final = 128
_PAUSE_S: Final = 0.2
_SAID_EVERY_S: Final = 10.0
_KEPT: Final = 5
"""One part of so many is for connections with nothing waiting."""


class JoinQueue:
    """Joins that wait for their turn, and how many are under way."""

    def __init__(
        self,
        begin: Callable[[Join], None],
        refuse: Callable[[Join, Exception], None],
        most: int,
        *,
        at_once: int = AT_ONCE,
        on_put_off: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            on_put_off: a join could not read, though the queue is open.
        """
        self.waiting = 0
        self._begin = begin
        self._refuse = refuse
        self._most = most
        self._joins: dict[Subscriber, Join] = {}
        """All that are not over, by who joins."""
        self._at_once = at_once
        self._under_way = 0
        self._lines: dict[object, deque[Join]] = {}
        self._turns: deque[object] = deque()
        """Who has a line, the next one first."""
        self._begun: dict[object, int] = {}
        """How many are under way of each who has any."""
        self._held: set[object] = set()
        """Who has a line but no turn, as many are under way."""
        self._open = False
        self._going_on = False
        self._on_put_off = on_put_off
        self._put_off = 0
        self._said_s = 0.0

    @property
    def under_way(self) -> int:
        """How many joins are being read for."""
        return self._under_way

    @property
    def is_full(self) -> bool:
        """Whether nobody may wait any more."""
        return self.waiting >= self._most

    def join(self, run_id: str, subscriber: Subscriber, after: Cursor | None) -> None:
        """Begin a join when it is its turn, which may be at once; and again until the run log could be read.

        Raises:
            Refusal: 4429, too many wait.
        """
        most = self._most if subscriber.connection not in self._lines else self._most - self._most // _KEPT
        if self.waiting >= most:
            reason = f"too many wait to be told of their run: {self.waiting} of {most}; come back in some seconds"
            raise Refusal(CloseCode.TOO_MANY, reason, 5)
        self._append(self._made(run_id, subscriber, after))
        self.go_on()

    def leave(self, subscriber: Subscriber) -> None:
        """The subscriber has gone, whether it has joined or not."""
        join = self._joins.pop(subscriber, None)
        if join is not None:
            join.cancel()

    def _made(self, run_id: str, subscriber: Subscriber, after: Cursor | None) -> Join:
        join = self._joins[subscriber] = Join(run_id, subscriber, after, self._ended)
        return join

    def _ended(self, join: Join, error: Exception | None) -> None:
        self._joins.pop(join.subscriber, None)
        if isinstance(error, RunlogUnavailable):
            self._say_put_off(join.run_id, error)
            again = self._made(join.run_id, join.subscriber, join.after)
            asyncio.get_running_loop().call_later(_PAUSE_S, self._again, again)
        elif error is not None:
            self._refuse(join, error)

    def _say_put_off(self, run_id: str, error: Exception) -> None:
        """Say now and then that joins wait, for all of them together: thousands may."""
        self._put_off += 1
        now_s = asyncio.get_running_loop().time()
        if now_s - self._said_s > _SAID_EVERY_S:
            log.info("joins put off, %d so far; now of run %r: %s", self._put_off, run_id, error)
            self._said_s = now_s
        if self._open:
            self._on_put_off()

    def _again(self, join: Join) -> None:
        self._append(join)  # whatever the bound says: it was let in before
        self.go_on()

    def _append(self, join: Join) -> None:
        whose = self._whose(join)
        line = self._lines.get(whose)
        if line is None:
            line = self._lines[whose] = deque()
            self._turns.append(whose)
        line.append(join)
        self.waiting += 1

    def _whose(self, join: Join) -> object:
        """In whose line a join waits."""
        return join.subscriber.connection

    def open(self) -> None:
        """Reads can be answered: begin."""
        self._open = True
        self.go_on()

    def shut(self) -> None:
        """Reads cannot be answered: let everybody wait."""
        self._open = False

    def go_on(self) -> None:
        """Begin as many as may be under way."""
        if self._going_on:  # catchup one may end it at once, which comes back here
            return
        self._going_on = True
        try:
            while self._open and self._turns and self._under_way < self._at_once:
                join = self._next()
                if join is not None:
                    self._under_way += 1
                    join.on_answer = self._answered
                    self._begin(join)
        finally:
            self._going_on = False

    def _next(self) -> Join | None:
        """The next connection's next join; None if it had none left that anybody waits for, or may begin none now."""
        whose = self._turns.popleft()
        line = self._lines[whose]
        while line and line[0].over:
            line.popleft()
            self.waiting -= 1
        if not line:
            del self._lines[whose]
            return None
        if not self._may_begin(whose, line[0].subscriber.connection):
            return None
        join = line.popleft()
        self.waiting -= 1
        self._begun[whose] = self._begun.get(whose, 0) + 1
        if line:
            self._turns.append(whose)
        else:
            del self._lines[whose]
        return join

    def _may_begin(self, whose: object, connection: Connection) -> bool:
        """Whether the client has taken what was begun for it. If it has not, it has a turn again as soon as it has."""
        if self._begun.get(whose, 0) >= BEGINNINGS_AT_ONCE:
            self._held.add(whose)
            return False
        return connection.when_drained(partial(self._drained, whose))

    def _drained(self, whose: object) -> None:
        self._turns.append(whose)
        self.go_on()

    def _answered(self, join: Join) -> None:
        self._under_way -= 1
        whose = self._whose(join)
        self._begun[whose] -= 1
        if not self._begun[whose]:
            del self._begun[whose]
        if whose in self._held:
            self._held.discard(whose)
            self._turns.append(whose)
        self.go_on()
