"""Seals: how a relay knows that a message on the channel was made by a commit.

Anyone who may PUBLISH could make up a message with the next `seq` of a run. The commit script ends each
message with `,"seal":"<16 hex digits>"}`: the SHA-1 of what stands before, between two copies of a key that
lies in the run's hash and is never published. A relay gets the key with its first read of the run.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final

__all__ = ["Signer"]

_DIGITS: Final = 16


class Signer:
    """The seals of one log, by its key. Nothing is sealed for a log that has not begun, and has none: with an empty key
    anybody could.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._begun = sha1(key, usedforsecurity=False)

    def sign(self, body: bytes) -> bytes:
        """The seal of a message's bytes up to its seal field."""
        digest = self._begun.copy()
        digest.update(body + self._key)
        return digest.hexdigest()[:_DIGITS].encode()

    def verify(self, message: bytes) -> bytes | None:
        """A whole message's bytes up to its seal field, if that has this log's seal. None: it does not."""
        body, _, end = message.rpartition(b',"seal":"')
        return body if end == self.sign(body) + b'"}' and self._key else None
