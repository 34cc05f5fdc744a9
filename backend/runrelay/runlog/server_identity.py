"""What the server behind a connection is, and what its errors mean. Pure; the two clients share it.

A server that comes back may hold older data than it once announced: restarted from a snapshot, or a replica
that lagged when it was promoted. Its process id (`run_id`) and its replication id differ then from those that
the run's log was written under, and the commit script begins a new epoch. The identity belongs to a
connection: it is asked for once, right after connecting, and a commit is only ever sent over the connection
that it was asked on. Whoever reconnects asks again.
"""

from __future__ import annotations

from typing import Any, Final

from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)

from ..errors import NotARun, RunlogError, RunlogUnavailable

__all__ = ["IDENTITY_COMMANDS", "LINK_ERRORS", "REFUSED", "identity", "is_passing", "judged", "of_run"]

IDENTITY_COMMANDS: Final = (("INFO", "server"), ("INFO", "replication"))
LINK_ERRORS: Final = (ConnectionError, TimeoutError, OSError)
"""The connection is of no more use; whether the command was carried out is not known."""

_DIGITS: Final = 16
"""Of each id, which has 40: enough to tell servers apart, and few enough that a run's hash stays small in Redis."""
_PASSING: Final = (BusyLoadingError, NoPermissionError, OutOfMemoryError, ReadOnlyError)
_PASSING_WORDS: Final = (
    "OOM ", "READONLY ", "LOADING ", "MISCONF ", "NOREPLICAS ", "MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN ",
    "BUSY ", "ACL failure in script", "The user executing the script can't ",
)  # fmt: skip
REFUSED: Final = "the run log refused the command: "
_DAMAGE_WORDS: Final = ("WRONGTYPE ", "NOTARUN ", "user_script")
"""What Redis says when a script meets another type than it expects, what our scripts say, and where Lua's errors come
from: in what a run's keys hold, since the scripts are the same for all."""


def identity(*infos: Any) -> str:
    """The server's identity from the answers to `IDENTITY_COMMANDS`: the beginnings of `run_id` and `master_replid`.

    Empty where the server may not tell (no right to INFO, or no such command): then only a producer that is
    refused for a gap notices lost data.

    Raises:
        Exception: an answer is another error; it is raised as it is. The server may tell later.
    """
    found = dict.fromkeys(("run_id", "master_replid"), "")
    for info in infos:
        if isinstance(info, ResponseError) and (isinstance(info, NoPermissionError) or not is_passing(info)):
            return ""
        if isinstance(info, Exception):
            raise info
        for line in bytes(info).decode("ascii", "replace").splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] = value.strip()[:_DIGITS]
    return ":".join(found.values())


def is_passing(error: ResponseError) -> bool:
    """Whether the server may accept the same later: it is full, loading, read only, without replicas, or its
    administrator has not given us the right yet.
    """
    text = str(error)
    # inside a script, older servers put their own words before the code
    return isinstance(error, _PASSING) or any(word in text or text.startswith(word.strip()) for word in _PASSING_WORDS)


def judged(error: BaseException) -> RunlogError:
    """The error as the run log raises it; what Redis said is its cause."""
    if isinstance(error, ResponseError) and not is_passing(error):
        found = RunlogError(f"{REFUSED}{error}")
    else:
        found = RunlogUnavailable(f"the run log is not available: {error}")
    found.__cause__ = error
    return found


def of_run(run_id: str, error: RunlogError) -> RunlogError:
    """The error of a script that was called for this run: NotARun, if it is about what the run's keys hold."""
    if isinstance(error, (NotARun, RunlogUnavailable)) or not any(word in str(error) for word in _DAMAGE_WORDS):
        return error
    return NotARun(run_id, str(error).partition(" script: ")[0].removeprefix(REFUSED))
