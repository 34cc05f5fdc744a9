"""Why Redis cannot be used, in words for the operator: what is wrong, with which server, without secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    NoPermissionError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from .keys import Keys

__all__ = [
    "DeniedCommand",
    "denied_in_words",
    "parse_denied",
    "rights_args",
    "trouble_of",
    "warn_no_identity",
    "warn_unannounced",
]

log = logging.getLogger(__name__)

_NOBODYS_RUN: Final = "rights/check"
"""No run id has a slash."""
_NO_RIGHT: Final = re.compile(r"NOPERM|ACL failure|no permissions|user executing the script can't", re.IGNORECASE)
_COMMAND: Final = re.compile(r"the '([\w|-]+)' command")
_KEY: Final = re.compile(r"access (a|one of the|at least one of the) keys?")
_CHANNEL: Final = re.compile(r"access (a|one of the|at least one of the) channels?")
_CODES: Final = (
    ("READONLY", "it is a read only replica"),
    ("OOM", "its memory is full (maxmemory)"),
    ("MISCONF", "it cannot save to its disk, and takes no writes until it can (MISCONF)"),
    ("NOREPLICAS", "it has too few replicas, and takes no writes until it has (NOREPLICAS)"),
    ("MASTERDOWN", "it is a replica that has lost its primary"),
    ("BUSY", "a script has kept it busy for too long (BUSY)"),
    ("LOADING", "it is loading its data"),
)
_CLUSTER: Final = re.compile(r"MOVED|CLUSTERDOWN|CROSSSLOT|cluster|non local key|hash slot", re.IGNORECASE)
_OF_A_CLUSTER: Final = "is a node of a cluster, which is not supported: name one server, or sentinels"


class DeniedCommand(NamedTuple):
    """A command that Redis refuses."""

    joins: bool
    """Subscribers need the command: without it no client can read a run."""
    command: str
    key: str
    error: str


def rights_args(keys: Keys, *, everything: bool) -> list[str]:
    """The arguments of rights.lua. With `everything` also for the commands that a subscriber's read does not need."""
    return [
        *keys.run(_NOBODYS_RUN),
        keys.runs,
        keys.alive,
        keys.lease(_NOBODYS_RUN),
        "1" if everything else "",
    ]


def parse_denied(reply: Sequence[Any]) -> list[DeniedCommand]:
    """Read the reply of rights.lua."""
    parts = [part.decode("utf-8", "replace") for part in reply]
    return [
        DeniedCommand(use == "join", command, key.replace(_NOBODYS_RUN, "…"), error)
        for use, command, key, error in zip(*[iter(parts)] * 4, strict=True)
    ]


def denied_in_words(denied: Iterable[DeniedCommand]) -> str:
    """Denied commands in words, each once: `no right to the command HSET; no right to the key shop:alive`."""
    said: dict[str, None] = {}  # in order, each once
    for one in denied:
        if _CLUSTER.search(one.error):
            said[f"it {_OF_A_CLUSTER}"] = None
        elif (why := _server_says(one.error)) is not None:
            said[f"nothing can be written: {why}"] = None
        elif not _NO_RIGHT.search(one.error):
            said[f"{one.command} is refused: {one.error}"] = None
        elif _KEY.search(one.error):
            said[f"no right to the key {one.key}"] = None
        else:
            said[f"no right to the command {one.command}"] = None
    return "; ".join(said)


def trouble_of(error: BaseException, place: str, keys: Keys) -> str:
    """One line that says what is wrong, from an error and its causes.

    Args:
        place: the server's URL without its password.
        keys: names the channels.
    """
    redis_error: BaseException = error
    while not isinstance(redis_error, (RedisError, OSError)) and redis_error.__cause__ is not None:
        redis_error = redis_error.__cause__
    text = str(redis_error) or "no answer"
    coded = f"{getattr(redis_error, 'status_code', None) or ''} {text}"
    if isinstance(redis_error, NoPermissionError):
        return _no_right(text, keys)
    if isinstance(redis_error, AuthenticationError):
        if "required" in text.lower():
            return f"Redis at {place} wants a password, and the URL has none"
        return f"Redis at {place} refuses the user name or the password"
    if "DB index" in text or "invalid DB" in text:
        return f"Redis has no such database: {place}"
    if isinstance(redis_error, ResponseError) and _CLUSTER.search(coded):
        return f"Redis at {place} {_OF_A_CLUSTER}"
    if isinstance(redis_error, (ResponseError, BusyLoadingError)) and (says := _server_says(coded)) is not None:
        return f"Redis at {place} cannot be used: {says}"
    if isinstance(redis_error, (ConnectionError, TimeoutError, OSError)):
        return f"Redis at {place} cannot be reached: {text}"
    return str(error) or type(error).__name__


def _server_says(text: str) -> str | None:
    return next((words for code, words in _CODES if re.search(rf"\b{code}\b", text)), None)


def _no_right(text: str, keys: Keys) -> str:
    command = _COMMAND.search(text)
    if command is not None:
        return f"no right to the command {command[1].upper()}"
    if _CHANNEL.search(text):
        return f"no right to the channels {' and '.join(keys.channels)}"
    return f"no right to keys under {keys.prefix}: ({text})"


@cache
def warn_no_identity(place: str) -> None:
    """Log once for each server that it does not tell its identity, and what follows from that."""
    log.warning(
        "Redis at %s does not tell its identity: there is no right to the command INFO. If it comes back with older "
        "data (restarted, or failed over), numbers of lost events may be given out twice. Allow +info for "
        "every user that commits, publishers and relays, or for none (docs/redis-acl.md)",
        place,
    )


@cache
def warn_unannounced(place: str, channel: str) -> None:
    """Log once for each server that it takes events and announces none, and what follows from that."""
    log.warning(
        "Redis at %s commits events and does not announce them: there is no right to the channel %s, or to PUBLISH. "
        "Pages show them seconds late. Allow &%s and +publish for this user (docs/redis-acl.md)",
        place,
        channel,
        channel,
    )
