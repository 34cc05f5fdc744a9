"""Beginnings: what a subscriber is sent first, made from one read of the run and shared by all who begin alike."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from ..metrics import RelayMetrics
from ..progress import MAX_SNAPSHOT_BYTES, START, Cursor, Snapshot, fitted
from ..runlog import RunView
from .frames import Batch, Frame, progress_frames

__all__ = ["Catchup", "initial_state_frame"]

_MAX_BODY_BYTES: Final = MAX_SNAPSHOT_BYTES - 256
"""The rest is for what a transport puts around it: a head, or a server-sent event's name and id."""


def initial_state_frame(snapshot: Snapshot, *, recovered: bool) -> Frame:
    """The frame of a whole snapshot, at most 512 KiB: `fitted` says what goes first."""
    body = fitted(snapshot.initial_state(recovered=recovered), _MAX_BODY_BYTES)
    return Frame("initial_state", body, snapshot.cursor, snapshot.status)


class Catchup(NamedTuple):
    """What a join begins with: the read that it rests on, and the frames that say it."""

    view: RunView
    batch: Batch
    kind: Literal["join", "resume", "unrecovered"]

    @staticmethod
    def of(view: RunView, after: Cursor | None) -> Catchup:
        """The snapshot for who has no cursor; else what follows it, or the snapshot if that is not all there."""
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
        """Count a client that begins so."""
        if self.kind == "join":
            metrics.joins += 1
        elif self.kind == "resume":
            metrics.resumes += 1
        else:
            metrics.unrecovered += 1
