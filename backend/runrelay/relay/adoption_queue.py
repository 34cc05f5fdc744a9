"""The queue of raw messages to be committed, run by run: a run that cannot be committed does not block the others."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final, NamedTuple

from ..progress import Event
from ..runlog import ProducerSequence

__all__ = ["AdoptionQueue", "QueuedRun"]

_MAX_BYTES: Final = 16 << 20
_BYTES_EACH: Final = 500
"""What a queued event takes beside its text."""
_MAX_BATCH: Final = 200
_RETRY_S: Final = 0.5
_MAX_TRIES: Final = 10


class _Entry(NamedTuple):
    event: Event
    size_bytes: int


class QueuedRun:
    """One run's messages, in order, and the batch of them that is being committed."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.entries: deque[_Entry] = deque()
        self.batch: list[Event] = []
        """Kept with its numbers until its outcome is known, so that a retry is idempotent."""
        self.sequence: ProducerSequence | None = None
        self.due_s = 0.0
        self.tries = 0
        self.failing_since_s = 0.0


class AdoptionQueue:
    """The runs take turns, one batch each. Bounded in bytes over all runs; beyond it messages are refused and counted.

    A commit that fails for now is tried again later. While no other run can be committed either, the cause is Redis,
    and it is tried for ever. If others can be committed and this one fails ten times, the cause is this run (the ACL
    does not allow its keys, for example), and its messages are dropped.
    """

    def __init__(self) -> None:
        self._runs: OrderedDict[str, QueuedRun] = OrderedDict()
        self._bytes = 0
        self._succeeded_s = float("-inf")

    def __len__(self) -> int:
        """How many messages are queued, including those that are being committed."""
        return sum(len(run.batch) + len(run.entries) for run in self._runs.values())

    @property
    def size_bytes(self) -> int:
        """Bytes that count against the bound: those of messages that are not being committed."""
        return self._bytes

    @property
    def is_stuck(self) -> bool:
        """Whether nothing was committed since some run first failed: the cause is most likely Redis."""
        return any(run.tries and run.failing_since_s > self._succeeded_s for run in self._runs.values())

    def add(self, run_id: str, event: Event, size_bytes: int) -> bool:
        """Append an event. False: there is no room."""
        size_bytes += _BYTES_EACH
        run = self._runs.get(run_id)
        # A run that keeps failing must not take the room of all others.
        most = _MAX_BYTES if run is None or not run.tries else _MAX_BYTES // 4
        if self._bytes + size_bytes > most:
            return False
        if run is None:
            run = self._runs[run_id] = QueuedRun(run_id)
        run.entries.append(_Entry(event, size_bytes))
        self._bytes += size_bytes
        return True

    def next(self, now_s: float) -> QueuedRun | None:
        """The run whose turn it is, with its batch; None if none is due."""
        for run in self._runs.values():
            if run.due_s <= now_s:
                break
        else:
            return None
        self._runs.move_to_end(run.run_id)
        while not run.tries and run.entries and len(run.batch) < _MAX_BATCH:
            event, size_bytes = run.entries.popleft()
            self._bytes -= size_bytes
            run.batch.append(event)
        return run

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until a run is due; None if there is none."""
        return min((max(0.0, run.due_s - now_s) for run in self._runs.values()), default=None)

    def acknowledge(self, run: QueuedRun, now_s: float) -> None:
        """The run's batch is committed."""
        self._succeeded_s = now_s
        run.batch, run.tries, run.due_s = [], 0, 0.0
        if not run.entries:
            del self._runs[run.run_id]

    def retry_later(self, run: QueuedRun, now_s: float) -> bool:
        """The run's batch cannot be committed now. False: it has failed too often, and is to be dropped."""
        if not run.tries:
            run.failing_since_s = now_s
        run.tries += 1
        run.due_s = now_s + _RETRY_S
        return run.tries < _MAX_TRIES or self._succeeded_s < run.failing_since_s

    def drop(self, run: QueuedRun) -> int:
        """Forget the run's messages. Returns how many they were."""
        del self._runs[run.run_id]
        self._bytes -= sum(entry.size_bytes for entry in run.entries)
        return len(run.batch) + len(run.entries)
