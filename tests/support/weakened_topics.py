"""Topics with one protection switched off, for negative controls."""

from __future__ import annotations

import asyncio

from runrelay.fanout.catchup import Catchup
from runrelay.fanout.subscribers import Subscriber
from runrelay.fanout.topics import Topic
from runrelay.progress import START, is_ended

__all__ = ["NoAhead", "NoPatience", "NoPosition", "NoRecent", "NoRepair", "NoSecondRead", "NoStaleness"]


class NoRecent(Topic):
    """Forgets what was delivered while a joiner read."""

    def _admit(self, subscriber: Subscriber, catchup: Catchup) -> bool:
        reached = catchup.view.snapshot.cursor
        if self.position is not None and self.position.epoch == reached.epoch and self.position.seq > reached.seq:
            subscriber.connection.send(catchup.batch)
            self.subscribers.add(subscriber)
            return True
        return super()._admit(subscriber, catchup)


class NoAhead(Topic):
    """Takes a joiner whose read is ahead of the channel for one that is at the position."""

    def _admit(self, subscriber: Subscriber, catchup: Catchup) -> bool:
        admitted = super()._admit(subscriber, catchup)
        if self.ahead.pop(subscriber, None) is not None:
            self.subscribers.add(subscriber)
        return admitted


class NoPatience(Topic):
    """Takes a run for ended as soon as one joiner has read so, whatever the others have been told."""

    def _admit(self, subscriber: Subscriber, catchup: Catchup) -> bool:
        admitted = super()._admit(subscriber, catchup)
        if admitted and is_ended(catchup.view.snapshot.status):
            self._end_later()
        return admitted


class NoPosition(Topic):
    """Passes on whatever the channel brings."""

    def _deliver_backlog(self) -> bool:
        if self.position is not None and not self.subscribers.is_delivering and self._backlog:
            first = self._backlog[0].cursor or START
            self.position = first._replace(seq=first.seq - 1)
        return super()._deliver_backlog()


class NoRepair(Topic):
    """Never reads what it missed."""

    def repair(self) -> None:
        self._backlog.clear()
        asyncio.get_running_loop().call_soon(self._read_again)


class NoSecondRead(Topic):
    """Believes a read of another epoch, or of no log at all."""

    def _admit(self, subscriber: Subscriber, catchup: Catchup) -> bool:
        if self.position is not None and self.position.epoch != catchup.view.snapshot.cursor.epoch:
            subscriber.connection.send(catchup.batch)
            self.subscribers.add(subscriber)
            return True
        return super()._admit(subscriber, catchup)


class NoStaleness(Topic):
    """Goes on where it was when a log that was gone is back, or when the gone one's last messages come late."""

    def _deliver_backlog(self) -> bool:
        stale, self.stale = self.stale, False
        try:
            return super()._deliver_backlog()
        finally:
            self.stale = stale
