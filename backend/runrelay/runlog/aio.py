"""The run log for asyncio: reads for many viewers, and the relay's own commits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from ..errors import CommitRefused, RunlogError, RunlogUnavailable
from ..progress import Cursor, Event, Snapshot, is_ended
from .commits import (
    Batch,
    Committed,
    NewLog,
    ProducerSequence,
    Retention,
    RunLogSettings,
    SequenceGap,
    commit_args,
    mark_of,
    parse_commit,
    refusal,
)
from .keys import Keys
from .listing import escaped, hashes, listed, prune, silent_since
from .pipelined import Pipelined
from .reads import (
    LISTED_BY_SETTING,
    LOG_BYTES,
    SUMMARY_FIELDS,
    RunView,
    names,
    parse_position,
    parse_status,
    parse_summary,
    parse_view,
    read_args,
)
from .scripts import COMMIT, DELETE, EXPIRE_HEARTBEATS, LEASE, READ, RIGHTS, Script
from .server_identity import IDENTITY_COMMANDS, LINK_ERRORS, identity, is_passing, judged, of_run
from .topology import AsyncTopology
from .troubles import Refusal, parse_refusals, rights_args, say_no_identity

__all__ = ["AsyncRunLog"]

log = logging.getLogger(__name__)


class AsyncRunLog:
    """The run log of one event loop.

    What must not wait for each other has connections of its own:

    - commits take turns on one;
    - control (probes, markers, leases, the clock, heartbeats) has another, on which little is ever under way: so that
      thousands of joins neither end a lease nor make Redis look dead;
    - reads of runs go out many at a time on a third; polls and joins before repairs (see pipelined.py);
    - what looks over many runs (positions, summaries) has a fourth; the rest, which is rare or large, shares a pool.

    Every method raises `RunlogUnavailable` when Redis cannot be reached or cannot write. Never because of load: what
    waits in this process' queues has no deadline.

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
        # Timeouts are ours: with a socket_timeout, redis-py sends under `asyncio.wait_for`, which in Python 3.11 loses
        # a cancellation that comes just when the sending is done. A task that was cancelled would go on.
        options: dict[str, Any] = {"protocol": 2, "socket_timeout": None, "socket_connect_timeout": connect_timeout_s}
        self.topology = AsyncTopology(redis_url)
        self._pool: ConnectionPool = self.topology.pool(**options)
        self.redis: Redis = Redis(connection_pool=self._pool)
        self._pooled = asyncio.Semaphore(max_connections)
        self._control = Pipelined(self._pool, "control", timeout_s=timeout_s)
        self._reads = Pipelined(self._pool, "reads", timeout_s=timeout_s)
        self._lists = Pipelined(self._pool, "lists", timeout_s=timeout_s, most=500)
        self._commits = asyncio.Lock()
        self._connection: Any = None
        self._server = ""

    @classmethod
    def from_settings(cls, settings: RunLogSettings, *, list_data: bool = False) -> AsyncRunLog:
        """The run log that settings name.

        Args:
            list_data: let `summaries` read the runs' data, too.
        """
        return cls(settings.redis_url, settings.keys(), settings.retention(), list_data=list_data)

    async def close(self) -> None:
        """Close all connections."""
        if self._connection is not None:
            await self._connection.disconnect()
            self._connection = None
        for pipelined in (self._control, self._reads, self._lists):
            await pipelined.close()
        await self.redis.aclose()
        await self._pool.disconnect()

    # Reads

    @property
    def reads_sent(self) -> int:
        """Reads of runs that Redis was asked for."""
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
        """The run in one atomic step: snapshot, newest log lines, and the events after a cursor.

        Args:
            after: give the messages that follow this position; None: none.
            event_bytes: more than this of messages is not worth it: `RunView.events` is None then.
            log_lines: lines of the log at most; by default all that are kept, 0 for none.
            log_bytes: bytes of the log at most.
            later: let other reads go first.

        Cancelled before it is sent, it is not sent. RunlogError if what is stored there is no run.
        """
        lines = self.retention.log_lines if log_lines is None else log_lines
        args = read_args(self.keys, run_id, after, event_bytes=event_bytes, log_lines=lines, log_bytes=log_bytes)
        # What may be much larger than a snapshot is not put before the others' replies.
        way = self._reads if log_bytes <= LOG_BYTES else self._lists
        return way.run(READ, 3, args, parse=partial(parse_view, run_id), later=later, run_id=run_id)

    async def positions(self, run_ids: Sequence[str]) -> list[Cursor | None]:
        """Where the logs of these runs stand; None for one that is gone, or is no run."""
        rows = await self._rows(run_ids, ("epoch", "seq"))
        return [parse_position(epoch, seq) for epoch, seq in rows]

    async def summaries(self, run_ids: Sequence[str]) -> list[tuple[Snapshot | None, int | None]]:
        """Snapshots without logs, steps and result; with each the time of its last heartbeat (Unix ms).

        None for a run that is gone, and for somebody else's key under a run's name.
        """
        fields = self._summary_fields
        rows = await self._rows(run_ids, fields)
        return [parse_summary(run_id, row, fields) for run_id, row in zip(run_ids, rows, strict=True)]

    async def _rows(self, run_ids: Sequence[str], fields: Sequence[str]) -> list[list[Any]]:
        answers = [self._lists.call("HMGET", self.keys.run(run_id)[0], *fields) for run_id in run_ids]
        return hashes(await asyncio.gather(*answers, return_exceptions=True), len(fields))

    async def listed(self, before: tuple[int, str] | None, count: int) -> list[tuple[str, int]]:
        """Run ids with their times of update, newest first, from a position of the list on.

        Entries of one time come in reverse bytewise order, so that a position is a time and an id.
        """
        async with self._reading() as redis:
            return await listed(redis, self.keys, before, count)

    async def prune(self, count: int = 500) -> list[str]:
        """Take out of the list and of the heartbeats what no commit and no worker has entered there.

        That is: what is no run id, and times that are none. A run that somebody has entered with such a time would stay
        first, or last, for ever, since entries only move up: it is taken out too. One whose heartbeat is in the future
        would never be found silent: it counts as heard of now.

        Returns:
            Those of them that may be runs: to be entered again, as their own hash says.
        """
        now_ms = await self.server_now_ms()
        async with self._reading() as redis:
            return await prune(redis, self.keys, now_ms, count)

    async def run_ids(self, match_count: int = 500) -> AsyncIterator[list[str]]:
        """All runs that there are, by scanning the keys, in portions: for the repair of the list."""
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

    # Writes

    async def commit(
        self, run_id: str, events: Sequence[Event], sequence: ProducerSequence | None = None, *, tries: int = 3
    ) -> Committed:
        """Commit events of one run; the sequence advances when it is known that they are committed.

        A lost reply is asked for again under the same numbers, up to `tries` times in all. Without a `sequence` the
        events are a producer's only ones; its mark is taken away when they are committed.

        Raises:
            CommitRefused: a condition of the first event did not hold (RunExists, RunNotEnded).
            RunlogUnavailable: not known to be committed. With a sequence of one's own the same call may be
            made again.
        """
        only, sequence = sequence is None, sequence or ProducerSequence.fresh()
        batch = Batch(run_id, sequence.producer, sequence.next, events)
        async with self._commits:
            doubt, sequence.in_doubt = sequence.in_doubt, True  # until the first try is answered, or for good
            for left in range(tries - 1, -1, -1):
                try:
                    done = await self._commit_once(batch)
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
                await self._delete_mark(run_id, sequence.producer)
        if done.created or done.status_changed:
            try:
                await self.index({run_id: done.updated_at})
            except RunlogError as error:
                # It is committed all the same: who took it for failed would commit it twice. The list is repaired.
                log.warning("run %r is not entered in the list: %s", run_id, error)
        return done

    async def _delete_mark(self, run_id: str, producer: str) -> None:
        """Delete the mark of a producer that will send no batch again. If that fails, marks.lua deletes it later."""
        with suppress(RunlogError, TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                await self._call(await self._connected(), "HDEL", self.keys.run(run_id)[0], mark_of(producer))

    async def _commit_once(self, batch: Batch) -> Committed:
        try:
            async with asyncio.timeout(self._timeout_s):
                try:
                    return await self._commit_as(batch, server_lost_data=False)
                except SequenceGap:
                    return await self._commit_as(batch, server_lost_data=True)
        except TimeoutError as error:
            raise RunlogUnavailable(f"the run log did not answer within {self._timeout_s} s") from error

    async def _commit_as(self, batch: Batch, *, server_lost_data: bool) -> Committed:
        connection = await self._connected()
        new_log = NewLog.fresh()
        args = commit_args(
            self.keys,
            self.retention,
            batch,
            new_log=new_log,
            server=self._server,
            server_lost_data=server_lost_data,
        )
        try:
            reply = await self._call(connection, "EVALSHA", COMMIT.sha, 3, *args)
        except NoScriptError:
            reply = await self._call(connection, "EVAL", COMMIT.text, 3, *args)
        done = parse_commit(batch.run_id, reply)
        if done.epoch == new_log.epoch and not done.created:
            # A known run began a new log: either the server has changed, or it has changed since we asked who it is (a
            # replica promoted under this very connection). Asking again keeps two producers from taking turns for ever.
            await self._disconnect()
        return done

    async def index(self, updated_at: dict[str, int]) -> None:
        """Enter runs in the list of runs, by their time of update (Unix ms)."""
        if updated_at:
            async with self._reading() as redis:
                await redis.zadd(self.keys.runs, updated_at, gt=True)

    async def silent_since(self, before_ms: int, count: int = 500) -> list[str]:
        """Runs whose workers were last heard of before a time (Unix ms), the longest silent first."""
        async with self._reading() as redis:
            return await silent_since(redis, self.keys, before_ms, count)

    async def stop_watching(self, run_ids: Sequence[str], before_ms: int) -> None:
        """Forget the heartbeats of these runs, until the next one. One that has come after `before_ms` stays."""
        if run_ids:
            await self._control.run(EXPIRE_HEARTBEATS, 1, [self.keys.alive, before_ms, *run_ids])

    async def unlist(self, run_ids: Sequence[str]) -> None:
        """Take runs that are gone out of the list."""
        if run_ids:
            async with self._reading() as redis:
                await redis.zrem(self.keys.runs, *run_ids)

    async def delete(self, run_id: str) -> str | None:
        """Delete an ended run and tell the relays. Returns its status; None if there is no such run.

        A run that has not ended is left as it is.
        """
        reply = await self._run_script(DELETE, run_id, list(self.keys.run(run_id)))
        status = None if reply is None else parse_status(run_id, reply)
        if status is None or is_ended(status):
            try:
                await self.unlist([run_id])
            except RunlogError as error:  # it is deleted all the same, and the list is pruned by who reads it
                log.warning("run %r is not taken out of the list: %s", run_id, error)
        return status

    def publish(self, channel: str, message: bytes, *, again: bool = False) -> asyncio.Future[int]:
        """Publish on a channel. Returns how many heard it.

        again: it may be published twice, should the connection break before it is known whether it was.
        """
        return self._control.call("PUBLISH", channel, message, again=again)

    async def take_lease(self, name: str, owner: str, duration_ms: int) -> bool:
        """Take or renew a lease. True: `owner` has it, for `duration_ms` from the moment before this call."""
        return bool(await self._control.run(LEASE, 1, [self.keys.lease(name), owner, duration_ms]))

    def refusals(self, *, everything: bool) -> asyncio.Future[list[Refusal]]:
        """Which of the commands that relays give are refused. See rights.lua.

        Args:
            everything: try also what a join does not need; that writes to Redis' log.
        """
        return self._control.run(RIGHTS, 0, rights_args(self.keys, everything=everything), parse=parse_refusals)

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

    async def _connected(self) -> Any:
        try:
            if self._connection is None:
                self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            if not self._connection.is_connected:
                await self._connection.connect()
                answers: list[Any] = []
                for command in IDENTITY_COMMANDS:
                    await self._connection.send_command(*command)
                    try:
                        answers.append(await self._connection.read_response())
                    except ResponseError as error:
                        answers.append(error)
                self._server = identity(*answers)
                if not self._server:
                    say_no_identity(self.topology.place)
        except BaseException as error:
            # Also when cancelled: half an acquaintance would pass for a whole one.
            await self._disconnect()
            if isinstance(error, (*LINK_ERRORS, ResponseError)):
                raise RunlogUnavailable(f"cannot connect to the run log: {error}") from error
            raise
        return self._connection

    async def _call(self, connection: Any, *command: Any) -> Any:
        try:
            if not connection.is_connected:
                # redis-py would connect by itself, perhaps to a server whose identity nobody has asked for
                raise RedisConnectionError("the connection was closed")
            await connection.send_command(*command)
            return await connection.read_response()
        except NoScriptError:
            raise
        except ResponseError as error:
            if is_passing(error):
                await self._disconnect()  # the next connection may reach a server that can write
            raise judged(error) from error
        except BaseException as error:
            # Also when cancelled: a reply that nobody reads would be taken for the next command's.
            await self._disconnect()
            if isinstance(error, LINK_ERRORS):
                raise judged(error) from error
            raise

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
