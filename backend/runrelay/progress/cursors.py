"""Cursors: a position in a run's log, the same over WebSocket, SSE and polling."""

from __future__ import annotations

import re
import secrets
from typing import Final, NamedTuple

__all__ = ["EPOCH_ALPHABET", "EPOCH_CHARS", "START", "Cursor", "new_epoch", "parse_cursor"]

EPOCH_CHARS: Final = 12
EPOCH_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_CURSOR: Final = re.compile(rf"([a-z0-9]{{{EPOCH_CHARS}}})-(0|[1-9][0-9]{{0,14}})", re.ASCII)


class Cursor(NamedTuple):
    """The position after event `seq` of the log named `epoch`."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    def follows(self, other: Cursor) -> bool:
        """Whether this is the next position after `other`, with no event between."""
        return self.epoch == other.epoch and self.seq == other.seq + 1


START: Final = Cursor("0", 0)
"""The position in an unknown run: before the first event of any log."""


def parse_cursor(text: str) -> Cursor:
    """Read `<epoch>-<seq>`; `0-0` is `START`.

    Raises:
        ValueError: it is not a cursor.
    """
    if text == "0-0":
        return START
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise ValueError(f"a cursor is '<epoch>-<seq>' as in 'k3x9m2p7q1za-7', or '0-0', got {text[:80]!r}")
    return Cursor(match[1], int(match[2]))


def new_epoch() -> str:
    """A new name for a run's log: 12 of a-z0-9 by `secrets` (62 bits), so two are never equal."""
    return "".join(secrets.choice(EPOCH_ALPHABET) for _ in range(EPOCH_CHARS))
