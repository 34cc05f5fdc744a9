"""Seals: how a relay knows that a message on the channel was made by a commit.

Anyone who may PUBLISH could make up a message with the next `seq` of a run. The commit script ends each
message with `,"seal":"<16 hex digits>"}`: the SHA-1 of what stands before, between two copies of a key that
lies in the run's hash and is never published. A relay gets the key with its first read of the run.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final

__all__ = ["TAIL_BYTES", "Seal"]

_DIGITS: Final = 16
TAIL_BYTES: Final = len(',"seal":""}') + _DIGITS
"""Of a message, its seal and the brace after it."""


class Seal:
    """The seals of one log, by its key. Nothing is sealed for a log that has not begun, and has none: with an empty key
    anybody could.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._begun = sha1(key, usedforsecurity=False)

    def of(self, body: bytes) -> bytes:
        """The seal of a message's bytes up to its seal field."""
        digest = self._begun.copy()
        digest.update(body + self._key)
        return digest.hexdigest()[:_DIGITS].encode()

    def is_on(self, message: bytes) -> bool:
        """Whether a whole message carries its seal."""
        return message[-TAIL_BYTES:] == b',"seal":"%b"}' % self.of(message[:-TAIL_BYTES]) and self._key != b""
