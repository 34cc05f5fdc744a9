"""The flusher: one daemon thread per process that commits the outbox's events in order.

It starts with the first event and sends at once when nothing is in flight. It keeps a batch, with its numbers, until it
knows what became of it. After a lost reply it sends the same batch again: the run log skips the events that it has
committed already (idempotent producer).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ..errors import CannotBeSent, CommitRefused, RunlogError, RunlogUnavailable
from ..progress import TERMINAL_STATES, Event
from ..progress.fields import CONTROLS, NO_CONTROLS
from ..runlog import Batch, Committed, ProducerSequence
from .outbox import Outbox
from .queues import InFlightBatch, QueuedEvent, RunQueue
from .scopes import STARTS
from .spool import Spool

if TYPE_CHECKING:
    from ..runlog import RunLog

__all__ = ["Flusher", "backoff_s"]

_log = logging.getLogger("runrelay.publisher")

BACKOFF_FIRST_S: Final = 0.05
BACKOFF_MAX_S: Final = 2.0
INDEX_EVERY_S: Final = 1.0
HANGS_AFTER_S: Final = 1.0
"""A call to Redis that takes longer than this counts as hanging: no publishing thread waits for room then."""
SPOOL_FROM: Final = 8
"""While Redis is away, the events in memory go to the spool when they take more than 1/SPOOL_FROM of the bound."""
UNSENDABLE_NOTE: Final = "… 1 event that cannot be sent is given up"


def backoff_s(failures: int, chance: float) -> float:
    """Seconds to wait after so many failures in a row: doubled each time, with jitter.

    After the first failure there is no wait: the server may have closed an idle connection, and a new one works.

    Args:
        failures: in a row, from 1.
        chance: within 0..1, random: many workers must not come back at the same moment.
    """
    if failures <= 1:
        return 0.0
    wait_s: float = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(failures - 2, 16))
    return wait_s * (0.5 + chance / 2)


def _commit_of(batch: InFlightBatch) -> Batch:
    return Batch(batch.queue.run_id, batch.producer, batch.first, batch.events)


def _doubt(batches: Sequence[InFlightBatch]) -> None:
    """The batches will be sent again although they may be committed: their producers' marks in Redis must stay."""
    for batch in batches:
        batch.queue.sequence.in_doubt = True


class Flusher:
    """Commits an outbox's events.

    Args:
        outbox: where the batches come from.
        connect: makes the run log that the thread uses; no other thread does.
        flush_ms: milliseconds between two commits at least.
        spool: where events go that the outbox cannot hold, and where those of dead processes come from.
        on_begun: called after the start of a scope of this process is committed.
    """

    def __init__(
        self,
        outbox: Outbox,
        connect: Callable[[], RunLog],
        *,
        flush_ms: float = 0.0,
        spool: Spool,
        on_begun: Callable[[], None] = lambda: None,
    ) -> None:
        self.outbox = outbox
        self.spool = spool
        self._connect = connect
        self._on_begun = on_begun
        self._flush_s = flush_ms / 1000
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stopping = False
        self._failures = 0
        self._why: RunlogUnavailable | None = None
        self._sent_s = 0.0
        self._sending = False
        self._retry: Sequence[InFlightBatch] = ()
        self._acknowledged = threading.Condition()
        self._waiters = 0
        self._to_index: dict[str, int] = {}

    @property
    def down(self) -> bool:
        """Whether Redis is known to be away: the last call failed, on a new connection."""
        return self._failures > 1

    @property
    def draining(self) -> bool:
        """Whether the flusher empties the outbox, as far as is known. False in the flusher's own thread."""
        hangs = self._sending and time.monotonic() - self._sent_s > HANGS_AFTER_S
        return self._thread not in (None, threading.current_thread()) and not self.down and not hangs

    def start(self) -> None:
        """Start the thread if it is not there yet."""
        with self._starting:
            if self._thread is None:
                self._stopping = False
                thread = threading.Thread(target=self._run, name="runrelay-flusher", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return  # the interpreter is shutting down: the task must not fail for it
                self._thread = thread

    def stop(self, timeout_s: float) -> bool:
        """Ask the thread to end, and wait for that. Waiting events stay in the outbox. Returns whether it ended.

        A thread that does not end in time (because Redis hangs) goes on, so that later events have a flusher.
        """
        thread = self._thread
        if thread is None:
            return True
        self._stopping = True
        self.outbox.wakeup.wake()
        thread.join(timeout_s)
        with self._starting:
            self._stopping = False
            return self._thread is not thread

    def flush_here(self, timeout_s: float) -> None:
        """Commit the waiting events in the calling thread, when there can be no other. Gives up if Redis is away."""
        deadline = time.monotonic() + timeout_s
        runlog = self._connect()
        try:
            while not self.down and time.monotonic() < deadline:
                batches = self._retry or self.outbox.take(time.monotonic())
                if not batches:
                    break
                self._send(runlog, batches)
            self._delete_marks(runlog)
        finally:
            runlog.close()
            self.outbox.wakeup.flusher_ended()

    def wait(self, timeout_s: float, *, while_down: bool = True) -> bool:
        """Wait until all events that wait now are settled. Returns whether they are.

        Args:
            timeout_s: the longest wait.
            while_down: False: give up as soon as Redis is known to be away.

        In the flusher's own thread it returns False at once: waiting there would be a deadlock.
        """
        if threading.current_thread() is self._thread:
            return False
        deadline = time.monotonic() + timeout_s
        for _ in range(2):  # a settled event may be followed by another: a step's failure by the run's
            targets = self.outbox.waiting()
            if targets and not self._wait(targets, deadline, while_down):
                return False
        return True

    def _wait(self, targets: list[tuple[RunQueue, int]], deadline: float, while_down: bool) -> bool:
        self.start()
        with self._acknowledged:
            self._waiters += 1
            try:
                if while_down or not self.down:
                    self.outbox.wakeup.wake()
                while not self._settled(targets):
                    left_s = deadline - time.monotonic()
                    if left_s <= 0 or (self.down and not while_down):
                        return False
                    self._acknowledged.wait(left_s)
                return True
            finally:
                self._waiters -= 1

    def _settled(self, targets: list[tuple[RunQueue, int]]) -> bool:
        with self.outbox.lock:
            return all(queue.settled_up_to(serial) for queue, serial in targets)

    def _run(self) -> None:
        self.outbox.wakeup.flusher_started()
        runlog = self._connect()
        try:
            while not self._has_ended(runlog):
                sent = self._round(runlog)
                if self._waiters:
                    with self._acknowledged:
                        self._acknowledged.notify_all()
                if self._failures:
                    self.outbox.wakeup.backoff(backoff_s(self._failures, random.random()))
                elif self._flush_s and sent and not self._waiters:
                    self.outbox.wakeup.backoff(max(0.0, self._sent_s + self._flush_s - time.monotonic()))
        except Exception:
            _log.exception("the flusher has failed; the next event starts another")
            self._retry = self.outbox.batches()  # it is not known what became of them: the next thread sends them
            _doubt(self._retry)
            self._thread = None
            self.outbox.wakeup.flusher_ended()
        finally:
            runlog.close()

    def _delete_marks(self, runlog: RunLog) -> None:
        """Delete the marks of this process' producers in Redis. Later events come from new producers."""
        if not self.down:
            runlog.delete_marks(self.outbox.retired(all_idle=True))

    def _has_ended(self, runlog: RunLog) -> bool:
        """Whether the thread was asked to end. If so it counts as ended from here: the next event starts another."""
        if not self._stopping:
            return False
        self._delete_marks(runlog)
        with self._starting:
            if self._stopping:
                self._thread = None
                self.outbox.wakeup.flusher_ended()
            return self._thread is None

    def _round(self, runlog: RunLog) -> bool:
        """Commit once what is ready, or wait until something is. Returns whether something was sent."""
        # A batch that is sent again goes before the spool: what is spooled of its run is newer.
        replayed = "idle" if self._retry else self.spool.replay(runlog)
        if replayed == "sent" or replayed == "away":
            self._reached(replayed == "sent", runlog)
            if replayed == "away":
                return True
        batches = self._retry or self.outbox.take(time.monotonic())
        if batches:
            self._sent_s = time.monotonic()
            self._sending = True
            self._send(runlog, batches)
            self._sending = False
            if self.down and self.outbox.bytes > self.outbox.bound_bytes // SPOOL_FROM:
                self.spool.put()  # long before the bound, so that the task's own thread need not do it
            return True
        if replayed == "idle":  # else tell the threads that wait for spooled events first
            self.outbox.wakeup.wait(self.spool.replay_again_s())
        return replayed != "idle"

    def _reached(self, reached: bool, runlog: RunLog) -> None:
        if not reached:
            self._failures += 1
            if self._failures == 2:
                why = "no answer" if self._why is None else runlog.trouble(self._why)
                _log.warning("Redis is away: progress waits in memory until it is back: %s", why)
        elif self._failures:
            if self._failures > 1:
                _log.info("Redis is back")
            self._failures = 0

    def _send(self, runlog: RunLog, batches: Sequence[InFlightBatch]) -> None:
        commits = [_commit_of(batch) for batch in batches]
        results: Sequence[Committed | RunlogError]
        try:
            results = runlog.commit_many(commits)
        except CannotBeSent as error:
            before = self.outbox.counts.rejected
            self._retry = [batch for batch in batches if self._can_be_sent(runlog, batch, error)]
            if self.outbox.counts.rejected == before:
                self._reached(False, runlog)
            return
        except Exception as error:
            # A mistake in this program or in a library. Nothing is known of the batches, so they are sent again.
            runlog.close()
            _doubt(batches)
            if not self._failures:
                _log.exception("a commit has failed, and is tried again")
            results = [RunlogUnavailable(f"a commit has failed: {error!r}")] * len(batches)
        self._why = next((result for result in results if isinstance(result, RunlogUnavailable)), None)
        self._retry = [batch for batch, result in zip(batches, results, strict=True) if not self._settle(batch, result)]
        self._reached(not self._retry, runlog)
        if self._retry:
            return
        self._enter_in_list(runlog)
        counts = self.outbox.counts
        if counts.unreported is not None and runlog.report_given_up(counts.unreported):
            counts.unreported = None
        if retired := self.outbox.retired():
            runlog.delete_marks(retired)

    def _can_be_sent(self, runlog: RunLog, batch: InFlightBatch, error: CannotBeSent) -> bool:
        """Give up what has no form in which it could be sent: these events alone, where nothing depends on them.

        A line in the run's log takes the place of each, so that the numbers of the others stay. Returns False if the
        whole batch is given up.
        """
        poisoned = runlog.unsendable(_commit_of(batch))
        if not poisoned:
            return True
        for index in poisoned:
            event = batch.events[index]
            if event[CONTROLS] != NO_CONTROLS or event.state in TERMINAL_STATES:
                break
            batch.events[index] = Event(event.ts_ms, log=UNSENDABLE_NOTE, level="warning")
        if runlog.unsendable(_commit_of(batch)):
            self._give_up(batch, error)
            self.outbox.settle(batch)
            self.spool.ack(batch)
            return False
        self._count_given_up(batch.queue, len(poisoned), error)
        return True

    def _enter_in_list(self, runlog: RunLog) -> None:
        if not self._to_index:
            return
        try:
            runlog.index(self._to_index)
            self._to_index.clear()
        except RunlogUnavailable:
            pass  # tried again with the next commit; a listing repairs the list, too
        except RunlogError as error:  # a foreign key under the list's name: the entries would pile up here
            _log.debug("%d runs cannot be entered in the list of runs: %s", len(self._to_index), error)
            self._to_index.clear()

    def _settle(self, batch: InFlightBatch, result: Committed | RunlogError) -> bool:
        """Take the result of a batch. Returns False if it is not known what became of it: it must be sent again."""
        if isinstance(result, RunlogUnavailable):
            _doubt([batch])
            return False
        queue, counts = batch.queue, self.outbox.counts
        if isinstance(result, Committed):
            counts.committed += len(batch.events)
            if result.data_ignored and not queue.data_ignored:
                queue.data_ignored = True
                _log.warning("run %r: data was not merged, as the run's data would have more than 4 KiB", queue.run_id)
            if result.fenced:
                counts.fenced += result.fenced
                _log.debug("run %r: %d events of an older attempt, or after the end", queue.run_id, result.fenced)
            self._record_index(queue, result)
        else:
            self._give_up(batch, result)
        self._conclude(queue.run_id, batch.entries[-1], result)
        self.outbox.settle(batch)
        self.spool.ack(batch)
        return True

    def _conclude(self, run_id: str, last: QueuedEvent, result: Committed | RunlogError) -> None:
        """Do what depends on a batch's last event: set its scope's attempt, publish the event that follows it."""
        if last.event is None or not isinstance(result, Committed):
            return
        if last.scope is not None and last.event.kind in STARTS:
            last.scope.begun(last.event, result)
            self._on_begun()
        elif last.scope is not None and last.scope.open and not last.scope.heard:
            last.scope.heard = True
            self._on_begun()
        if last.follow is not None and not result.fenced:
            self.outbox.append(run_id, last.follow)

    def _give_up(self, batch: InFlightBatch, error: RunlogError) -> None:
        """Drop a batch that the run log will never accept, so that the run's later events can go."""
        queue = batch.queue
        self._count_given_up(queue, len(batch.events), error)
        # A refusal changes nothing in Redis, so the numbers can be used again. After any other error that is not known.
        queue.sequence = (
            ProducerSequence(batch.producer, batch.first)
            if isinstance(error, CommitRefused)
            else ProducerSequence.fresh()
        )

    def _count_given_up(self, queue: RunQueue, count: int, error: RunlogError) -> None:
        self.outbox.counts.reject(count, queue.run_id, str(error))
        if not queue.rejected:
            queue.rejected = True
            _log.error("run %r: %d events are given up: %s", queue.run_id, count, error)

    def _record_index(self, queue: RunQueue, result: Committed) -> None:
        now_s = time.monotonic()
        if result.after > result.before and (
            result.created or result.status_changed or now_s - queue.indexed_s >= INDEX_EVERY_S
        ):
            queue.indexed_s = now_s
            self._to_index[queue.run_id] = result.updated_at
