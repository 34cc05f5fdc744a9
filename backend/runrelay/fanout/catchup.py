"""Catch-up: the first frames of a subscriber, made from one read of the run.

All subscribers that join with the same cursor share them.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from ..metrics import RelayMetrics
from ..progress import MAX_SNAPSHOT_BYTES, START, Cursor, Snapshot, fitted
from ..runlog import RunView
from .frames import Batch, Frame, progress_frames

__all__ = ["Catchup", "initial_state_frame"]

_MAX_BODY_BYTES: Final = MAX_SNAPSHOT_BYTES - 256
"""The rest is for the transport: a WebSocket frame's header, or a server-sent event's name and id."""


def initial_state_frame(snapshot: Snapshot, *, recovered: bool) -> Frame:
    """The frame of a whole snapshot, at most 512 KiB: see `fitted` for what is left out first."""
    body = fitted(snapshot.initial_state(recovered=recovered), _MAX_BODY_BYTES)
    return Frame("initial_state", body, snapshot.cursor, snapshot.status)


class Catchup(NamedTuple):
    """The read that a join is based on, and the frames that its subscriber is sent."""

    view: RunView
    batch: Batch
    kind: Literal["join", "resume", "unrecovered"]

    @staticmethod
    def of(view: RunView, after: Cursor | None) -> Catchup:
        """No cursor: the snapshot. Cursor: the events after it; if some of them are gone, the snapshot with `recovered:
        false`.
        """
        snapshot, events = view.snapshot, view.events
        if after is None:
            return Catchup(view, Batch([initial_state_frame(snapshot, recovered=True)]), "join")
        if after == START and not snapshot.exists:
            events = []
        frames = None if events is None else progress_frames(events, snapshot.run_id, after, snapshot.cursor)
        if frames is None:
            return Catchup(view, Batch([initial_state_frame(snapshot, recovered=False)]), "unrecovered")
        if not frames:
            fields = {"type": "resumed", "run_id": snapshot.run_id, "id": str(snapshot.cursor)}
            frames = [Frame.of(fields, snapshot.cursor, snapshot.status)]
        return Catchup(view, Batch(frames), "resume")

    def count_in(self, metrics: RelayMetrics) -> None:
        """Count a subscriber that was sent this."""
        if self.kind == "join":
            metrics.joins += 1
        elif self.kind == "resume":
            metrics.resumes += 1
        else:
            metrics.unrecovered += 1
