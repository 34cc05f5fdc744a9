"""Open files: each connection is one, and their number is limited (RLIMIT_NOFILE)."""

from __future__ import annotations

import logging
import math
import sys
from typing import Final

__all__ = ["backlog", "raise_limit", "room_for_connections", "unread_bytes", "warn_if_too_few_files"]

log = logging.getLogger(__name__)

_OTHERS: Final = 64
"""Reserved for connections to Redis, runs' files, logs and listening sockets."""
_BACKLOG: Final = 2048
_MACOS_MOST: Final = 10_240
"""OPEN_MAX: macOS accepts no higher soft limit, even if its hard limit is higher."""


def _limit() -> float:
    if sys.platform == "win32":
        return math.inf
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if soft == resource.RLIM_INFINITY else soft


def raise_limit() -> None:
    """Raise the soft limit on open files to the hard limit, for this process and those that it starts.

    The soft limit is 1,024 or 256 on many machines, for programs that use select(). None of ours does.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    wanted = _MACOS_MOST if sys.platform == "darwin" and not 0 <= hard <= _MACOS_MOST else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.warning("the limit on open files stays at %d: %s", soft, error)


def unread_bytes(file: int) -> int:
    """How many bytes a socket has received that were not read yet; 0 if the system does not say."""
    if sys.platform == "win32":
        return 0
    import fcntl
    import termios

    try:
        answer = fcntl.ioctl(file, termios.FIONREAD, bytes(4))
    except OSError:  # it is closed
        return 0
    return int.from_bytes(answer, sys.byteorder)


def backlog() -> int:
    """How many connections may wait to be accepted. All of them may be accepted before any of them is counted."""
    limit = _limit()
    return _BACKLOG if limit == math.inf else max(1, min(_BACKLOG, int(limit) // 8))


def room_for_connections() -> float:
    """How many connections the process can have, with a reserve for other files."""
    return max(1, _limit() - _OTHERS - backlog())


def warn_if_too_few_files(max_connections: int) -> None:
    """Warn if the limit on open files is lower than the limit on connections."""
    room = room_for_connections()
    if max_connections > room:
        log.warning(
            "RUNRELAY_MAX_CONNECTIONS is %d, but the limit on open files (%d) leaves room for %d connections: raise it "
            "(ulimit -Hn, LimitNOFILE=) or lower the setting",
            max_connections, _limit(), room,
        )  # fmt: skip
