"""An outbox without a flusher, for tests that look into it."""

from __future__ import annotations

from typing import Any

from runrelay.outbox.outbox import Outbox
from runrelay.progress import Event, make_event

MIB = 1024 * 1024


def outbox_of(bound_bytes: int = 64 * MIB, **options: Any) -> Outbox:
    return Outbox(bound_bytes, on_first=lambda: None, **options)


def waiting(outbox: Outbox, run_id: str) -> list[Event]:
    """The waiting events of a run, in order."""
    outbox.sort()
    return [
        entry.event
        for queue, _ in outbox.waiting()
        if queue.run_id == run_id
        for entry in queue.items
        if entry.event is not None
    ]


def publish(outbox: Outbox, run_id: str, *args: Any, **fields: Any) -> None:
    outbox.append(run_id, make_event(*args, **fields))
