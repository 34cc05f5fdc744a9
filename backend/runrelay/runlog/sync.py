"""The run log for threads: commits of many runs in one round trip. For the worker's flusher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import orjson
from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from ..errors import CannotBeSent, CommitRefused, NotARun, RunlogError, RunlogUnavailable
from ..progress import is_ended
from .commits import (
    Batch,
    Committed,
    NewLog,
    Retention,
    SequenceGap,
    commit_args,
    identity_is_old,
    mark_of,
    parse_commit,
    refusal,
)
from .given_up import GivenUp, report_commands
from .keys import Keys
from .reads import parse_status
from .scripts import COMMIT, HEARTBEAT, Script
from .server_identity import IDENTITY_COMMANDS, identity, is_passing, judged, of_run
from .topology import Topology
from .troubles import trouble_of, warn_no_identity, warn_unannounced

__all__ = ["RunLog"]

MARKS_AT_ONCE: Final = 1000


class RunLog:
    """One connection to the run log, for one thread at a time.

    It connects on first use and after errors, and never retries by itself. It must not be used after a fork: a child
    makes its own.

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
    ) -> None:
        self.keys = keys or Keys()
        self.retention = retention or Retention()
        self._topology = Topology(redis_url)
        # The pool is used to make connections only; it holds none.
        self._pool = self._topology.pool(protocol=2, socket_timeout=timeout_s, socket_connect_timeout=connect_timeout_s)
        self._connection: Any = None
        self._server = ""
        self._new_log = NewLog.fresh()

    def close(self) -> None:
        """Close the connection. The next call makes another one."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None

    def commit(self, batch: Batch) -> Committed:
        """Commit one batch. See `commit_many` for what is raised."""
        (result,) = self.commit_many([batch])
        if isinstance(result, Exception):
            raise result
        return result

    def commit_many(self, batches: Sequence[Batch]) -> list[Committed | RunlogError]:
        """Commit batches of different runs in one round trip; each succeeds or fails by itself.

        Two batches of one run must not be in one call: the second could pass where the first failed.

        Returns:
            One result per batch, in order. `RunlogUnavailable`: the server cannot write now, or the connection broke
            (it is not known which commits were executed): send the same batch again with the same numbers; that is
            idempotent. `CommitRefused`: its condition did not hold. `NotARun`: what is stored under the run's name is
            no run. Whatever else goes wrong may pass, and is `RunlogUnavailable`.

        Raises:
            CannotBeSent: an event has no form in which it could be sent; `unsendable` finds it. Nothing is committed.

        If the server has lost what it had acknowledged (`SequenceGap`), the batch is sent again as the first of a new
        epoch.
        """
        results: list[Any] = list(self._commit_once(batches, server_lost_data=False))
        lost = [i for i, result in enumerate(results) if isinstance(result, SequenceGap)]
        if lost:
            for i, result in zip(
                lost, self._commit_once([batches[i] for i in lost], server_lost_data=True), strict=True
            ):
                results[i] = result
        return results

    def _commit_once(self, batches: Sequence[Batch], *, server_lost_data: bool) -> Iterable[Committed | RunlogError]:
        try:
            connection = self._connected()
        except RunlogUnavailable as error:
            return [error] * len(batches)
        calls = [self._args(batch, server_lost_data=server_lost_data) for batch in batches]
        replies = self._call_script(connection, COMMIT, calls)
        results = [self._committed(batch, reply) for batch, reply in zip(batches, replies, strict=True)]
        # A new epoch is for one log only. After an error it may have been used.
        if any(isinstance(r, RunlogError) or r.epoch == self._new_log.epoch for r in results):
            if any(isinstance(r, Committed) and identity_is_old(r, self._new_log) for r in results):
                self.close()
            self._new_log = NewLog.fresh()
        return results

    def _args(self, batch: Batch, *, server_lost_data: bool = False) -> list[str | bytes | int]:
        try:
            return commit_args(
                self.keys,
                self.retention,
                batch,
                new_log=self._new_log,
                server=self._server,
                server_lost_data=server_lost_data,
            )
        except Exception as error:
            raise CannotBeSent(f"an event of run {batch.run_id!r} cannot be encoded: {error}") from error

    def unsendable(self, batch: Batch) -> list[int]:
        """The indexes of a batch's events for which `commit_many` raises `CannotBeSent`. Nothing is sent."""
        found = []
        for index, event in enumerate(batch.events):
            try:
                _packed([tuple(self._args(replace(batch, events=[event])))])
            except CannotBeSent:
                found.append(index)
        return found

    def trouble(self, error: BaseException) -> str:
        """An error of this run log in words for the operator, without secrets."""
        return trouble_of(error, self._topology.place, self.keys)

    def _committed(self, batch: Batch, reply: Any) -> Committed | RunlogError:
        if isinstance(reply, RunlogError):
            return self._may_pass(of_run(batch.run_id, reply))
        try:
            done = parse_commit(batch.run_id, reply)
            if done.unannounced:
                warn_unannounced(self._topology.place, self.keys.channel_of(batch.run_id))
            return done
        except CommitRefused as error:
            return refusal(batch.events[0], error)
        except RunlogError as error:
            return self._may_pass(error)

    def _may_pass(self, error: RunlogError) -> RunlogError:
        """The error, or `RunlogUnavailable` unless it is about this run alone.

        Only what is stored under a run's name can make one run's commits fail for ever. All else (another server behind
        the address, a cluster, a proxy, a right) may be put right by somebody. Then the events that waited can go.
        """
        if isinstance(error, (CommitRefused, NotARun, RunlogUnavailable, SequenceGap)):
            return error
        self.close()  # the next connection may lead to another server
        found = RunlogUnavailable(str(error))
        found.__cause__ = error.__cause__ or error
        return found

    def heartbeat(self, run_ids: Sequence[str]) -> dict[str, str | None]:
        """Record that the workers of these runs are alive, and renew the runs' expiry. Returns the runs' statuses.

        None: there is no such run, or the key is not a run's. Such a key must not stop the heartbeats of other runs.
        """
        calls: list[list[str | bytes | int]] = [
            [*self.keys.run(run_id), self.retention.run_ttl_s] for run_id in run_ids
        ]
        replies = self._call_script(self._connected(), HEARTBEAT, calls)
        for reply in replies:
            if isinstance(reply, RunlogUnavailable):
                raise reply
        statuses: dict[str, str | None] = dict.fromkeys(run_ids)
        pairs: list[str | int] = []
        for run_id, reply in zip(run_ids, replies, strict=True):
            if reply is not None and not isinstance(reply, RunlogError):
                try:
                    status, now_ms = parse_status(run_id, reply[0]), reply[1]
                except NotARun:
                    continue
                statuses[run_id] = status
                if not is_ended(status):
                    pairs += (now_ms, run_id)
        if pairs:
            (reply,) = self._call(self._connected(), [("ZADD", self.keys.alive, *pairs)])
            answer = self._judged(reply)
            if isinstance(answer, RunlogUnavailable):
                raise answer  # another error (the key is not a sorted set) changes nothing for the runs
        return statuses

    def stop_heartbeats(self, run_ids: Sequence[str]) -> None:
        """Remove the heartbeats of runs that nobody executes, and that have not ended: they do not become stalled."""
        (reply,) = self._call(self._connected(), [("ZREM", self.keys.alive, *run_ids)])
        self._checked(reply)

    def index(self, updated_at: Mapping[str, int]) -> None:
        """Enter runs in the list of runs with their times of update (Unix ms)."""
        pairs: list[str | int] = []
        for run_id, time_ms in updated_at.items():
            pairs += (time_ms, run_id)
        if pairs:
            (reply,) = self._call(self._connected(), [("ZADD", self.keys.runs, "GT", *pairs)])
            self._checked(reply)

    def report_given_up(self, given_up: GivenUp) -> bool:
        """Add to what publishers have given up (given_up.py). Returns False if it must be tried again."""
        try:
            replies = self._call(self._connected(), report_commands(self.keys, given_up))
        except RunlogUnavailable:
            return False
        return not any(isinstance(reply, RunlogUnavailable) for reply in replies)

    def steps_of(self, run_id: str) -> tuple[str | None, list[str]]:
        """A run's status, None if there is no such run, and the names of its steps."""
        (reply,) = self._call(self._connected(), [("HMGET", self.keys.run(run_id)[0], "status", "step_names")])
        self._checked(reply)
        status, names = reply
        return (None, []) if status is None else (parse_status(run_id, status), orjson.loads(names or b"[]"))

    def delete_marks(self, producers: Sequence[tuple[str, str]]) -> None:
        """Delete the marks of producers (run id, producer id) that will send no batch any more.

        No reply to them may be missing: see `ProducerSequence.in_doubt`. A mark that cannot be deleted now stays until
        marks.lua prunes it.
        """
        calls = [("HDEL", self.keys.run(run_id)[0], mark_of(producer)) for run_id, producer in producers]
        with suppress(RunlogUnavailable):
            for at in range(0, len(calls), MARKS_AT_ONCE):
                self._call(self._connected(), calls[at : at + MARKS_AT_ONCE])

    def _checked(self, reply: Any) -> None:
        if isinstance(answer := self._judged(reply), RunlogError):
            raise answer

    def _connected(self) -> Any:
        try:
            if self._connection is not None and self._topology.leads_elsewhere(self._connection):
                self.close()
            if self._connection is None:
                self._connection = self._pool.make_connection()
            if not _is_open(self._connection):
                self._connection.connect()
                self._server = identity(*self._call(self._connection, IDENTITY_COMMANDS))
                if not self._server:
                    warn_no_identity(self._topology.place)
        except RunlogUnavailable:
            self.close()
            raise
        except Exception as error:
            # Of any class: a name server, TLS and the codecs have errors of their own. An error of connecting says
            # nothing about the events, which wait.
            self.close()
            raise RunlogUnavailable(f"cannot connect to the run log: {error}") from error
        return self._connection

    def _call_script(self, connection: Any, script: Script, calls: Sequence[list[str | bytes | int]]) -> list[Any]:
        """Run a script once per list of arguments. If the server does not know the script, send its text."""
        # Latency trick: Redis writes pending replies in reverse order of when each client got one. The caller of
        # EVALSHA would be answered before the relays that the script publishes to, and then compete with them for the
        # CPU. A PING first puts the caller early in that list, so the relays' messages go out first. Measured:
        # docs/performance.md.
        replies = self._call(connection, [("PING",), *(("EVALSHA", script.sha, 3, *args) for args in calls)])[1:]
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            head = ("EVAL", script.text)
            again = []
            for i in unknown:
                again.append((*head, 3, *calls[i]))
                head = ("EVALSHA", script.sha)
            for i, reply in zip(unknown, self._call(connection, again), strict=True):
                replies[i] = reply
        return [self._judged(reply) for reply in replies]

    def _judged(self, reply: Any) -> Any:
        if not isinstance(reply, ResponseError):
            return reply
        if is_passing(reply):
            self.close()  # the next connection may lead to a server that can write
        return judged(reply)

    def _call(self, connection: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands and read their replies. An error is a reply; a broken connection is the reply of the rest."""
        replies: list[Any] = []
        packed = _packed(commands)
        try:
            if not _is_open(connection):
                # redis-py would connect by itself, perhaps to a server whose identity was not read
                raise RedisConnectionError("the connection was closed")
            connection.send_packed_command([packed])
            for _ in commands:
                try:
                    replies.append(connection.read_response())
                except ResponseError as error:
                    replies.append(error)
        except Exception as error:  # also of the parser: what it could not read was not about these commands alone
            self.close()
            lost = RunlogUnavailable(f"lost the connection to the run log: {error}")
            lost.__cause__ = error
            replies += [lost] * (len(commands) - len(replies))
        return replies


def _packed(commands: Sequence[tuple[Any, ...]]) -> bytes:
    # redis-py's packing checks each argument in Python, which takes longer than hiredis takes for all
    try:
        return b"".join([pack_command(command) for command in commands])
    except Exception as error:
        raise CannotBeSent(f"a command cannot be encoded: {error}") from error


def _is_open(connection: Any) -> bool:
    return connection._sock is not None  # older redis-py has no `is_connected` for threads
