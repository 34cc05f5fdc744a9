"""The listener: the one task of a relay process that hears the channel, and knows when it does not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections.abc import Callable
from typing import Any

import orjson
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from ..errors import RunlogError, RunlogUnavailable
from ..metrics import RelayMetrics
from ..runlog import AsyncRunLog, refusals_in_words, take_over, trouble_of
from .containment import Containment, for_ever
from .hub import Hub
from .statistics import ListenerStatistics

__all__ = ["Listener"]

log = logging.getLogger(__name__)

_CONNECT_S = 5.0
_MAX_NEIGHBOURS = 16
_MUCH_BYTES = 4 * 1024
"""More than a dozen messages at once: more are on their way."""
_MOMENT_S = 0.1
_PAUSE_S = 0.2
_REFUSED_S = 1.0
"""Between two looks at whether what was refused is allowed now."""
_EVERYTHING_EVERY_S = 60.0
_AGAIN_S = 10.0
_MOST_BEHIND = 3
"""So many times `deaf_after_s` a probe may be on its way behind other messages."""


class Listener:
    """Subscribes, hands messages to the hub, probes itself, reconnects.

    The probe is a message to itself over the relays' control channel, on the same connection as everything else: it
    tells that a publish anywhere reaches this task. A TCP connection that looks open tells nothing. When a probe does
    not come back in time, the link is down; when that lasts, the connection is replaced.

    What clients are told so is about Redis and about nothing else. So a probe is published on the control connection,
    where no read is before it. It is late when nothing at all was heard for `probe_s`: while other messages come, it is
    behind them, and Redis is there. And that time is made of moments that the loop was on time for. A moment that it
    was late for (it had a thousand joins to answer) says nothing: what was heard may lie in the socket, unread.
    """

    def __init__(
        self,
        runlog: AsyncRunLog,
        hub: Hub,
        metrics: RelayMetrics,
        *,
        on_control: Callable[[dict[str, Any]], None] = lambda message: None,
        on_subscribed: Callable[[], None] = lambda: None,
        probe_s: float = 2.0,
        deaf_after_s: float = 10.0,
    ) -> None:
        self.relay_id = secrets.token_hex(6)
        self._runlog = runlog
        self._control = runlog.keys.control.encode()
        self._hub = hub
        self._metrics = metrics
        self._on_control = on_control
        self._on_subscribed = on_subscribed
        self._probe_s = probe_s
        self._deaf_after_s = deaf_after_s
        self._pool: ConnectionPool = runlog.topology.pool(protocol=2, socket_timeout=None, socket_connect_timeout=2.0)
        self._database = int(self._pool.connection_kwargs.get("db") or 0)
        self._neighbours: set[int] = set()
        self._probe = 0
        self._heard = asyncio.Event()
        self._pushes = 0
        self.trouble: str | None = "it has not heard Redis yet"
        """Why the link is down, in words."""
        self.remark = ""
        """What else is refused, though clients are served."""
        self._trouble_since_s = time.monotonic()
        self._everything_due_s = 0.0

    async def run(self) -> None:
        """Listen until cancelled. Never ends by itself."""
        delay_s, first = 0.1, True
        while True:
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                await self._subscribe(connection)
                if not first:
                    self._metrics.reconnects += 1
                log.info("listening on %s", ", ".join(self._runlog.keys.channels))
                delay_s, first = 0.1, False
                self._everything_due_s = 0.0
                self._on_subscribed()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._read(connection), name="listener reads")
                    tasks.create_task(for_ever(self._probe_on), name="listener probes")
                    tasks.create_task(self._runlog.topology.watch(), name="listener watches the primary")
            except* (OSError, RedisError, RunlogError) as errors:
                self._note_trouble(errors.exceptions[0])
            except* Exception as errors:  # another connection may do better, and there is nobody else who would try
                self._hub.containment.note(errors, "listener")
                self._note_trouble(errors.exceptions[0])
            finally:
                self._hub.link_down()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(delay_s * 2, 2.0)

    async def _subscribe(self, connection: Any) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S):  # a server that is frozen accepts, and never answers
                await connection.connect()
            channels = self._runlog.keys.channels
            await connection.send_command("SUBSCRIBE", *channels)
            for _ in channels:
                await asyncio.wait_for(connection.read_response(), 5.0)
        except Exception as error:
            raise RunlogUnavailable(f"cannot subscribe: {str(error) or 'no answer'}") from error

    async def _read(self, connection: Any) -> None:
        """Read what Redis pushes until the connection breaks: from the transport to the parser, hiredis', at once."""
        pushes = _Pushes(connection._parser._reader, self._receive, self._hub.containment)
        take_over(connection, pushes)
        await pushes.lost

    def _receive(self, replies: list[Any], more: bool) -> None:
        self._pushes += 1
        control, messages = self._control, []
        for reply in replies:
            if reply[0] == b"message":
                if reply[1] != control:
                    messages.append(reply[2])
                else:  # in its place among the others: an adopter's marker says what came before it
                    self._hub.receive(messages, more=True)
                    messages = []
                    self._receive_control(reply[2])
        self._hub.receive(messages, more=more)

    def _receive_control(self, raw: bytes) -> None:
        try:
            message = orjson.loads(raw)
        except ValueError:
            return
        if not isinstance(message, dict):
            return
        database = message.get("db", self._database)
        if database != self._database:
            self._hear_neighbour(database)
        elif message.get("probe") == self.relay_id:
            if message.get("number") == self._probe:
                self._heard.set()
        else:
            try:
                self._on_control(message)
            except Exception as error:  # anyone may publish there
                self._hub.containment.note(error, "a message of the relays'")

    def _hear_neighbour(self, database: object) -> None:
        """A relay of another database speaks here: Pub/Sub knows no databases. Nothing that it says is about our runs.

        Said once for each of a few, since anyone may publish there.
        """
        if type(database) is int and database not in self._neighbours and len(self._neighbours) < _MAX_NEIGHBOURS:
            self._neighbours.add(database)
            self._metrics.foreign_databases = len(self._neighbours)
            log.warning(
                "relays of database %d of this Redis are heard on %s, and this one has database %d: databases share "
                "channels, so both applications hear each other's events and adopt each other's raw messages. "
                "Give each a prefix of its own (RUNRELAY_PREFIX, of its workers too)",
                database, self._runlog.keys.control, self._database,
            )  # fmt: skip

    async def _probe_on(self) -> None:
        """Probe end to end, at once and then every few seconds."""
        deaf_s = 0.0
        while True:
            self._probe += 1
            self._heard.clear()
            waited_s = quiet_s = 0.0
            again_s = self._probe_s
            probe = {"probe": self.relay_id, "number": self._probe}
            try:
                said = self.send(probe)
                while not self._heard.is_set():
                    if said.done() and waited_s > again_s and quiet_s < self._probe_s / 2:
                        # Others are heard: it is behind them, or it was lost, and then only another one tells.
                        again_s += self._probe_s
                        said = self.send(probe)
                    before = self._pushes
                    moment_s = await self._moment(said)
                    waited_s += moment_s
                    quiet_s = quiet_s + moment_s if self._pushes == before else 0.0
                    if quiet_s > self._probe_s or waited_s > self._deaf_after_s * _MOST_BEHIND:
                        said.cancel()
                        raise RunlogUnavailable(f"a probe did not come back within {waited_s:.1f} s")
                deaf_s = 0.0
                await self._check_rights()
                self.trouble = None
                if self._hub.link == "down":
                    self._hub.link_up()
                await self._pause()
            except RunlogError as error:
                self._hub.link_down()
                self._note_trouble(error)
                if self._heard.is_set():  # it is not deaf: what it needs is refused
                    await asyncio.sleep(_REFUSED_S)
                    continue
                await asyncio.sleep(_PAUSE_S)
                deaf_s += waited_s + _PAUSE_S
                if deaf_s > self._deaf_after_s:
                    self._metrics.deaf += 1
                    raise RunlogUnavailable("the listener is deaf: its probes do not come back") from error

    async def _pause(self) -> None:
        """Until the next probe is due, or somebody doubts that Redis can be read."""
        self._hub.doubted.clear()
        at_least_s = min(_PAUSE_S, self._probe_s)
        await asyncio.sleep(at_least_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._probe_s - at_least_s):
                await self._hub.doubted.wait()

    async def _check_rights(self) -> None:
        """Ask whether runs can be read; now and then, whether all else can be done.

        Raises:
            RunlogError: no client can join. Else the link would be up, and they would wait without a word.
        """
        now_s = asyncio.get_running_loop().time()
        everything = now_s >= self._everything_due_s
        refusals = await self._runlog.refusals(everything=everything)
        for_joins = [refusal for refusal in refusals if refusal.joins]
        if for_joins:
            raise RunlogUnavailable(refusals_in_words(for_joins))
        if everything:
            remark = refusals_in_words(refusals)
            self._everything_due_s = now_s + (_AGAIN_S if remark else _EVERYTHING_EVERY_S)
            if remark and remark != self.remark:
                log.warning("runs are shown here, but not all else works: %s", remark)
            self.remark = remark

    def _note_trouble(self, error: BaseException) -> None:
        """Keep why the link is down; log it when it is new, and not at each try."""
        trouble = trouble_of(error, self._runlog.topology.place, self._runlog.keys)
        if self.trouble is None:
            self._trouble_since_s = time.monotonic()
        if trouble != self.trouble:
            log.warning("the listener lost the run log: %s", trouble)
        self.trouble = trouble

    def statistics(self) -> ListenerStatistics:
        """See ListenerStatistics."""
        return ListenerStatistics(self._probe, self._pushes)

    @property
    def trouble_s(self) -> float:
        """For how many seconds there has been trouble."""
        return 0.0 if self.trouble is None else time.monotonic() - self._trouble_since_s

    async def _moment(self, said: asyncio.Future[int]) -> float:
        """Wait a moment for the probe. Returns how long that was, in seconds; 0 if the loop was late.

        Raises:
            RunlogUnavailable: it could not be published.
        """
        loop = asyncio.get_running_loop()
        before_s = loop.time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_MOMENT_S):
                await self._heard.wait()
        if said.done():
            said.result()
        took_s = loop.time() - before_s
        return took_s if took_s < 2 * _MOMENT_S else 0.0

    def send(self, message: dict[str, Any]) -> asyncio.Future[int]:
        """Publish a message on the relays' control channel. It may go out twice."""
        named = {**message, "db": self._database}
        return self._runlog.publish(self._runlog.keys.control, orjson.dumps(named), again=True)


class _Pushes(asyncio.Protocol):
    """A subscribed connection's bytes, parsed as they come. `lost` raises what ended it."""

    def __init__(self, parser: Any, hear: Callable[[list[Any], bool], None], containment: Containment) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parser = parser
        self._receive = hear
        self._containment = containment

    def data_received(self, data: bytes) -> None:
        """Parse, and hand on what is whole; see asyncio.Protocol."""
        if self.lost.done():
            return
        parser, replies = self._parser, []
        try:
            parser.feed(data)
            while type(reply := parser.gets()) is list:
                replies.append(reply)
        except RedisError as error:
            reply = error
        try:
            self._receive(replies, len(data) >= _MUCH_BYTES)
        except Exception as error:  # a fault of ours in one run must not make the relay deaf for all the others
            self._containment.note(error, "passing on what the run log said")
        if isinstance(reply, Exception):  # else the rest of a reply is to come
            self.connection_lost(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits; see asyncio.Protocol."""
        if not self.lost.done():
            why = exc or "Redis closed the connection"
            self.lost.set_exception(RunlogUnavailable(f"the subscription broke: {why}"))
