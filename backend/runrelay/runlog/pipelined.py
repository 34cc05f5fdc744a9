"""A connection to Redis that pipelines commands, for asyncio.

Why: a command that is sent alone costs a write, a read, a timer and several turns of the loop. Here all commands that
are called in one turn of the loop, or during a round trip, go out in one write, and their replies come in one read.

What a time-out means
---------------------
A time-out must mean that Redis is slow, and nothing else. So the time that a command waits in this queue does not
count. Elapsed time does not count either: the loop may have been busy while the reply lay in the socket. Counted are
*quiet ticks*: turns of a timer that come on time, a fraction of a second apart, during which commands were in flight,
the loop read the socket, and no reply came. A loop that is late for its timers has no quiet ticks, so it reports no
time-out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from hiredis import Reader, pack_command
from redis.asyncio import ConnectionPool
from redis.exceptions import InvalidResponse, NoScriptError, ReadOnlyError, RedisError

from ..errors import RunlogError, RunlogUnavailable
from .scripts import Script
from .server_identity import judged, of_run

__all__ = ["Pipelined", "take_over"]

log = logging.getLogger(__name__)

_TICKS: Final = 10
"""Quiet ticks after which a connection is given up. A tick takes a tenth of the time-out."""
_LATER_EACH: Final = 4
"""When both lanes have commands, one of so many places is for the later lane."""
_MAX_WRITE_BYTES: Final = 64 * 1024


def take_over(connection: Any, protocol: asyncio.Protocol) -> asyncio.Transport:
    """Give a connection's transport to another protocol, right after the connection was made.

    redis-py makes the connection, because it knows TLS, AUTH and Sentinel. But its streams and `read_response` cost
    more for each reply than everything else that is done with the reply.

    Raises:
        RunlogUnavailable: the connection is closed already.
    """
    stream, transport = connection._reader, connection._writer.transport
    if stream._eof or transport.is_closing():
        raise RunlogUnavailable("Redis closed the connection")
    transport.set_protocol(protocol)
    protocol.data_received(bytes(stream._buffer))  # bytes that came together with the last answer
    transport.resume_reading()
    made: asyncio.Transport = transport
    return made


class _Call:
    """A command and the future of its reply."""

    __slots__ = ("again", "answer", "command", "parse", "run_id", "script")

    def __init__(
        self, command: tuple[Any, ...], answer: asyncio.Future[Any], parse: Callable[[Any], Any] | None, again: bool
    ) -> None:
        self.command = command
        self.script: Script | None = None
        """The script that the command runs by its SHA-1."""
        self.answer = answer
        self.parse = parse
        self.again = again
        """The command may be sent a second time if the connection breaks before its reply comes."""
        self.run_id: str | None = None
        """The run of the command. An error about the contents of this run's keys becomes NotARun."""

    def take(self, reply: Any) -> None:
        """Resolve the future with the reply. An error in the reply fails this command only."""
        if self.answer.done():
            return
        if isinstance(reply, Exception):
            error = judged(reply)
            self.fail(error if self.run_id is None else of_run(self.run_id, error))
            return
        try:
            self.answer.set_result(reply if self.parse is None else self.parse(reply))
        except RunlogError as error:
            self.fail(error)
        except Exception as error:
            wrong = RunlogError(f"the run log's answer is not as expected: {error!r}")
            wrong.__cause__ = error
            self.fail(wrong)

    def fail(self, error: RunlogError) -> None:
        """Fail the future."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # marked as retrieved, in case that no task waits any more


class _Replies(asyncio.Protocol):
    """The protocol of one connection of a `Pipelined`. `owner` is None when the connection was dropped."""

    __slots__ = ("owner", "parser")

    def __init__(self, owner: Pipelined, parser: Any) -> None:
        self.owner: Pipelined | None = owner
        self.parser = parser

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.owner is not None:
            self.owner.receive(self.parser, data)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self.owner is not None:
            self.owner.lose(exc or RunlogUnavailable("Redis closed the connection"))


class Pipelined:
    """One connection, made at the first command, and made again after it has broken.

    Commands go out in order, in two lanes: those with `later` give way to the others. They do not starve: while both
    lanes have commands, one of four places is for the later lane, so a command with n before it in its lane goes out
    after at most 3n + 3 of the other lane. At most `most` commands are in flight (backpressure): so Redis has time for
    other clients between them, and little work is wasted when callers go away. A command that is cancelled before it is
    sent is not sent.
    """

    def __init__(self, pool: ConnectionPool, name: str, *, timeout_s: float, most: int = 64) -> None:
        self._pool = pool
        self._name = name
        self._timeout_s = timeout_s
        self._tick_s = timeout_s / _TICKS
        self._most = most
        self._first: deque[_Call] = deque()
        self._later: deque[_Call] = deque()
        self._sent: deque[_Call] = deque()
        self._scheduled = False
        self._connecting: asyncio.Task[None] | None = None
        self._connection: Any = None
        self._replies: _Replies | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._quiet = 0
        self._closed = False
        self.sent = 0
        """Commands sent so far."""

    @property
    def waiting(self) -> int:
        """Commands that are not sent yet, with those that were cancelled."""
        return len(self._first) + len(self._later)

    def call(
        self, *command: Any, parse: Callable[[Any], Any] | None = None, later: bool = False, again: bool = True
    ) -> asyncio.Future[Any]:
        """Send a command. The future's result is the reply, or what `parse` makes of it.

        Args:
            later: the command gives way to others.
            again: the command is idempotent: it may be sent twice if the connection breaks meanwhile.

        The future's exception is RunlogUnavailable if Redis cannot be reached, does not answer or cannot do this now;
        RunlogError if Redis answers another error, or `parse` raises one. If the future is cancelled before the command
        is sent, the command is not sent; after that, the reply is dropped.
        """
        return self._enter(_Call(command, asyncio.get_running_loop().create_future(), parse, again), later)

    def run(
        self, script: Script, keys: int, args: Sequence[Any], *, parse: Callable[[Any], Any] | None = None,
        later: bool = False, run_id: str | None = None,
    ) -> asyncio.Future[Any]:  # fmt: skip
        """Run an idempotent script; see `call`. A server that does not know the script gets its text.

        Args:
            run_id: the run whose keys the script reads. The exception is NotARun if they are not those of a run.
        """
        command = ("EVALSHA", script.sha, keys, *args)
        call = _Call(command, asyncio.get_running_loop().create_future(), parse, True)
        call.script, call.run_id = script, run_id
        return self._enter(call, later)

    def _enter(self, call: _Call, later: bool) -> asyncio.Future[Any]:
        if self._closed:
            call.fail(RunlogUnavailable("the run log is closed"))
        else:
            (self._later if later else self._first).append(call)
            self._schedule()
        return call.answer

    async def close(self) -> None:
        """Close the connection. Commands that wait fail with RunlogUnavailable."""
        self._closed = True
        task, self._connecting = self._connecting, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._drop()
        _fail([*self._sent, *self._first, *self._later], "the run log is closed")
        self._sent.clear()
        self._first.clear()
        self._later.clear()

    # Sending

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._scheduled = False
        if self._transport is not None:
            self._send()
        elif self._connecting is None and not self._closed and self.waiting:
            self._connecting = asyncio.get_running_loop().create_task(self._connect(), name=f"connect {self._name}")

    def _send(self) -> None:
        """Send commands until `most` are in flight, not a few at a time: each write and each read has its cost."""
        room = self._most - len(self._sent)
        if room * 2 < self._most or self._transport is None:
            return
        data: list[bytes] = []
        size = 0
        while len(data) < room and size < _MAX_WRITE_BYTES:
            of_later = self._later and (not self._first or len(data) % _LATER_EACH == _LATER_EACH - 1)
            lane = self._later if of_later else self._first
            if not lane:
                break
            call = lane.popleft()
            if call.answer.done():
                continue  # cancelled
            try:
                packed = pack_command(call.command)
            except Exception as error:  # an error of one command must not fail another
                call.fail(RunlogError(f"this is no command for the run log: {error!r}"))
                continue
            self._sent.append(call)
            data.append(packed)
            size += len(packed)
        if data:
            self.sent += len(data)
            self._transport.write(b"".join(data))
            if self._timer is None:
                self._watch()

    # Receiving

    def receive(self, parser: Any, data: bytes) -> None:
        """Resolve the commands whose replies have come."""
        self._quiet = 0
        sent, moved = self._sent, False
        try:
            parser.feed(data)
            while (reply := parser.gets()) is not False:
                call = sent.popleft()
                if call.script is not None and isinstance(reply, NoScriptError):
                    call.command, call.script = ("EVAL", call.script.text, *call.command[2:]), None
                    self._first.appendleft(call)
                    continue
                moved = moved or isinstance(reply, ReadOnlyError)
                call.take(reply)
        except (RedisError, IndexError) as error:  # no RESP, or a reply without a command
            self.lose(error)
            return
        if moved:
            self.lose(RunlogUnavailable("it leads to a replica"))  # the next connection may lead to the primary
        elif self._first or self._later:
            self._send()

    # The connection

    async def _connect(self) -> None:
        connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.connect()
            self._replies, self._quiet = _Replies(self, Reader(InvalidResponse, connection._parser.parse_error)), 0
            self._transport = take_over(connection, self._replies)
            self._connection = connection
        except Exception as error:  # mostly of the connection; in any case no command may wait for ever
            await connection.disconnect(nowait=True)
            waiting = [*self._first, *self._later]
            self._first.clear()
            self._later.clear()
            _fail(waiting, f"the run log is not available: {str(error) or type(error).__name__}", error)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            self._connecting = None
        self._go_on()

    def _drop(self) -> None:
        """Drop the connection; commands stay."""
        transport, replies, connection = self._transport, self._replies, self._connection
        self._transport = self._replies = self._connection = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if replies is not None:
            replies.owner = None
        if transport is not None:
            transport.abort()
        if connection is not None:
            connection._writer = connection._reader = None  # redis-py must not use the transport that was taken over

    def lose(self, error: Exception) -> None:
        """Drop a connection that broke. Commands in flight are sent once more on the next one, or fail."""
        log.debug("the connection for %s is lost: %s", self._name, error)
        self._drop()
        again = [call for call in self._sent if call.again]
        _fail([call for call in self._sent if not call.again], f"lost the connection to the run log: {error}")
        self._sent.clear()
        for call in again:
            call.again = False
        self._first.extendleft(reversed(again))
        if not self._closed:
            self._schedule()

    # The time-out

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        self._due_s = loop.time() + self._tick_s
        self._timer = loop.call_at(self._due_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self._sent:
            self._quiet = 0
            return
        if asyncio.get_running_loop().time() - self._due_s <= self._tick_s / 2:
            self._quiet += 1
        if self._quiet <= _TICKS:
            self._watch()
            return
        _fail(self._sent, f"the run log did not answer within {self._timeout_s:g} s")
        self._sent.clear()
        self.lose(RunlogUnavailable("no answer"))


def _fail(calls: Iterable[_Call], text: str, cause: Exception | None = None) -> None:
    for call in calls:
        error = RunlogUnavailable(text)  # one for each: an exception keeps its traceback
        error.__cause__ = cause
        call.fail(error)
