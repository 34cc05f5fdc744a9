"""Beginnings: what a watcher is sent first, made from one read of the run and shared by all who begin alike."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import orjson

from ..progress import START, Cursor, Snapshot
from ..progress.text import cut_text
from ..runlog import View
from .frames import Batch, Frame, progress_frames

__all__ = ["MAX_INITIAL_STATE_BYTES", "Beginning", "initial_state_frame"]

MAX_INITIAL_STATE_BYTES: Final = 512 * 1024
_STEP_ERRORS_BYTES: Final = 64 * 1024
_STEP_ERROR_BYTES: Final = 200
"""Of all steps' errors together, but at least so much of each."""


def initial_state_frame(snapshot: Snapshot, *, recovered: bool) -> Frame:
    """The frame of a whole snapshot, at most 512 KiB: the oldest log lines go first.

    But long errors of steps, which may have 64 KiB each, are cut before that: they leave no room for the log.
    """
    fields = snapshot.initial_state(recovered=recovered)
    frame = Frame.of(fields, snapshot.cursor, snapshot.status)
    if len(frame.body) > MAX_INITIAL_STATE_BYTES and fields["steps"]:
        most = max(_STEP_ERROR_BYTES, _STEP_ERRORS_BYTES // len(fields["steps"]))
        for step in fields["steps"]:
            if step["error"] is not None:
                step["error"] = cut_text(step["error"], most)
        frame = Frame.of(fields, snapshot.cursor, snapshot.status)
    while len(frame.body) > MAX_INITIAL_STATE_BYTES and fields["logs"]:
        # JSON can be up to six times the text: drop as much as is over, in the lines' own encoded sizes
        over, dropped = len(frame.body) - MAX_INITIAL_STATE_BYTES, 0
        for line in fields["logs"]:
            if over <= 0:
                break
            over -= len(orjson.dumps(line)) + 1
            dropped += 1
        fields["logs"] = fields["logs"][dropped:]
        fields["logs_truncated"] += dropped
        frame = Frame.of(fields, snapshot.cursor, snapshot.status)
    return frame


class Beginning(NamedTuple):
    """What a join begins with: the read that it rests on, and the frames that say it."""

    view: View
    batch: Batch
    kind: Literal["join", "resume", "unrecovered"]

    @staticmethod
    def of(view: View, after: Cursor | None) -> Beginning:
        """The snapshot for who has no cursor; else what follows it, or the snapshot if that is not all there."""
        snapshot, events = view.snapshot, view.events
        if after is None:
            return Beginning(view, Batch([initial_state_frame(snapshot, recovered=True)]), "join")
        if after == START and not snapshot.exists:
            events = []
        frames = None if events is None else progress_frames(events, snapshot.run_id, after, snapshot.cursor)
        if frames is None:
            return Beginning(view, Batch([initial_state_frame(snapshot, recovered=False)]), "unrecovered")
        if not frames:
            fields = {"type": "resumed", "run_id": snapshot.run_id, "id": str(snapshot.cursor)}
            frames = [Frame.of(fields, snapshot.cursor, snapshot.status)]
        return Beginning(view, Batch(frames), "resume")
