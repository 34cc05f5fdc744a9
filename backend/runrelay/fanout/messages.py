"""Messages of the channel: committed ones, and raw ones that somebody published by hand."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from ..progress import Cursor, check_run_id
from ..progress.run_ids import MAX_RUN_ID_CHARS

__all__ = ["MAX_RAW_BYTES", "CommittedMessage", "RawMessage", "parse_message"]

MAX_RAW_BYTES: Final = 64 * 1024
"""A larger raw message is not adopted. Those of the original publisher were under 1 KB."""

_new: Final = tuple.__new__


class CommittedMessage(NamedTuple):
    """A message that claims to be committed. Its MAC proves it, or the stream, which then has the same event."""

    run_id: str
    cursor: Cursor
    fields: dict[str, Any]
    raw: bytes


class RawMessage(NamedTuple):
    """A message without `seq`, published by hand or by an older publisher: to be adopted."""

    run_id: str
    fields: dict[str, Any]
    size_bytes: int


def parse_message(raw: bytes) -> CommittedMessage | RawMessage:
    """Parse one message.

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
    if len(run_id) > MAX_RUN_ID_CHARS:  # the run log checks the rest, but the id is kept in memory before it is asked
        raise ValueError(f"run_id must have at most {MAX_RUN_ID_CHARS} characters, got {len(run_id)}")
    # `tuple.__new__` takes half the time of the constructors
    return _new(CommittedMessage, (run_id, _new(Cursor, (epoch, seq)), fields, raw))
