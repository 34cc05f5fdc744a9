"""Frames: messages to clients, serialised once per process, however many clients there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple

import orjson

from ..errors import Refusal
from ..progress import STATUSES, Cursor, Status
from ..progress.depth import shallow
from ..progress.fields import FRAME_FIELDS, MESSAGE_FIELDS

__all__ = ["Batch", "Frame", "progress_frame", "progress_frames", "websocket_frames"]

_TEXT: Final = 0x81  # FIN, opcode 1


@lru_cache(4096)
def _header(size: int) -> bytes:
    """The header of a server's text frame of `size` bytes: not masked, not compressed (RFC 6455, section 5.2)."""
    if size < 126:
        return bytes((_TEXT, size))
    if size < 1 << 16:
        return bytes((_TEXT, 126)) + size.to_bytes(2, "big")
    return bytes((_TEXT, 127)) + size.to_bytes(8, "big")


def websocket_frames(payloads: Iterable[bytes]) -> bytes:
    """Each payload (UTF-8) as a text frame, joined."""
    parts: list[bytes] = []
    for payload in payloads:
        parts += _header(len(payload)), payload
    return b"".join(parts)


class Frame(NamedTuple):
    """One message to clients."""

    kind: str
    body: bytes
    cursor: Cursor | None = None
    """The position after this frame; None for a frame that is no event of a run's log."""
    status: Status | None = None
    """The run's status after this frame, if the frame says it."""

    @staticmethod
    def of(fields: Mapping[str, Any], cursor: Cursor | None = None, status: Status | None = None) -> Frame:
        """The frame of these fields."""
        return Frame(fields["type"], orjson.dumps(fields), cursor, status)

    @property
    def sse(self) -> bytes:
        """The frame as a server-sent event; its id is the cursor."""
        head = b"event: " + self.kind.encode()
        if self.cursor is not None:
            head += b"\nid: " + str(self.cursor).encode()
        return head + b"\ndata: " + self.body + b"\n\n"


class Batch:
    """Frames that are sent together. Each form is made at most once, when the first client needs it."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = frames

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Batch:
        """A batch of one frame that is no event of a run's log."""
        return Batch([Frame.of(fields)])

    @cached_property
    def size_bytes(self) -> int:
        """Bytes of the frames' bodies: what a client's bound counts."""
        return sum(len(frame.body) for frame in self.frames)

    @cached_property
    def wire(self) -> bytes:
        """All as WebSocket frames, joined for one write."""
        return websocket_frames([frame.body for frame in self.frames])

    @cached_property
    def texts(self) -> list[str]:
        """Each body as text, for servers that make the WebSocket frames themselves."""
        return [frame.body.decode() for frame in self.frames]

    @cached_property
    def sse(self) -> bytes:
        """All as server-sent events, joined."""
        return b"".join([frame.sse for frame in self.frames])


def error_batch(refusal: Refusal, **more: Any) -> Batch:
    """The `error` frame of a refusal, with further fields, as `run_id`."""
    return Batch.of({"type": "error", "code": int(refusal.code), "message": refusal.reason, **more})


_OPTIONAL: Final = tuple(field.name for field in FRAME_FIELDS if not field.always)
_FIELDS_OF_ALL: Final = len(MESSAGE_FIELDS) + 1  # and the seal


def progress_frame(message: Mapping[str, Any], cursor: Cursor | None = None) -> Frame:
    """The frame of one committed message of the channel or the stream. `cursor`: the message's, if it was parsed."""
    cursor = cursor or Cursor(message["epoch"], message["seq"])
    fields = {
        "type": "progress",
        "run_id": message["run_id"],
        "state": message["state"],
        "progress": message["progress"],
        "message": message["log"] or "",
        "level": message.get("level", "info"),
        "status": message["status"],
        "seq": message["seq"],
        "id": str(cursor),
        "ts": message["ts"],
        "attempt": message["attempt"],
    }
    if len(message) > _FIELDS_OF_ALL:
        for name in _OPTIONAL:
            if name in message:
                fields[name] = message[name]
    try:
        return Frame.of(fields, cursor, message["status"])
    except TypeError:  # an older version committed data nested too deeply for orjson: see progress/depth.py
        fields.update({name: shallow(fields[name]) for name in ("data", "result") if name in fields})
        return Frame.of(fields, cursor, message["status"])


def progress_frames(events: Sequence[bytes], run_id: str, after: Cursor, reached: Cursor) -> list[Frame] | None:
    """The frames of a stream's entries, which must follow `after` one by one and end at `reached`.

    None if they do not, or if one of them is no event of this log: anybody can write to a stream.
    """
    frames: list[Frame] = []
    try:
        for seq, event in enumerate(events, after.seq + 1):
            message = orjson.loads(event)
            if (message["run_id"], message["epoch"], message["seq"]) != (run_id, reached.epoch, seq):
                return None
            if message["status"] not in STATUSES:
                return None
            frames.append(progress_frame(message))
    except (KeyError, TypeError, ValueError):
        return None
    return frames if after.seq + len(frames) == reached.seq else None
