"""The Lua scripts, by name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

__all__ = ["COMMIT", "DELETE", "FORGET", "HEARTBEAT", "LEASE", "READ", "Script"]


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the SHA-1 under which Redis keeps it."""

    name: str
    text: str
    sha: str

    @staticmethod
    def of(name: str, text: str) -> Script:
        """A script of this text."""
        return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())

    @staticmethod
    def load(name: str) -> Script:
        """Read `<name>.lua`, which lies beside this file."""
        return Script.of(name, resources.files(__package__).joinpath(f"{name}.lua").read_text("utf-8"))


COMMIT: Final = Script.load("commit")
READ: Final = Script.load("read")
HEARTBEAT: Final = Script.load("heartbeat")
DELETE: Final = Script.load("delete")
FORGET: Final = Script.load("forget")
LEASE: Final = Script.load("lease")
