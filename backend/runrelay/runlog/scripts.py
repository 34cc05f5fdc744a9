"""The Lua scripts, by name. They are put together from their parts and hashed once, at import."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from typing import Final

__all__ = ["COMMIT", "DELETE", "EXPIRE_HEARTBEATS", "HEARTBEAT", "LEASE", "LOG_PAGE", "READ", "RIGHTS", "Script"]


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
        """Read `<name>.lua`, which lies beside this file. A line `-- include x.lua` is replaced by that file's text."""
        return Script.of(name, _text(f"{name}.lua"))


_INCLUDE: Final = re.compile(r"^-- include (\w+\.lua)\n", re.MULTILINE)


def _text(file: str) -> str:
    text = resources.files(__package__).joinpath(file).read_text("utf-8")
    return _INCLUDE.sub(lambda line: _text(line[1]), text)


COMMIT: Final = Script.load("commit")
READ: Final = Script.load("read")
HEARTBEAT: Final = Script.load("heartbeat")
DELETE: Final = Script.load("delete")
EXPIRE_HEARTBEATS: Final = Script.load("expire_heartbeats")
LOG_PAGE: Final = Script.load("log_page")
LEASE: Final = Script.load("lease")
RIGHTS: Final = Script.load("rights")
