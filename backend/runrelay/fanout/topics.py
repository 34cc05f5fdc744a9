"""Topics: one run's subscribers in this process, and the position up to which all of them have been sent its log.

Why there is no hole and no double
----------------------------------
A topic has one `position` (epoch, seq). Its *live* subscribers have been sent exactly the log up to it. The position
moves only by a delivery: events that follow it one by one are sent to every live subscriber. So a subscriber needs no
position of its own. A delivery to many subscribers takes several turns of the loop (subscribers.py). The position stays
until the delivery ends, and a subscriber that becomes live meanwhile is put at the end of the delivery's queue.

Joining. A join reads the run (one atomic read: the snapshot, or the events after the cursor); its subscriber is then at
the read's position R. The frames that the topic has delivered since the read began are kept (shared_reads.py). If

- R = position: the subscriber becomes live.
- R < position: it is sent the kept frames from R to the position, then becomes live. If some are missing, the join
  reads again.
- R > position: the channel is behind the read. The subscriber waits in `ahead` with R, and gets from each delivery only
  what follows R. When the position reaches R, it becomes live.
- another epoch: one of the two is out of date. The topic is repaired (a later read), then the join reads again.

All of this happens between two awaits, so no delivery can fall between the comparison and the change.

Repair. A jump, a foreign epoch, a reconnect or the periodic check starts one. The topic reads what follows its position
and delivers that; if the log does not have all of it, everybody gets a new initial_state. It does not matter when that
read ends: until then nothing newer is delivered, and later messages wait in `backlog`, in order. A message that arrived
before the read began was appended to the log before it was published, so the read contains it. Such a message that the
read does not explain was never committed, and is discarded. (After a reconnect
the hub compares positions first: only a topic at another position reads. Anything newer comes over the channel.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from ..errors import RunFailed, RunlogError, RunlogUnavailable, RunrelayError
from ..metrics import RelayMetrics
from ..progress import START, Cursor, is_ended
from ..runlog import RunView
from .catchup import Catchup, initial_state_frame
from .containment import Containment
from .frame_cutting import ChannelMessage, FrameCutter
from .frames import Batch, Frame, progress_frames
from .shared_reads import Join, SharedReads
from .statistics import TopicStatistics
from .subscribers import Subscriber, Subscribers

__all__ = ["Topic"]

_MAX_BACKLOG: Final = 10_000
Read = Callable[[str, Cursor | None, int, bool], Awaitable[RunView]]
"""Reads a run: its id, the cursor, the most bytes of events, and whether other reads go first."""


class Topic:
    """One run in this process. It exists while the run has subscribers, joins or held requests."""

    def __init__(
        self,
        run_id: str,
        read: Read,
        metrics: RelayMetrics,
        *,
        resume_bytes: int,
        end_after_s: float,
        ask_repair: Callable[[Topic], object],
        containment: Containment | None = None,
    ) -> None:
        self.run_id = run_id
        self.position: Cursor | None = None
        self.failure: Exception | None = None
        """Why this topic is not used any more: see `fail`."""
        self._containment = containment or Containment(metrics)
        self.subscribers = Subscribers(metrics, self._delivered, containment=self._containment, on_failed=self.fail)
        """The live subscribers."""
        self.ahead: dict[Subscriber, Cursor] = {}
        self.waiters: set[asyncio.Event] = set()
        self.reads = SharedReads(lambda after, event_bytes: read(run_id, after, event_bytes, False), self._answer)
        self.stale = False
        """Whether the log is gone; subscribers keep what they saw last."""
        self._read = read
        self._metrics = metrics
        self._ask_repair = ask_repair
        self._resume_bytes = resume_bytes
        self._end_after_s = end_after_s
        self.cutter = FrameCutter("", b"")
        """Makes frames of the log's messages; of none before the first read, which brings the log's epoch and key."""
        self._backlog: list[ChannelMessage] = []
        self._covered = 0
        """Number of backlog messages that arrived before the repair's read began; the read contains them already."""
        self._repairing = False
        self._unadmitted: list[Join] = []
        """Joins that are to read again after the repair."""
        self._end_timer: asyncio.Handle | None = None

    @property
    def in_use(self) -> bool:
        """Whether the topic is still needed."""
        is_busy = self._repairing or self.subscribers.is_delivering or self.reads.count > 0
        return is_busy or bool(self.subscribers.members or self.ahead or self.waiters)

    @property
    def has_pending(self) -> bool:
        """Whether messages wait here or are being delivered."""
        return bool(self._backlog) or self.subscribers.is_delivering

    def statistics(self) -> TopicStatistics:
        """See TopicStatistics."""
        return TopicStatistics(
            live=len(self.subscribers.members), ahead=len(self.ahead), joining=self.reads.count,
            waiters=len(self.waiters), backlog=len(self._backlog), is_delivering=self.subscribers.is_delivering,
            is_repairing=self._repairing, ends_soon=self._end_timer is not None,
        )  # fmt: skip

    def all_subscribers(self) -> list[Subscriber]:
        """All subscribers that have joined, live or ahead."""
        return [*self.subscribers.members, *self.ahead]

    # Messages of the channel

    def receive(self, messages: list[ChannelMessage]) -> None:
        """Take the run's messages of one turn of the loop, in the channel's order."""
        for waiter in self.waiters:
            waiter.set()
        if self.failure is not None or (self.position is None and not self.reads.count):
            return  # there are only held requests, which read by themselves
        self._backlog += messages
        over = len(self._backlog) - _MAX_BACKLOG
        if over > 0:
            # A read that takes so long contains most of them; the jump that is left starts another repair.
            del self._backlog[:over]
            self._covered = max(0, self._covered - over)
        if self.position is not None and not self._repairing and not self._deliver_backlog():
            self.repair()

    def _deliver_backlog(self) -> bool:
        """Deliver the messages that follow the position, up to the first that does not. False: a repair is needed."""
        frames: list[Frame] = []
        position = self.position
        assert position is not None
        if self.subscribers.is_delivering:
            return True  # when it has ended, `_delivered` calls this again
        if self.stale and self._backlog:
            return False  # there is a new log, or a late message of the old one
        for i, message in enumerate(self._backlog):
            cursor = message.cursor or START  # a frame of an event has a cursor
            if cursor.epoch == position.epoch:
                if not self.cutter.is_genuine(message):
                    self._metrics.forged += 1
                    continue
                if cursor.seq <= position.seq:
                    continue
                if cursor.seq == position.seq + 1:
                    frames.append(self.cutter.frame_of(message))
                    position = cursor
                    continue
            del self._backlog[:i]
            self.subscribers.deliver(frames)
            return self.subscribers.is_delivering
        self._backlog.clear()
        self.subscribers.deliver(frames)
        return True

    def _delivered(self, frames: Sequence[Frame]) -> None:
        """Every live subscriber was sent these frames, which follow the position one by one: move it."""
        position = frames[-1].cursor
        assert position is not None
        self.position = position
        self.reads.record(frames)
        for subscriber, reached in [*self.ahead.items()]:
            if reached.seq <= position.seq:
                del self.ahead[subscriber]
                rest = [frame for frame in frames if frame.cursor is not None and frame.cursor.seq > reached.seq]
                if not rest or subscriber.connection.send(Batch(rest)):
                    self.subscribers.add(subscriber)
        self._record_status(frames[-1])
        if self._backlog and not self._repairing and not self._deliver_backlog():
            self.repair()

    # Joining

    def join(self, join: Join) -> None:
        """Catch a subscriber up and make it live: see the top of this module.

        The join ends with None, with the RunlogError of its read, or with RunFailed after an unexpected error.
        """
        join.topic = self
        self.reads.count += 1
        self.reads.begin(join)

    def give_up(self, join: Join) -> None:
        """See shared_reads.Joinable."""
        self.reads.leave(join)
        self.reads.count -= 1

    def _answer(self, join: Join, outcome: Catchup | Exception) -> None:
        """A join's read has ended. There is no await from here until the subscriber is live."""
        if isinstance(outcome, Exception):  # not raised: see shared_reads.py
            self._end_join(join, outcome)
            return
        try:
            admitted = self._admit(join.subscriber, outcome)
        except Exception as error:
            self._end_join(join, error)
            return
        if admitted:
            return join.end(None)
        self.reads.renew(join)
        self._unadmitted.append(join)
        join.answered()  # other joins need not wait for this run's repair
        self.repair()

    def _end_join(self, join: Join, error: Exception) -> None:
        if isinstance(error, RunrelayError):
            join.end(error)
        else:
            self._containment.record(error, "join", self.run_id)
            join.end(RunFailed(self.run_id))

    def _read_again(self) -> None:
        unadmitted, self._unadmitted = self._unadmitted, []
        for join in unadmitted:
            if not join.over:
                self.reads.begin(join)

    def _admit(self, subscriber: Subscriber, catchup: Catchup) -> bool:
        if self.failure is not None:
            raise self._failed()
        view = catchup.view
        reached = view.snapshot.cursor
        if self.position is None:
            self.position, self.cutter = reached, FrameCutter(reached.epoch, view.seal_key)
        elif view.snapshot.exists and reached.epoch != self.position.epoch:
            return False
        elif not view.snapshot.exists and self.position != START and not self.stale:
            return False  # the read was before the log began, or after it was gone: read again
        rest: list[Frame] = []
        behind = False
        if view.snapshot.exists:
            rest = self.reads.since(reached)
            behind = reached.seq > self.position.seq
            if reached.seq + len(rest) < self.position.seq:
                return False  # not all was kept since the read, or a new initial_state was sent: read again
        first, connection = catchup.batch, subscriber.connection
        catchup.count_in(self._metrics)
        if connection.send(first, exempt=True) and (not rest or connection.send(Batch(rest))):
            if behind:
                self.ahead[subscriber] = reached
            else:
                self.subscribers.add(subscriber)
        self._metrics.deliveries += len(first.frames) + len(rest)
        if not rest and not behind and is_ended(view.snapshot.status):
            self._end_later()  # otherwise when the other subscribers have been sent the end, too
        if not self._repairing and not self._deliver_backlog():
            self.repair()
        return True

    def leave(self, subscriber: Subscriber) -> None:
        """Send the subscriber nothing more."""
        self.subscribers.remove(subscriber)
        self.ahead.pop(subscriber, None)

    # Repair

    def repair(self) -> None:
        """Read what follows the position and deliver it, when this topic's turn comes; one repair at a time."""
        if self.failure is None and not self._repairing:
            self._repairing = True
            self._ask_repair(self)

    async def repair_once(self) -> bool:
        """See repairs.Repairable. True: the messages that arrived meanwhile do not follow; it must read again."""
        again = False
        try:
            if self.failure is None and (self.subscribers.members or self.ahead or self.reads.count):
                again = await self._repair()
        except RunlogUnavailable:
            pass  # the hub checks every topic when the run log is back, and every few seconds
        except Exception as error:
            self.fail(error)
        finally:
            if not again:
                self._repairing = False
                asyncio.get_running_loop().call_soon(self._read_again)
        return again

    async def _repair(self) -> bool:
        await self.subscribers.idle.wait()  # until then the position may move
        self._covered = len(self._backlog)
        view = await self._read(self.run_id, self.position, self._resume_bytes, True)
        self._metrics.repairs += 1
        self._catch_up(view)
        await self.subscribers.idle.wait()
        reached = self.position
        if reached is None:
            return False
        # What arrived before the read and is not explained by it was never committed.
        early, self._backlog = self._backlog[: self._covered], self._backlog[self._covered :]
        for message in early:
            epoch, seq = message.cursor or START
            if epoch != reached.epoch and self._metrics.foreign_databases:
                self._metrics.foreign += 1  # most likely another database's event; not shown, like forged ones
            elif epoch != reached.epoch or seq > reached.seq:
                self._metrics.forged += 1
        return not self._deliver_backlog()

    def _catch_up(self, view: RunView) -> None:
        snapshot = view.snapshot
        if not snapshot.exists:
            if self.position not in (None, START) and not self.stale:
                self.stale = True
                self.subscribers.send(Batch.of({"type": "stale", "run_id": self.run_id}))
            return
        was_stale, self.stale = self.stale, False
        self.cutter = FrameCutter(snapshot.cursor.epoch, view.seal_key)
        frames = None
        if view.events is not None and self.position is not None and not was_stale:
            frames = progress_frames(view.events, self.run_id, self.position, snapshot.cursor)
        if self.position is None:
            self.position = snapshot.cursor
        elif frames is not None:
            self.subscribers.deliver(frames)
        elif snapshot.cursor != self.position or was_stale:  # while it was stale, joins were told that there is no run
            self.position = snapshot.cursor
            self.reads.forget_delivered()
            frame = initial_state_frame(snapshot, recovered=False)
            for subscriber in self.ahead:
                self.subscribers.add(subscriber)
            self.ahead.clear()
            self.subscribers.send(Batch([frame]))
            self._metrics.unrecovered += len(self.subscribers.members)
            self._record_status(frame)

    # The end

    def _record_status(self, frame: Frame) -> None:
        if frame.status is None:
            return
        if is_ended(frame.status):
            self._end_later()
        elif self._end_timer is not None:  # a new attempt
            self._end_timer.cancel()
            self._end_timer = None

    def _end_later(self) -> None:
        if self._end_timer is None:
            self._end_timer = asyncio.get_running_loop().call_later(self._end_after_s, self._end)

    def _end(self) -> None:
        self._end_timer = None
        if self.subscribers.is_delivering:
            # It may be a new attempt's first event, which would cancel the end: deliver it first.
            self._end_timer = asyncio.get_running_loop().call_soon(self._end)
            return
        self.subscribers.end(self.run_id)  # those ahead have read more: a new attempt

    # Failure

    def fail(self, error: Exception) -> None:
        """What is stored is no run any more, or there was an unexpected error.

        The topic's state is then unknown, so the topic is not used any more. Its subscribers are notified, its joins
        end, and the hub makes a new topic for the next subscriber. A failure that stays costs one failed topic for each
        client that reconnects, and clients back off.
        """
        if self.failure is not None:
            return
        self.failure = error
        self._containment.record(error, "topic", self.run_id)
        subscribers = self.all_subscribers()
        self.ahead.clear()
        self._backlog.clear()
        self.subscribers.discard()
        self._stop()
        for subscriber in subscribers:
            try:
                subscriber.run_failed(error)
            except Exception as other:
                self._containment.record(other, "a subscriber", self.run_id)
        for waiter in self.waiters:
            waiter.set()
        while self._unadmitted:
            self._unadmitted.pop().end(self._failed())

    def _failed(self) -> RunrelayError:
        return self.failure if isinstance(self.failure, RunlogError) else RunFailed(self.run_id)

    def discard(self) -> None:
        """The topic is not in use and will not be again: its parts let go of it, so that it is freed now.

        A reference cycle (4 KB) would wait for the garbage collector: in a flood of subscriptions, 6 MB a minute.
        """
        self._stop()
        self.reads.discard()
        self.subscribers.detach()

    def _stop(self) -> None:
        self.reads.close()
        if self._end_timer is not None:
            self._end_timer.cancel()
