"""The connection for commits, for asyncio. It belongs to one server, whose identity is read right after connecting."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from ..errors import RunlogError, RunlogUnavailable
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
)
from .keys import Keys
from .scripts import COMMIT
from .server_identity import IDENTITY_COMMANDS, LINK_ERRORS, identity, is_passing, judged
from .troubles import warn_no_identity

__all__ = ["CommitConnection"]


class CommitConnection:
    """Commits one batch at a time: its caller holds a lock. It connects on first use and after errors."""

    def __init__(self, pool: ConnectionPool, place: str, keys: Keys, retention: Retention, *, timeout_s: float) -> None:
        self._pool = pool
        self._place = place
        self._keys = keys
        self._retention = retention
        self._timeout_s = timeout_s
        self._connection: Any = None
        self._server = ""

    async def commit(self, batch: Batch) -> Committed:
        """Commit a batch once.

        Raises:
            CommitRefused: a condition did not hold.
            RunlogUnavailable: it is not known whether the batch is committed. The same after a cancellation: the
                connection is closed then, and the next call makes another one.
        """
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
            self._keys,
            self._retention,
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
        if identity_is_old(done, new_log):
            await self.close()
        return done

    async def delete_mark(self, run_id: str, producer: str) -> None:
        """Delete the mark of a producer that will send nothing more. If that fails, marks.lua prunes it later."""
        with suppress(RunlogError, TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                await self._call(await self._connected(), "HDEL", self._keys.run(run_id)[0], mark_of(producer))

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
                    warn_no_identity(self._place)
        except BaseException as error:
            # Also on cancellation: the connection must not be used before the server's identity was read completely.
            await self.close()
            if isinstance(error, (*LINK_ERRORS, ResponseError)):
                raise RunlogUnavailable(f"cannot connect to the run log: {error}") from error
            raise
        return self._connection

    async def _call(self, connection: Any, *command: Any) -> Any:
        try:
            if not connection.is_connected:
                # redis-py would connect by itself, perhaps to a server whose identity was not read
                raise RedisConnectionError("the connection was closed")
            await connection.send_command(*command)
            return await connection.read_response()
        except NoScriptError:
            raise
        except ResponseError as error:
            if is_passing(error):
                await self.close()  # the next connection may lead to a server that can write
            raise judged(error) from error
        except BaseException as error:
            # Also on cancellation: a reply that was not read would be taken for the next command's.
            await self.close()
            if isinstance(error, LINK_ERRORS):
                raise judged(error) from error
            raise

    async def close(self, *, wait: bool = False) -> None:
        """Close the connection. The next call makes another one.

        Args:
            wait: return when it is closed, not only told to.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=not wait)
