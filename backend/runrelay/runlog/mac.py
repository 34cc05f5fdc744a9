"""The MAC of messages (message authentication code; the field `seal`): it proves that a commit made the message.

Why: every client that may PUBLISH could make up a message with the next `seq` of a run. So the commit script ends each
message with `,"seal":"<16 hex digits>"}`: the SHA-1 of the bytes before, between two copies of a key that is in the
run's hash and is never published. A relay gets the key with its first read of the run.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final

__all__ = ["Signer"]

_DIGITS: Final = 16


class Signer:
    """Signs and verifies the messages of one log, by its key. A run without a log has no key; then verification always
    fails, because anyone could compute a MAC with an empty key.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._begun = sha1(key, usedforsecurity=False)

    def sign(self, body: bytes) -> bytes:
        """The MAC of a message's bytes up to its seal field."""
        digest = self._begun.copy()
        digest.update(body + self._key)
        return digest.hexdigest()[:_DIGITS].encode()

    def verify(self, message: bytes) -> bytes | None:
        """A whole message's bytes up to its seal field, if the MAC is right; else None."""
        body, _, end = message.rpartition(b',"seal":"')
        return body if end == self.sign(body) + b'"}' and self._key else None
