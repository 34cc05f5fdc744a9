"""Raw messages that wait to be committed, run by run: one that cannot be committed does not block the others."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final, NamedTuple

from ..progress import Event
from ..runlog import ProducerSequence

__all__ = ["Waiting", "WaitingRun"]

_MAX_BYTES: Final = 16 << 20
_BYTES_EACH: Final = 500
"""What a waiting event costs beside its text."""
_MAX_BATCH: Final = 200
_TRY_AGAIN_S: Final = 0.5
_TRIES: Final = 10


class _Entry(NamedTuple):
    event: Event
    size_bytes: int


class WaitingRun:
    """One run's messages, in order, and the batch of them that is being committed."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.entries: deque[_Entry] = deque()
        self.batch: list[Event] = []
        """Stays the same, with its numbers, until it is known what became of it: then it is committed once."""
        self.sequence: ProducerSequence | None = None
        self.due_s = 0.0
        self.tries = 0
        self.failing_since_s = 0.0


class Waiting:
    """The runs take turns, a batch each. Bounded in bytes over all; what is over is refused, and counted.

    A run whose commit fails for now is tried again later, for ever while no other can be committed either: then it is
    Redis. When others can, and this one cannot at the tenth time, it is this run (a right that is missing for its keys,
    say), and it is given up.
    """

    def __init__(self) -> None:
        self._runs: OrderedDict[str, WaitingRun] = OrderedDict()
        self._bytes = 0
        self._succeeded_s = float("-inf")

    def __len__(self) -> int:
        """How many messages wait, those that are being committed included."""
        return sum(len(run.batch) + len(run.entries) for run in self._runs.values())

    @property
    def is_stuck(self) -> bool:
        """Whether nothing was committed since a run was first put off: it is Redis, for all that is known."""
        return any(run.tries and run.failing_since_s > self._succeeded_s for run in self._runs.values())

    def add(self, run_id: str, event: Event, size_bytes: int) -> bool:
        """Append an event. False: there is no room."""
        size_bytes += _BYTES_EACH
        run = self._runs.get(run_id)
        # one run that waits for ever must not take the room of all
        most = _MAX_BYTES if run is None or not run.tries else _MAX_BYTES // 4
        if self._bytes + size_bytes > most:
            return False
        if run is None:
            run = self._runs[run_id] = WaitingRun(run_id)
        run.entries.append(_Entry(event, size_bytes))
        self._bytes += size_bytes
        return True

    def next(self, now_s: float) -> WaitingRun | None:
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

    def done(self, run: WaitingRun, now_s: float) -> None:
        """Its batch is committed."""
        self._succeeded_s = now_s
        run.batch, run.tries, run.due_s = [], 0, 0.0
        if not run.entries:
            del self._runs[run.run_id]

    def put_off(self, run: WaitingRun, now_s: float) -> bool:
        """Its batch cannot be committed now. False: it is given up, see `drop`."""
        if not run.tries:
            run.failing_since_s = now_s
        run.tries += 1
        run.due_s = now_s + _TRY_AGAIN_S
        return run.tries < _TRIES or self._succeeded_s < run.failing_since_s

    def drop(self, run: WaitingRun) -> int:
        """Forget the run's messages. Returns how many they were."""
        del self._runs[run.run_id]
        self._bytes -= sum(entry.size_bytes for entry in run.entries)
        return len(run.batch) + len(run.entries)
