"""The queue of joins: which one begins next, and how many may wait.

A join that waits is only an object in a queue: it has no task, no topic and no read.

Fairness -------- Connections take turns, not joins. For a connection that wants 4,000 runs, one join begins for each
one of another connection. So a client that wants one run waits for at most one join of each waiting connection, however
many runs these want. At most `at_once` reads are under way (two batches of a pipelined connection), so a turn comes
soon. When a join's first read has ended, the next join may begin, even if this one waits on for a repair of its run.

A client that does not read (backpressure) ------------------------------------------ At most `CATCHUPS_AT_ONCE` joins
are under way for one connection, and none begins while a catch-up of another run still waits for the client. So a
client that subscribes to hundreds of runs over a slow link gets them one after another, and a client that reads nothing
costs one such set. The other joins wait here, until the connection is gone at the latest.

The bound --------- At most `most` joins wait, including those that are over but whose turn has not come (they are
dropped then). Beyond it a join is refused, and its client told when to come back. The last fifth is reserved for
connections without a waiting join: clients that have filled the rest do not shut out a client that wants one run.
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
from .bounds import CATCHUPS_AT_ONCE
from .connections import Connection
from .shared_reads import Join
from .subscribers import Subscriber

__all__ = ["JoinQueue"]

log = logging.getLogger(__name__)

AT_ONCE: Final = 128
_PAUSE_S: Final = 0.2
_LOG_EVERY_S: Final = 10.0
_RESERVED: Final = 5
"""One part of so many is for connections without a waiting join."""


class JoinQueue:
    """Joins that wait for their turn, and the number of those under way."""

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
            begin: starts a join.
            refuse: is told of a join that has failed, with its error.
            most: how many joins may wait.
            on_put_off: is called when a join could not read, though the queue is open.
        """
        self.waiting = 0
        self._begin = begin
        self._refuse = refuse
        self._most = most
        self._joins: dict[Subscriber, Join] = {}
        """All joins that are not over, by subscriber."""
        self._at_once = at_once
        self._under_way = 0
        self._queues: dict[object, deque[Join]] = {}
        self._turns: deque[object] = deque()
        """Connections with a queue, in the order of their turns."""
        self._begun: dict[object, int] = {}
        """How many joins are under way, by connection."""
        self._held: set[object] = set()
        """Connections with a queue but no turn, as enough of their joins are under way."""
        self._open = False
        self._starting = False
        self._on_put_off = on_put_off
        self._put_off = 0
        self._logged_s = 0.0

    @property
    def under_way(self) -> int:
        """How many joins have begun and wait for their first read."""
        return self._under_way

    @property
    def is_full(self) -> bool:
        """Whether no further join may wait."""
        return self.waiting >= self._most

    def join(self, run_id: str, subscriber: Subscriber, after: Cursor | None) -> None:
        """Begin a join when its turn comes, which may be at once; again, until the run log could be read.

        Raises:
            Refusal: 4429, too many joins wait.
        """
        most = self._most if subscriber.connection not in self._queues else self._most - self._most // _RESERVED
        if self.waiting >= most:
            reason = f"too many joins wait for their turn: {self.waiting} of {most}; come back in some seconds"
            raise Refusal(CloseCode.TOO_MANY, reason, 5)
        self._append(self._new_join(run_id, subscriber, after))
        self._start_joins()

    def leave(self, subscriber: Subscriber) -> None:
        """The subscriber has left, whether it has joined or not."""
        join = self._joins.pop(subscriber, None)
        if join is not None:
            join.cancel()

    def _new_join(self, run_id: str, subscriber: Subscriber, after: Cursor | None) -> Join:
        join = self._joins[subscriber] = Join(run_id, subscriber, after, self._ended)
        return join

    def _ended(self, join: Join, error: Exception | None) -> None:
        self._joins.pop(join.subscriber, None)
        if isinstance(error, RunlogUnavailable):
            self._log_put_off(join.run_id, error)
            again = self._new_join(join.run_id, join.subscriber, join.after)
            asyncio.get_running_loop().call_later(_PAUSE_S, self._retry, again)
        elif error is not None:
            self._refuse(join, error)

    def _log_put_off(self, run_id: str, error: Exception) -> None:
        """Log every 10 s that joins wait, one line for all of them: there may be thousands."""
        self._put_off += 1
        now_s = asyncio.get_running_loop().time()
        if now_s - self._logged_s > _LOG_EVERY_S:
            log.info("joins are put off, %d so far; the last one of run %r: %s", self._put_off, run_id, error)
            self._logged_s = now_s
        if self._open:
            self._on_put_off()

    def _retry(self, join: Join) -> None:
        self._append(join)  # the bound does not apply: it was accepted before
        self._start_joins()

    def _append(self, join: Join) -> None:
        owner = self._owner(join)
        queue = self._queues.get(owner)
        if queue is None:
            queue = self._queues[owner] = deque()
            self._turns.append(owner)
        queue.append(join)
        self.waiting += 1

    def _owner(self, join: Join) -> object:
        """Whose turn a join needs: connections take turns."""
        return join.subscriber.connection

    def open(self) -> None:
        """The run log can be read: begin joins."""
        self._open = True
        self._start_joins()

    def shut(self) -> None:
        """The run log cannot be read: let all joins wait."""
        self._open = False

    def _start_joins(self) -> None:
        """Begin joins, as many as may be under way."""
        if self._starting:  # a join that ends at once calls this again
            return
        self._starting = True
        try:
            while self._open and self._turns and self._under_way < self._at_once:
                join = self._next()
                if join is not None:
                    self._under_way += 1
                    join.on_answer = self._answered
                    self._begin(join)
        finally:
            self._starting = False

    def _next(self) -> Join | None:
        """The next connection's next join; None if all of its joins are over, or none may begin now."""
        owner = self._turns.popleft()
        queue = self._queues[owner]
        while queue and queue[0].over:
            queue.popleft()
            self.waiting -= 1
        if not queue:
            del self._queues[owner]
            return None
        if not self._may_begin(owner, queue[0].subscriber.connection):
            return None
        join = queue.popleft()
        self.waiting -= 1
        self._begun[owner] = self._begun.get(owner, 0) + 1
        if queue:
            self._turns.append(owner)
        else:
            del self._queues[owner]
        return join

    def _may_begin(self, owner: object, connection: Connection) -> bool:
        """Whether the client has taken its catch-ups. If not, its connection has a turn again as soon as it has."""
        if self._begun.get(owner, 0) >= CATCHUPS_AT_ONCE:
            self._held.add(owner)
            return False
        return connection.when_drained(partial(self._drained, owner))

    def _drained(self, owner: object) -> None:
        self._turns.append(owner)
        self._start_joins()

    def _answered(self, join: Join) -> None:
        self._under_way -= 1
        owner = self._owner(join)
        self._begun[owner] -= 1
        if not self._begun[owner]:
            del self._begun[owner]
        if owner in self._held:
            self._held.discard(owner)
            self._turns.append(owner)
        self._start_joins()
