"""Messages of the channel: told apart before anything is done with them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from ..progress import Cursor, check_run_id
from ..progress.run_ids import MAX_RUN_ID_CHARS

__all__ = ["MAX_RAW_BYTES", "Committed", "Raw", "parse_message"]

MAX_RAW_BYTES = 64 * 1024
"""A raw message above this is not adopted: the original's were under 1 KB."""


_new: Final = tuple.__new__


class Committed(NamedTuple):
    """A message that says of itself that it was committed. Whether that is true, its seal or the stream tells."""

    run_id: str
    cursor: Cursor
    fields: dict[str, Any]
    raw: bytes


class Raw(NamedTuple):
    """A message by hand or of an older publisher: no `seq`, to be adopted."""

    run_id: str
    fields: dict[str, Any]
    size_bytes: int


def parse_message(raw: bytes) -> Committed | Raw:
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
        return Raw(check_run_id(run_id), fields, len(raw))
    epoch, seq = fields.get("epoch"), fields["seq"]
    if type(run_id) is not str or type(epoch) is not str or type(seq) is not int:
        raise TypeError("run_id and epoch must be strings and seq an integer")
    if len(run_id) > MAX_RUN_ID_CHARS:  # the rest is the run log's to know; but a name is kept before it is asked
        raise ValueError(f"run_id must have at most {MAX_RUN_ID_CHARS} characters, got {len(run_id)}")
    # as the two would be made by their names, which takes twice as long
    return _new(Committed, (run_id, _new(Cursor, (epoch, seq)), fields, raw))
