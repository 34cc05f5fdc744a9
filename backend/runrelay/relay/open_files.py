"""Open files: each connection is one, and the process may have so many."""

from __future__ import annotations

import logging
import math
import sys
from typing import Final

__all__ = ["backlog", "raise_limit", "room_for_connections", "unread_bytes", "warn_if_too_few_files"]

log = logging.getLogger(__name__)

_OTHERS: Final = 64
"""Connections to Redis, runs' files, logs, sockets that are listened on."""
_BACKLOG: Final = 2048
_MACOS_MOST: Final = 10_240
"""OPEN_MAX: macOS takes no higher soft limit, whatever it says the hard one is."""


def _limit() -> float:
    if sys.platform == "win32":
        return math.inf
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if soft == resource.RLIM_INFINITY else soft


def raise_limit() -> None:
    """Raise the soft limit on open files to the hard one, for this process and those that it starts.

    The soft one is 1,024 or 256 on many machines, for the sake of programs that use select(); none of ours does.
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
    """How much a socket has received that was not read yet; 0 where the system does not tell."""
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
    """How many connections may wait to be accepted: all of them may be accepted before any of them is counted."""
    limit = _limit()
    return _BACKLOG if limit == math.inf else max(1, min(_BACKLOG, int(limit) // 8))


def room_for_connections() -> float:
    """How many connections the process can have open, with a reserve for all else."""
    return max(1, _limit() - _OTHERS - backlog())


def warn_if_too_few_files(max_connections: int) -> None:
    """Warn, once, if the process may not open as many files as it may have connections."""
    room = room_for_connections()
    if max_connections > room:
        log.warning(
            "RUNRELAY_MAX_CONNECTIONS is %d, but the limit on open files (%d) leaves room for %d connections: raise it "
            "(ulimit -Hn, LimitNOFILE=) or lower the setting",
            max_connections, _limit(), room,
        )  # fmt: skip
