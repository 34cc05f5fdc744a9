"""The listener: the one task of a relay process that receives the channel's messages, and notices when it does not."""

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
from ..runlog import AsyncRunLog, denied_in_words, take_over, trouble_of
from .containment import Containment, for_ever
from .hub import Hub
from .statistics import ListenerStatistics

__all__ = ["Listener"]

log = logging.getLogger(__name__)

_CONNECT_S = 5.0
_MAX_NEIGHBOURS = 16
_MUCH_BYTES = 4 * 1024
"""After a read of so many bytes (more than a dozen messages), more are most likely on their way."""
_WAIT_S = 0.1
_PAUSE_S = 0.2
_REFUSED_S = 1.0
"""Between two checks of whether Redis allows now what it has refused."""
_EVERYTHING_EVERY_S = 60.0
_AGAIN_S = 10.0
_MAX_BEHIND = 3
"""A probe may be on its way behind other messages for so many times `deaf_after_s`."""


class Listener:
    """Subscribes, gives messages to the hub, probes itself, reconnects.

    A probe is a message to itself over the relays' control channel, received on the same connection as everything else.
    When it comes back, a publish anywhere reaches this task; that a TCP connection looks open does not prove this (a
    dead peer). When a probe does not come back in time, the link is down. When that lasts, the connection is replaced.

    A late probe must mean that Redis is away, and not that this relay is busy:

    - It is published on the control connection, where no read is queued before it.
    - It is late when nothing at all was received for `probe_s`. While other messages arrive, it is queued behind them.
    - That time is made of short waits for which the event loop was on time. If the loop was late (it had a thousand
      joins to answer), what has arrived may lie unread in the socket, so that wait does not count.
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
        self._probe_back = asyncio.Event()
        self._pushes = 0
        self.trouble: str | None = "it has not received anything from Redis yet"
        """Why the link is down, as a text."""
        self.remark = ""
        """What Redis refuses, though clients are served."""
        self._trouble_since_s = time.monotonic()
        self._everything_due_s = 0.0

    async def run(self) -> None:
        """Listen until cancelled, and reconnect. Never returns. When it ends, the link is down and the connection
        closed.
        """
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
                self._record_trouble(errors.exceptions[0])
            except* Exception as errors:  # another connection may work, and nothing else would try
                self._hub.containment.record(errors, "listener")
                self._record_trouble(errors.exceptions[0])
            finally:
                self._hub.link_down()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(delay_s * 2, 2.0)

    async def _subscribe(self, connection: Any) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S):  # a frozen server accepts the connection and never answers
                await connection.connect()
            channels = self._runlog.keys.channels
            await connection.send_command("SUBSCRIBE", *channels)
            for _ in channels:
                await asyncio.wait_for(connection.read_response(), 5.0)
        except Exception as error:
            raise RunlogUnavailable(f"cannot subscribe: {str(error) or 'no answer'}") from error

    async def _read(self, connection: Any) -> None:
        """Read until the connection breaks. Bytes go from the transport directly to hiredis' parser."""
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
                else:  # in order among the others: adoption relies on it
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
            self._check_neighbour(database)
        elif message.get("probe") == self.relay_id:
            if message.get("number") == self._probe:
                self._probe_back.set()
        else:
            try:
                self._on_control(message)
            except Exception as error:  # anybody may publish there
                self._hub.containment.record(error, "a message of the control channel")

    def _check_neighbour(self, database: object) -> None:
        """Warn of a relay of another database: Pub/Sub knows no databases, but its messages are not about our runs.

        The warning is logged once for each of at most 16 databases, as anybody may publish there.
        """
        if type(database) is int and database not in self._neighbours and len(self._neighbours) < _MAX_NEIGHBOURS:
            self._neighbours.add(database)
            self._metrics.foreign_databases = len(self._neighbours)
            log.warning(
                "relays of database %d of this Redis publish on %s, and this relay uses database %d: databases share "
                "channels, so both applications receive each other's events and adopt each other's raw messages. "
                "Give each a prefix of its own (RUNRELAY_PREFIX, of its workers too)",
                database, self._runlog.keys.control, self._database,
            )  # fmt: skip

    async def _probe_on(self) -> None:
        """Probe end to end, at once and then every `probe_s` seconds, until cancelled."""
        deaf_s = 0.0
        while True:
            self._probe += 1
            self._probe_back.clear()
            waited_s = quiet_s = 0.0
            again_s = self._probe_s
            probe = {"probe": self.relay_id, "number": self._probe}
            try:
                published = self.send(probe)
                while not self._probe_back.is_set():
                    if published.done() and waited_s > again_s and quiet_s < self._probe_s / 2:
                        # Other messages arrive: the probe is behind them, or was lost. Another one will tell.
                        again_s += self._probe_s
                        published = self.send(probe)
                    before = self._pushes
                    part_s = await self._wait_for_probe(published)
                    waited_s += part_s
                    quiet_s = quiet_s + part_s if self._pushes == before else 0.0
                    if quiet_s > self._probe_s or waited_s > self._deaf_after_s * _MAX_BEHIND:
                        published.cancel()
                        raise RunlogUnavailable(f"a probe did not come back within {waited_s:.1f} s")
                deaf_s = 0.0
                await self._check_rights()
                self.trouble = None
                if self._hub.link == "down":
                    self._hub.link_up()
                await self._pause()
            except RunlogError as error:
                self._hub.link_down()
                self._record_trouble(error)
                if self._probe_back.is_set():  # the probe came back: Redis refuses something else
                    await asyncio.sleep(_REFUSED_S)
                    continue
                await asyncio.sleep(_PAUSE_S)
                deaf_s += waited_s + _PAUSE_S
                if deaf_s > self._deaf_after_s:
                    self._metrics.deaf += 1
                    raise RunlogUnavailable("the listener is deaf: its probes do not come back") from error

    async def _pause(self) -> None:
        """Wait until the next probe is due, or a read has failed (`hub.doubted`)."""
        self._hub.doubted.clear()
        at_least_s = min(_PAUSE_S, self._probe_s)
        await asyncio.sleep(at_least_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._probe_s - at_least_s):
                await self._hub.doubted.wait()

    async def _check_rights(self) -> None:
        """Check whether Redis allows reads of runs; every minute, whether it allows everything else.

        Raises:
            RunlogError: no client can join. Then the link must be down: clients would wait without being told why.
        """
        now_s = asyncio.get_running_loop().time()
        everything = now_s >= self._everything_due_s
        denied = await self._runlog.denied(everything=everything)
        for_joins = [command for command in denied if command.joins]
        if for_joins:
            raise RunlogUnavailable(denied_in_words(for_joins))
        if everything:
            remark = denied_in_words(denied)
            self._everything_due_s = now_s + (_AGAIN_S if remark else _EVERYTHING_EVERY_S)
            if remark and remark != self.remark:
                log.warning("clients are served, but Redis refuses something else: %s", remark)
            self.remark = remark

    def _record_trouble(self, error: BaseException) -> None:
        """Keep why the link is down; log it when the reason is new, not at each try."""
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
        """Seconds since the link went down; 0 while it is up."""
        return 0.0 if self.trouble is None else time.monotonic() - self._trouble_since_s

    async def _wait_for_probe(self, published: asyncio.Future[int]) -> float:
        """Wait up to 0.1 s for the probe. Returns how long, in seconds; 0 if the loop was late.

        Raises:
            RunlogUnavailable: it could not be published.
        """
        loop = asyncio.get_running_loop()
        before_s = loop.time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_S):
                await self._probe_back.wait()
        if published.done():
            published.result()
        took_s = loop.time() - before_s
        return took_s if took_s < 2 * _WAIT_S else 0.0

    def send(self, message: dict[str, Any]) -> asyncio.Future[int]:
        """Publish a message on the relays' control channel. After a lost reply it is sent again, so it may arrive
        twice.
        """
        named = {**message, "db": self._database}
        return self._runlog.publish(self._runlog.keys.control, orjson.dumps(named), again=True)


class _Pushes(asyncio.Protocol):
    """Parses a subscribed connection's bytes as they arrive. The future `lost` gets the error that ended it."""

    def __init__(self, parser: Any, receive: Callable[[list[Any], bool], None], containment: Containment) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parser = parser
        self._receive = receive
        self._containment = containment

    def data_received(self, data: bytes) -> None:
        """Parse, and give whole messages to the listener; see asyncio.Protocol."""
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
        except Exception as error:  # an error in one run must not end the listener
            self._containment.record(error, "giving messages to the hub")
        if isinstance(reply, Exception):  # False: the rest of a reply is still to come
            self.connection_lost(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the listener's wait; see asyncio.Protocol."""
        if not self.lost.done():
            why = exc or "Redis closed the connection"
            self.lost.set_exception(RunlogUnavailable(f"the subscription broke: {why}"))
