"""The identity of the server behind a connection, and the meaning of its errors. Pure; both clients use it.

A server that comes back may hold older data than it once announced: it was restarted from a snapshot, or it is a
replica that lagged when it was promoted. Then its process id (`run_id`) and its replication id differ from those under
which the run's log was written, and the commit script begins a new epoch. The identity belongs to a connection: a
client asks for it right after connecting, sends a commit only over the connection on which it asked, and asks again
after a reconnect.
"""

from __future__ import annotations

from typing import Any, Final

from redis import exceptions
from redis.exceptions import ConnectionError, NoPermissionError, ResponseError, TimeoutError

from ..errors import NotARun, RunlogError, RunlogUnavailable

__all__ = ["IDENTITY_COMMANDS", "LINK_ERRORS", "REFUSED", "identity", "is_passing", "judged", "of_run"]

IDENTITY_COMMANDS: Final = (("INFO", "server"), ("INFO", "replication"))
LINK_ERRORS: Final = (ConnectionError, TimeoutError, OSError)
"""Errors of the connection. It cannot be used any more, and it is not known whether the command was executed."""

_DIGITS: Final = 16
"""Characters kept of each id, which has 40: enough to tell servers apart, and the run's hash stays small in Redis."""
_PASSING: Final = tuple(
    getattr(exceptions, name)
    for name in ("BusyLoadingError", "NoPermissionError", "OutOfMemoryError", "ReadOnlyError")
    if hasattr(exceptions, name)  # redis-py 5.0 has no class for OOM, and keeps the word in the text
)
_PASSING_WORDS: Final = (
    "OOM ", "READONLY ", "LOADING ", "MISCONF ", "NOREPLICAS ", "MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN ",
    "BUSY ", "ACL failure in script", "The user executing the script can't ",
)  # fmt: skip
REFUSED: Final = "the run log refused the command: "
_DAMAGE_WORDS: Final = ("WRONGTYPE ", "NOTARUN ", "user_script")
"""Errors about the contents of a run's keys: a key of another type, our scripts' own error, and errors of Lua, which
come from a key's contents, because the scripts are the same for all runs."""


def identity(*infos: Any) -> str:
    """The server's identity from the answers to `IDENTITY_COMMANDS`: the beginnings of `run_id` and `master_replid`.

    Empty if there is no right to INFO, or no such command. Then lost data is noticed only when a producer is refused
    for a gap.

    Raises:
        Exception: an answer is another error, which is raised as it is. The server may answer later.
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
    """Whether the server may accept the same command later: it is full, loading, read only or without replicas, or its
    administrator has not granted the right yet.
    """
    text = str(error)
    # older servers put other words before the code of an error inside a script
    return isinstance(error, _PASSING) or any(word in text or text.startswith(word.strip()) for word in _PASSING_WORDS)


def judged(error: BaseException) -> RunlogError:
    """The error that the run log raises for an error of Redis, which becomes its cause."""
    if isinstance(error, ResponseError) and not is_passing(error):
        found = RunlogError(f"{REFUSED}{error}")
    else:
        found = RunlogUnavailable(f"the run log is not available: {error}")
    found.__cause__ = error
    return found


def of_run(run_id: str, error: RunlogError) -> RunlogError:
    """The error of a script that was called for this run: NotARun if it is about the contents of the run's keys."""
    if isinstance(error, (NotARun, RunlogUnavailable)) or not any(word in str(error) for word in _DAMAGE_WORDS):
        return error
    return NotARun(run_id, str(error).partition(" script: ")[0].removeprefix(REFUSED))
