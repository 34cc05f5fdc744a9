"""Messages of the channel: told apart before anything is done with them.

Nearly all are a watched run's news of being at work. What the commit script wrote is known to the byte, and the seal
says that it did: so a frame is put together from the pieces of these, in a third of the time that it takes to read
them as JSON and write that again. The others, and whatever is not as expected, are read.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from ..progress import Cursor, check_run_id
from ..progress.run_ids import MAX_RUN_ID_CHARS
from ..runlog import Signer
from .frames import Frame

__all__ = ["MAX_RAW_BYTES", "CommittedMessage", "FrameCutter", "RawMessage", "message_prefix", "parse_message"]

MAX_RAW_BYTES = 64 * 1024
"""A raw message above this is not adopted: the original's were under 1 KB."""


_new: Final = tuple.__new__


class CommittedMessage(NamedTuple):
    """A message that says of itself that it was committed. Whether that is true, its seal or the stream tells."""

    run_id: str
    cursor: Cursor
    fields: dict[str, Any]
    raw: bytes


class RawMessage(NamedTuple):
    """A message by hand or of an older publisher: no `seq`, to be adopted."""

    run_id: str
    fields: dict[str, Any]
    size_bytes: int


def parse_message(raw: bytes) -> CommittedMessage | RawMessage:
    """Read one message.

    Raises:
        ValueError, TypeError: it is not JSON, not an object, too big, or has no usable run id, epoch or seq.
    """
    fields = orjson.loads(raw)
    if type(fields) is not dict:
        raise TypeError(f"a message is a JSON object, got {type(fields).__name__}")
    run_id = fields.get("run_id")
    if "seq" not in fields:
        if len(raw) > MAX_RAW_BYTES:
            raise ValueError(f"a raw message has at most {MAX_RAW_BYTES} bytes, got {len(raw)}")
        return RawMessage(check_run_id(run_id), fields, len(raw))
    epoch, seq = fields.get("epoch"), fields["seq"]
    if type(run_id) is not str or type(epoch) is not str or type(seq) is not int:
        raise TypeError("run_id and epoch must be strings and seq an integer")
    if len(run_id) > MAX_RUN_ID_CHARS:  # the rest is the run log's to know; but a name is kept before it is asked
        raise ValueError(f"run_id must have at most {MAX_RUN_ID_CHARS} characters, got {len(run_id)}")
    # as the two would be made by their names, which takes twice as long
    return _new(CommittedMessage, (run_id, _new(Cursor, (epoch, seq)), fields, raw))


def message_prefix(run_id: str) -> bytes:
    """What a committed message of this run begins with, up to `,"state":`."""
    return b'{"run_id":' + orjson.dumps(run_id)


class FrameCutter:
    """A run's log whose name and key this process has."""

    def __init__(self, epoch: str, seal_key: bytes) -> None:
        self.signer = Signer(seal_key)
        self._epoch = epoch
        self._epoch_and_ts = f',"epoch":"{epoch}","ts":'.encode()
        self._id = f',"id":"{epoch}-'.encode()

    def frame(self, raw: bytes) -> Frame | None:
        """The frame of a sealed message of this log that says no more than what a run at work does. None: any other.

        It is cut at names that come before everything that may have names of its own (`data`), and which no text before
        them can contain: a quotation mark in a text has a backslash before it.

        Raises:
            ValueError: it is not UTF-8.
        """
        body = self.signer.verify(raw)
        if body is None:
            return None
        head, _, rest = body.partition(b',"log":')
        log, _, rest = rest.partition(b',"status":"running","seq":')
        seq, _, rest = rest.partition(self._epoch_and_ts)
        if not rest or b',"level":' in rest:
            return None
        if not head.isascii():
            head.decode()  # the state is what the run's hash has, where somebody may have put what is no text
        frame = b'{"type":"progress",%b,"message":%b,"level":"info","status":"running","seq":%b%b%b","ts":%b}' % (
            head[1:], b'""' if log == b"null" else log, seq, self._id, seq, rest,
        )  # fmt: skip
        return _new(Frame, ("progress", frame, _new(Cursor, (self._epoch, int(seq))), "running"))
