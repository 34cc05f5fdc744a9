"""The run log for asyncio: reads for many viewers, and the relay's own commits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import NoScriptError, RedisError

from ..errors import CommitRefused, RunlogError, RunlogUnavailable
from ..progress import Cursor, Event, Snapshot, is_ended
from .commit_connection import CommitConnection
from .commits import (
    Batch,
    Committed,
    ProducerSequence,
    Retention,
    RunLogSettings,
    refusal,
)
from .given_up import FIELDS, GivenUp, parse_given_up
from .keys import Keys
from .listing import escaped, hashes, listed, prune, silent_since
from .past_attempts import attempt_fields, parse_attempts
from .pipelined import Pipelined
from .reads import (
    LISTED_BY_SETTING,
    LOG_BYTES,
    LOG_LINES,
    SUMMARY_FIELDS,
    LogPage,
    RunView,
    names,
    page_args,
    parse_page,
    parse_position,
    parse_status,
    parse_summary,
    parse_view,
    read_args,
)
from .scripts import DELETE, EXPIRE_HEARTBEATS, LEASE, LOG_PAGE, READ, RIGHTS, Script
from .server_identity import LINK_ERRORS, judged, of_run
from .topology import AsyncTopology
from .troubles import DeniedCommand, parse_denied, rights_args

__all__ = ["AsyncRunLog"]

log = logging.getLogger(__name__)


class AsyncRunLog:
    """The run log of one event loop.

    It has several connections, so that one kind of command does not wait for another:

    - commits, one after the other;
    - control (probes, markers, leases, the clock): always few commands, so that thousands of subscribers neither end a
      lease nor make Redis look dead;
    - reads of runs, pipelined; polls and new subscribers go before repairs (see pipelined.py);
    - commands about many runs (positions, summaries), pipelined;
    - a pool for all other commands, which are rare or have large replies.

    Every method raises `RunlogUnavailable` when Redis cannot be reached or cannot write. Load alone never raises it:
    commands that wait in this process' queues have no deadline.

    Raises:
        ValueError: no server can be reached by this URL.
    """

    def __init__(
        self,
        redis_url: str,
        keys: Keys | None = None,
        retention: Retention | None = None,
        *,
        timeout_s: float = 5.0,
        connect_timeout_s: float = 2.0,
        max_connections: int = 32,
        list_data: bool = False,
    ) -> None:
        self.keys = keys or Keys()
        self.retention = retention or Retention()
        self._summary_fields = SUMMARY_FIELDS + LISTED_BY_SETTING if list_data else SUMMARY_FIELDS
        self._timeout_s = timeout_s
        # No socket_timeout: with one, redis-py sends under `asyncio.wait_for`, which in Python 3.11 loses a
        # cancellation that comes just when the sending is done. A cancelled task would go on. So the timeouts are in
        # this class.
        options: dict[str, Any] = {"protocol": 2, "socket_timeout": None, "socket_connect_timeout": connect_timeout_s}
        self.topology = AsyncTopology(redis_url)
        self._pool: ConnectionPool = self.topology.pool(**options)
        self.redis: Redis = Redis(connection_pool=self._pool)
        self._pooled = asyncio.Semaphore(max_connections)
        self._control = Pipelined(self._pool, "control", timeout_s=timeout_s)
        self._reads = Pipelined(self._pool, "reads", timeout_s=timeout_s)
        self._lists = Pipelined(self._pool, "lists", timeout_s=timeout_s, most=500)
        self._committing = asyncio.Lock()
        self._commits = CommitConnection(
            self._pool, self.topology.place, self.keys, self.retention, timeout_s=timeout_s
        )

    @classmethod
    def from_settings(cls, settings: RunLogSettings, *, list_data: bool = False) -> AsyncRunLog:
        """The run log that settings name.

        Args:
            list_data: let `summaries` read the runs' data, too.
        """
        return cls(settings.redis_url, settings.keys(), settings.retention(), list_data=list_data)

    async def close(self) -> None:
        """Close all connections. Commands that wait fail with RunlogUnavailable."""
        await self._commits.close(wait=True)
        for pipelined in (self._control, self._reads, self._lists):
            await pipelined.close()
        await self.redis.aclose()
        await self._pool.disconnect()

    # Reads

    @property
    def reads_sent(self) -> int:
        """Number of reads of runs that were sent to Redis."""
        return self._reads.sent

    def read(
        self,
        run_id: str,
        after: Cursor | None = None,
        *,
        event_bytes: int = 1 << 20,
        log_lines: int | None = None,
        log_bytes: int = LOG_BYTES,
        later: bool = False,
    ) -> asyncio.Future[RunView]:
        """Read a run in one atomic step: snapshot, newest log lines, and the events after a cursor.

        Args:
            after: read the messages after this position; None reads none.
            event_bytes: bytes of messages at most; `RunView.events` is None if there are more.
            log_lines: lines of the log at most; by default 1,000 of those that are to be kept, 0 for none.
            log_bytes: bytes of the log at most.
            later: let other reads go first.

        The future's exception is NotARun if the key is not a run's. If it is cancelled before the read is sent, the
        read is not sent.
        """
        lines = min(LOG_LINES, self.retention.log_lines) if log_lines is None else log_lines
        args = read_args(self.keys, run_id, after, event_bytes=event_bytes, log_lines=lines, log_bytes=log_bytes)
        # A reply that may be much larger than a snapshot must not delay the replies behind it.
        way = self._reads if log_bytes <= LOG_BYTES else self._lists
        return way.run(READ, 3, args, parse=partial(parse_view, run_id), later=later, run_id=run_id)

    def log_page(self, run_id: str, before: int | None, lines: int) -> asyncio.Future[LogPage | None]:
        """Read up to `lines` lines of a log, at most 256 KiB of them, in one atomic step.

        Args:
            before: the lines that come right before the one of this number; None: the newest.

        The future's result is None if there is no such run, its exception NotARun if the key is not a run's.
        """
        args = page_args(self.keys, run_id, before, lines)
        return self._lists.run(LOG_PAGE, 2, args, parse=partial(parse_page, run_id), run_id=run_id)

    async def attempts(self, run_id: str, current: int) -> list[dict[str, Any]]:
        """The attempts before the current one, oldest first, at most ten: `attempt status error result ended_in
        started_at finished_at` of each.
        """
        names = attempt_fields(current)
        if not names:
            return []
        values: list[bytes | None] = await self._lists.call("HMGET", self.keys.run(run_id)[0], *names)
        return parse_attempts(values)

    async def positions(self, run_ids: Sequence[str]) -> list[Cursor | None]:
        """The cursors of these runs' logs; None for a run that is gone, or a key that is not a run's."""
        rows = await self._rows(run_ids, ("epoch", "seq"))
        return [parse_position(epoch, seq) for epoch, seq in rows]

    async def summaries(self, run_ids: Sequence[str]) -> list[tuple[Snapshot | None, int | None]]:
        """Snapshots without logs, steps and result; with each the time of its last heartbeat (Unix ms).

        None for a run that is gone, and for a key that is not a run's.
        """
        fields = self._summary_fields
        rows = await self._rows(run_ids, fields)
        return [parse_summary(run_id, row, fields) for run_id, row in zip(run_ids, rows, strict=True)]

    async def _rows(self, run_ids: Sequence[str], fields: Sequence[str]) -> list[list[Any]]:
        answers = [self._lists.call("HMGET", self.keys.run(run_id)[0], *fields) for run_id in run_ids]
        return hashes(await asyncio.gather(*answers, return_exceptions=True), len(fields))

    async def listed(self, before: tuple[int, str] | None, count: int) -> list[tuple[str, int]]:
        """Run ids with their times of update, newest first, after a position of the list.

        Entries of one time come in reverse bytewise order, so that a position is a time and an id.
        """
        async with self._reading() as redis:
            return await listed(redis, self.keys, before, count)

    async def prune(self, count: int = 500) -> list[str]:
        """Remove entries from the list and from the heartbeats that no commit and no worker has made.

        These are names that are no run ids, and times that are impossible. A run with an impossible time is removed,
        too: it would stay first or last for ever, because entries only move up. A run whose heartbeat is in the future
        would never be found silent: its heartbeat is set to now.

        Returns:
            The removed entries that may be runs. The caller enters them again with the time in their own hash.
        """
        now_ms = await self.server_now_ms()
        async with self._reading() as redis:
            return await prune(redis, self.keys, now_ms, count)

    async def run_ids(self, match_count: int = 500) -> AsyncIterator[list[str]]:
        """All run ids, in portions, by scanning the keys: for the repair of the list."""
        cursor = 0
        while True:
            async with self._reading() as redis:
                cursor, found = await redis.scan(
                    cursor, match=f"{escaped(self.keys.prefix)}:run:*}}", count=match_count, _type="HASH"
                )
            ids = [self.keys.run_id_of(key) for key in names(found)]
            yield [run_id for run_id in ids if run_id is not None]
            if cursor == 0:
                return

    async def given_up(self) -> GivenUp | None:
        """What publishers have given up in the last days, if anything."""
        try:
            return parse_given_up(await self._control.call("HMGET", self.keys.given_up, *FIELDS))
        except RunlogUnavailable:
            raise
        except RunlogError:  # a foreign key under this name
            return None

    # Writes

    async def commit(
        self, run_id: str, events: Sequence[Event], sequence: ProducerSequence | None = None, *, tries: int = 3
    ) -> Committed:
        """Commit events of one run. The sequence advances when they are known to be committed.

        If a reply is lost, the same numbers are sent again, up to `tries` times in all: the commit is idempotent.
        Without a `sequence` the events get a producer of their own, whose mark is removed when they are committed.

        Raises:
            CommitRefused: a condition of the first event did not hold (RunExists, RunNotEnded).
            RunlogUnavailable: it is not known whether they are committed. With the caller's own `sequence` the same
            call
                may be made again. The same holds after a cancellation.
        """
        only, sequence = sequence is None, sequence or ProducerSequence.fresh()
        batch = Batch(run_id, sequence.producer, sequence.next, events)
        async with self._committing:
            # In doubt until the first try is answered; for ever if it never is.
            doubt, sequence.in_doubt = sequence.in_doubt, True
            for left in range(tries - 1, -1, -1):
                try:
                    done = await self._commits.commit(batch)
                    sequence.in_doubt = doubt
                    break
                except RunlogUnavailable:
                    doubt = True
                    if not left:
                        raise
                except CommitRefused as error:
                    sequence.in_doubt = doubt
                    raise refusal(events[0], error) from None
                except RunlogError as error:
                    raise of_run(run_id, error) from error
            sequence.next += len(events)
            if only and not sequence.in_doubt:
                await self._commits.delete_mark(run_id, sequence.producer)
        if done.created or done.status_changed:
            try:
                await self.index({run_id: done.updated_at})
            except RunlogError as error:
                # It is committed: a caller that got an error would commit it twice. The list is repaired later.
                log.warning("run %r is not entered in the list: %s", run_id, error)
        return done

    async def index(self, updated_at: dict[str, int]) -> None:
        """Enter runs in the list of runs with their times of update (Unix ms)."""
        if updated_at:
            async with self._reading() as redis:
                await redis.zadd(self.keys.runs, updated_at, gt=True)

    async def silent_since(self, before_ms: int, count: int = 500) -> list[str]:
        """Runs whose workers were last heard of before a time (Unix ms), the longest silent first."""
        async with self._reading() as redis:
            return await silent_since(redis, self.keys, before_ms, count)

    async def stop_watching(self, run_ids: Sequence[str], before_ms: int) -> None:
        """Remove the heartbeats of these runs. A heartbeat that came after `before_ms` stays."""
        if run_ids:
            await self._control.run(EXPIRE_HEARTBEATS, 1, [self.keys.alive, before_ms, *run_ids])

    async def unlist(self, run_ids: Sequence[str]) -> None:
        """Remove runs from the list."""
        if run_ids:
            async with self._reading() as redis:
                await redis.zrem(self.keys.runs, *run_ids)

    async def delete(self, run_id: str) -> str | None:
        """Delete an ended run. Returns its status; None if there is no such run.

        A run that has not ended is not changed.
        """
        reply = await self._run_script(DELETE, run_id, list(self.keys.run(run_id)))
        status = None if reply is None else parse_status(run_id, reply)
        if status is None or is_ended(status):
            try:
                await self.unlist([run_id])
            except RunlogError as error:  # it is deleted, and reading the list prunes the list
                log.warning("run %r is not taken out of the list: %s", run_id, error)
        return status

    def publish(self, channel: str, message: bytes, *, again: bool = False) -> asyncio.Future[int]:
        """Publish a message on a channel. Returns the number of subscribers.

        Args:
            again: publish it a second time if the connection breaks before the reply comes.
        """
        return self._control.call("PUBLISH", channel, message, again=again)

    async def take_lease(self, name: str, owner: str, duration_ms: int) -> bool:
        """Take or renew a lease. True: `owner` holds it for `duration_ms` from the start of this call."""
        return bool(await self._control.run(LEASE, 1, [self.keys.lease(name), owner, duration_ms]))

    def denied(self, *, everything: bool) -> asyncio.Future[list[DeniedCommand]]:
        """The commands of relays that Redis refuses. See rights.lua.

        Args:
            everything: try also what a join does not need; that writes to Redis' log.
        """
        return self._control.run(RIGHTS, 0, rights_args(self.keys, everything=everything), parse=parse_denied)

    async def server_now_ms(self) -> int:
        """Redis' clock in Unix milliseconds."""
        seconds, micros = await self._control.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Any]:
        async with self._pooled:
            try:
                async with asyncio.timeout(self._timeout_s):
                    yield self.redis
            except (*LINK_ERRORS, RedisError) as error:
                raise judged(error) from error

    async def _script(self, script: Script, args: Sequence[Any], *, keys: int = 3) -> Any:
        async with self._reading() as redis:
            try:
                return await redis.evalsha(script.sha, keys, *args)
            except NoScriptError:
                return await redis.eval(script.text, keys, *args)

    async def _run_script(self, script: Script, run_id: str, args: Sequence[Any]) -> Any:
        try:
            return await self._script(script, args)
        except RunlogError as error:
            raise of_run(run_id, error) from error
