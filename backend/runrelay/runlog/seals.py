"""Seals: how a relay knows that a message on the channel was made by a commit.

Anyone who may PUBLISH could make up a message with the next `seq` of a run. The commit script ends each
message with `,"seal":"<16 hex digits>"}`: the SHA-1 of what stands before, between two copies of a key that
lies in the run's hash and is never published. A relay gets the key with its first read of the run.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final

__all__ = ["is_sealed", "seal"]

_DIGITS: Final = 16
_TAIL_BYTES: Final = len(',"seal":""}') + _DIGITS


def seal(body: bytes, key: bytes) -> bytes:
    """The seal of a message's bytes up to its seal field."""
    return sha1(key + body + key, usedforsecurity=False).hexdigest()[:_DIGITS].encode()


def is_sealed(message: bytes, key: bytes) -> bool:
    """Whether a whole message carries the seal that this key makes."""
    return message[-_TAIL_BYTES:] == b',"seal":"%b"}' % seal(message[:-_TAIL_BYTES], key)
