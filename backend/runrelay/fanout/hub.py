"""The hub: the runs that are watched in this process, their topics, and all connected clients."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

from ..codes import CloseCode
from ..errors import RunFailed, RunlogUnavailable
from ..metrics import RelayMetrics
from ..progress import START, Cursor
from ..runlog import AsyncRunLog, RunView
from .connections import Connection
from .containment import Children, Containment, for_ever
from .feed import RunListFeed
from .frame_cutting import PREFIX_END, ChannelMessage, message_prefix
from .frames import Batch
from .join_queue import JoinQueue
from .messages import RawMessage, parse_message
from .repairs import Repairs
from .shared_reads import Join
from .statistics import HubStatistics
from .subscribers import Subscriber
from .topics import Topic

__all__ = ["Hub"]

log = logging.getLogger(__name__)

_CHECK_CHUNK = 500
_SETTLE_S = 0.25
"""By then a message that was on its way when the log was read has arrived."""
_TURN_S = 0.003
_PINGS_AT_ONCE = 10
_PAUSE_S = 0.2


class Hub:
    """Sends this process's clients everything that they are sent. Belongs to one event loop; `run` must be running.

    The listener calls `receive`, `link_up` and `link_down`. A client's handler calls `connect`, `join`, `leave` and
    `disconnect`.
    """

    def __init__(
        self,
        runlog: AsyncRunLog,
        metrics: RelayMetrics,
        *,
        client_buffer_bytes: int = 1 << 20,
        end_after_s: float = 3.0,
        check_s: float = 5.0,
        tick_s: float = 20.0,
        max_joining: int = 100_000,
        on_raw: Callable[[RawMessage], None] | None = None,
    ) -> None:
        self.runlog = runlog
        self.metrics = metrics
        self.containment = Containment(metrics)
        self.feed = RunListFeed(runlog, self.containment)
        self.link: Literal["up", "down"] = "down"
        self.connections: set[Connection] = set()
        self.empty = asyncio.Event()
        """Set while no client is connected."""
        self.empty.set()
        self.closing = False
        self._client_buffer_bytes = client_buffer_bytes
        self._end_after_s = end_after_s
        self._check_s = check_s
        self._tick_s = tick_s
        self._on_raw = on_raw
        self._topics: dict[str, Topic] = {}
        self._topics_by_prefix: dict[bytes, Topic] = {}
        """The same topics, by the prefix of their messages."""
        self._arrived: dict[str, list[ChannelMessage]] = {}
        self._scheduled = False
        self._link_is_up = asyncio.Event()
        self.doubted = asyncio.Event()
        """Set when a read has failed though the link is up: the listener probes at once."""
        self._children = Children(self.containment)
        self._queue = JoinQueue(self._begin, self._refuse, max_joining, on_put_off=self.doubted.set)
        self._repairs = Repairs(self.spawn)
        self._due = asyncio.Event()
        """Set when Redis is back and the topics were not compared with their logs since."""

    @property
    def topics(self) -> int:
        """How many runs are watched in this process."""
        return len(self._topics)

    def statistics(self) -> HubStatistics:
        """See HubStatistics."""
        topics = {run_id: topic.statistics() for run_id, topic in self._topics.items()}
        return HubStatistics(topics, len(self.connections), self._queue.waiting, self._queue.under_way)

    # Life

    async def run(self) -> None:
        """Check the topics, feed the run list and ping the clients until cancelled; then end all reads."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(for_ever(self.feed.run), name="run list feed")
                tasks.create_task(for_ever(self._tick), name="client pings")
                while True:
                    await self._check_on()
        finally:
            await self._children.end()

    async def _check_on(self) -> None:
        """Check every `check_s` seconds. When Redis is back, catch up at once, and again until that has succeeded."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._check_s):
                await self._due.wait()
        back = self._due.is_set()
        self._due.clear()
        if self.link != "up":
            return
        try:
            await (self._catch_up() if back else self.check())
        except RunlogUnavailable as error:
            log.info("the check of the topics is put off: %s", error)
            if back:
                await asyncio.sleep(_PAUSE_S)
                self._due.set()
        except Exception as error:
            self.containment.record(error, "periodic check")

    async def _tick(self) -> None:
        """Let every connection detect a dead peer: one timer for all of them, spread over `tick_s` seconds."""
        while True:
            connections = [*self.connections]
            pause_s = self._tick_s / (len(connections) // _PINGS_AT_ONCE + 1)
            for at in range(0, len(connections) + 1, _PINGS_AT_ONCE):
                self._each(connections[at : at + _PINGS_AT_ONCE], lambda connection: connection.tick())
                await asyncio.sleep(pause_s)

    def close(self, code: CloseCode, reason: Callable[[], str]) -> None:
        """Close every client. Each gets its own reason, with a delay, so that not all reconnect at once."""
        self.closing = True
        self._each([*self.connections], lambda connection: connection.close(code, reason()))

    def _each(self, connections: Iterable[Connection], action: Callable[[Connection], object]) -> None:
        for connection in connections:
            try:
                action(connection)
            except Exception as error:
                self.containment.record(error, "a connection")

    # From the listener

    def receive(self, messages: Sequence[bytes], *, more: bool) -> None:
        """Take messages of the channel, in its order, and give them to their topics.

        Args:
            more: more messages are on their way. Then these wait until the loop's next turn, so that all go out in one
                write per client. Otherwise they go at once: a turn would only be a delay.
        """
        self.metrics.messages += len(messages)
        arrived, topics, by_prefix, watched = self._arrived, self._topics, self._topics_by_prefix, self.feed.watched
        message: ChannelMessage | RawMessage | None
        for raw in messages:
            try:
                topic = by_prefix.get(raw.partition(PREFIX_END)[0])
                message = None if topic is None else topic.cutter.cut(raw)
                if topic is None or message is None:
                    message = parse_message(raw)
                    if isinstance(message, RawMessage):
                        if self._on_raw is not None:
                            self._on_raw(message)
                        continue
                    topic = topics.get(message.run_id)
                    if watched:
                        self.feed.record(message.run_id)
                elif watched:
                    self.feed.record(topic.run_id)
            except (TypeError, ValueError) as error:
                self.metrics.malformed += 1
                log.debug("discarded a message on the channel: %s", error)
                continue
            except Exception as error:  # a failure of this message only
                self.containment.record(error, "a message on the channel")
                continue
            if topic is not None:
                if topic.run_id in arrived:
                    arrived[topic.run_id].append(message)
                else:
                    arrived[topic.run_id] = [message]
        if arrived and not self._scheduled:
            if more:
                self._schedule()
            else:
                self._distribute()

    def _distribute(self) -> None:
        """Give the topics their messages for 3 ms; the rest waits for the loop's next turn (backpressure).

        Each run's turn takes all its messages, in one write per client. So under overload a write carries more of them,
        and no more wait here than arrive while every run has one turn.
        """
        self._scheduled = False
        arrived, loop = self._arrived, asyncio.get_running_loop()
        until = loop.time() + _TURN_S
        while arrived:
            run_id = next(iter(arrived))
            messages = arrived.pop(run_id)
            topic = self._topics.get(run_id)
            if topic is not None:
                try:
                    topic.receive(messages)
                except Exception as error:
                    topic.fail(error)
            if arrived and loop.time() > until:
                self._schedule()
                return

    def _schedule(self) -> None:
        self._scheduled = True
        asyncio.get_running_loop().call_soon(self._distribute)

    def link_up(self) -> None:
        """The listener receives messages again. Missed events are read before anything newer goes out.

        The listener subscribes before it calls this. So each event is in the log that is read now, or comes over the
        channel, or both; then the position decides. Every topic's position is compared with its log, hundreds in one
        round trip, and only a topic at another position is repaired (or earlier, if a message is a jump).
        """
        self.link = "up"
        self._link_is_up.set()
        self._due.set()
        self._notify_all("up")
        self._queue.open()
        for topic in self._topics.values():
            for waiter in topic.waiters:
                waiter.set()
        self.feed.record_all()

    def link_down(self) -> None:
        """The listener receives nothing: from now on clients may see stale state, and are told so."""
        if self.link == "up":
            self.link = "down"
            self._link_is_up.clear()
            self._queue.shut()
            self._notify_all("down")

    def _notify_all(self, status: Literal["up", "down"]) -> None:
        batch = Batch.of({"type": "upstream", "status": status})
        self._each([*self.connections], lambda connection: connection.send(batch))

    def check_run(self, run_id: str) -> None:
        """A run's log was changed without an event, by a deletion for example: read it now, not at the next check."""
        topic = self._topics.get(run_id)
        if topic is not None and topic.position is not None and self.link == "up":
            topic.repair()

    async def check(self) -> None:
        """Compare every topic's position with its log, and repair those that stand still at another position.

        This finds what no message tells: the last message before a silence was lost, or a log is gone or was replaced.
        A topic that moves finds by itself what it misses, so it is left alone. Under load its log is far ahead, and a
        repair would read what is on its way already.
        """
        for topic in [*self._topics.values()]:  # some may have been reading when their last subscriber left
            self._tidy(topic)
        elsewhere: list[tuple[Topic, Cursor | None]] = []
        async for topic, position in self._positions():
            if position is None:
                if topic.position is not None and topic.position.seq and not topic.stale:
                    topic.repair()
            elif position != topic.position:
                elsewhere.append((topic, topic.position))
        if elsewhere:
            await asyncio.sleep(_SETTLE_S)
            for topic, was_at in elsewhere:
                if topic.position == was_at and not topic.has_pending and topic.run_id not in self._arrived:
                    topic.repair()

    async def _catch_up(self) -> None:
        """Redis was away: repair each topic that is at another position, was stale, or could not be repaired."""
        async for topic, position in self._positions():
            if (position or START) != topic.position or topic.stale or topic.has_pending:
                topic.repair()

    async def _positions(self) -> AsyncIterator[tuple[Topic, Cursor | None]]:
        """Each topic with its log's position; None: the log is gone. Valid until the next one is asked for."""
        topics = [topic for topic in self._topics.values() if topic.position is not None]
        for at in range(0, len(topics), _CHECK_CHUNK):
            chunk = topics[at : at + _CHECK_CHUNK]
            positions = await self.runlog.positions([topic.run_id for topic in chunk])
            for topic, position in zip(chunk, positions, strict=True):
                yield topic, position

    # From clients' handlers

    async def ready(self) -> None:
        """Wait until the link is up. On cancellation nothing changes."""
        await self._link_is_up.wait()

    def connect(self, connection: Connection) -> None:
        """A client has connected: it is told of the link and of the relay's shutdown until `disconnect`."""
        self.connections.add(connection)
        self.empty.clear()
        if self.link == "down":
            connection.send(Batch.of({"type": "upstream", "status": "down"}))

    def disconnect(self, connection: Connection) -> None:
        """The client has gone."""
        self.connections.discard(connection)
        if not self.connections:
            self.empty.set()
        code = connection.closed[0] if connection.closed is not None else None
        self.metrics.too_slow += code is CloseCode.TOO_SLOW
        self.metrics.too_many += code is CloseCode.TOO_MANY

    @property
    def is_crowded(self) -> bool:
        """Whether so many joins wait that no further one is accepted."""
        return self._queue.is_full

    def join(self, run_id: str, subscriber: Subscriber, after: Cursor | None) -> None:
        """Catch a subscriber up, then send it all that follows until `leave`, which must be called unless this raises.

        The join waits for its turn, and for the run log. If it fails, the subscriber's `run_failed` is called.

        Raises:
            Refusal: 4429, too many joins wait.
        """
        self._queue.join(run_id, subscriber, after)

    def _begin(self, join: Join) -> None:
        try:
            self._topic(join.run_id).join(join)
        except Exception as error:
            self.containment.record(error, "join", join.run_id)
            join.end(RunFailed(join.run_id))

    def _refuse(self, join: Join, error: Exception) -> None:
        if not isinstance(error, RunFailed):  # recorded already, where it happened
            self.containment.record(error, "join", join.run_id)
        try:
            join.subscriber.run_failed(error)
        except Exception as other:
            self.containment.record(other, "a subscriber", join.run_id)
        topic = self._topics.get(join.run_id)
        if topic is not None:
            self._tidy(topic)

    def leave(self, run_id: str, subscriber: Subscriber) -> None:
        """Send a subscriber nothing more."""
        self._queue.leave(subscriber)
        if (topic := self._topics.get(run_id)) is not None:
            topic.leave(subscriber)
            self._tidy(topic)

    @asynccontextmanager
    async def changes(self, run_id: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever a run may have changed: for held polling requests.

        A request that enters, then reads, then waits misses nothing: an earlier change is in what it reads.
        """
        topic = self._topic(run_id)
        event = asyncio.Event()
        topic.waiters.add(event)
        try:
            yield event
        finally:
            topic.waiters.discard(event)
            self._tidy(topic)

    def _topic(self, run_id: str) -> Topic:
        topic = self._topics.get(run_id)
        failed = topic if topic is not None and topic.failure is not None else None
        if topic is None or failed is not None:
            topic = self._topics[run_id] = Topic(
                run_id,
                self._read,
                self.metrics,
                resume_bytes=self._client_buffer_bytes // 2,
                end_after_s=self._end_after_s,
                ask_repair=self._repairs.add,
                containment=self.containment,
            )
            self._topics_by_prefix[message_prefix(run_id)] = topic
            if failed is not None:
                topic.waiters = failed.waiters  # held polls read by themselves, and were not closed
        return topic

    def _tidy(self, topic: Topic) -> None:
        if not topic.in_use and self._topics.get(topic.run_id) is topic:
            del self._topics[topic.run_id], self._topics_by_prefix[message_prefix(topic.run_id)]
            topic.discard()

    def _read(self, run_id: str, after: Cursor | None, event_bytes: int, later: bool) -> Awaitable[RunView]:
        return self.runlog.read(run_id, after, event_bytes=event_bytes, later=later)

    def spawn(self, work: Coroutine[Any, Any, None], name: str, run_id: str | None = None) -> asyncio.Task[None]:
        """Run work for one run or one client in a task that ends with the hub. If it fails, only this task ends."""
        return self._children.spawn(work, name, run_id)
