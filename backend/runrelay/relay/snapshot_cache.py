"""The snapshot cache: what polling requests are answered from while Redis is away."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import orjson

from ..progress import Snapshot

__all__ = ["SnapshotCache"]

_BOUND_BYTES: Final = 32 << 20


class SnapshotCache:
    """The snapshots that were read last, bounded in bytes. Overflow policy: the oldest goes first."""

    def __init__(self, bound_bytes: int = _BOUND_BYTES) -> None:
        self._bound_bytes = bound_bytes
        self._size_bytes = 0
        self._snapshots: OrderedDict[str, tuple[Snapshot, int]] = OrderedDict()

    def __len__(self) -> int:
        """How many snapshots are kept."""
        return len(self._snapshots)

    @property
    def size_bytes(self) -> int:
        """About how many bytes they take."""
        return self._size_bytes

    def keep(self, snapshot: Snapshot) -> None:
        """Keep a snapshot as the last one of its run."""
        self.forget(snapshot.run_id)
        size = 1000 + sum(len(line.message) * 2 + 100 for line in snapshot.logs)
        size += sum(500 + 4 * len(step.error or "") for step in snapshot.steps) + 4 * len(snapshot.error or "")
        if snapshot.result is not None:
            size += 8 * len(orjson.dumps(snapshot.result))  # about what the many small objects take
        self._snapshots[snapshot.run_id] = snapshot, size
        self._size_bytes += size
        while self._size_bytes > self._bound_bytes:
            _, (_, dropped) = self._snapshots.popitem(last=False)
            self._size_bytes -= dropped

    def forget(self, run_id: str) -> None:
        """Drop a run's snapshot, if there is one."""
        _, size = self._snapshots.pop(run_id, (None, 0))
        self._size_bytes -= size

    def get(self, run_id: str) -> Snapshot | None:
        """The last snapshot of a run."""
        found = self._snapshots.get(run_id)
        return None if found is None else found[0]
