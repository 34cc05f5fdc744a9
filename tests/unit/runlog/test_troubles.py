"""Why Redis cannot be used, in words."""

from __future__ import annotations

import pytest
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ResponseError,
)

from runrelay.errors import RunlogUnavailable
from runrelay.runlog import Keys, trouble_of
from runrelay.runlog.troubles import DeniedCommand, denied_in_words

PLACE = "redis://…@host:6379/0"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AuthenticationError("invalid username-password pair"), "refuses the user name or the password"),
        (AuthenticationError("Authentication required."), "wants a password, and the URL has none"),
        (NoPermissionError("this user has no permissions to run the 'subscribe' command"), "command SUBSCRIBE"),
        (NoPermissionError("User x has no permissions to run the 'client|info' command"), "command CLIENT|INFO"),
        (NoPermissionError("No permissions to access a channel"), "channels shop:progress and shop:relays"),
        (NoPermissionError("No permissions to access a key"), "no right to keys under shop:"),
        (ResponseError("DB index is out of range"), "has no such database: redis://…@host:6379/0"),
        (MovedError("866 127.0.0.1:7000", status_code="MOVED"), "is a node of a cluster"),
        (BusyLoadingError("Redis is loading the dataset in memory", status_code="LOADING"), "it is loading its data"),
        (OutOfMemoryError("used memory > 'maxmemory'.", status_code="OOM"), "its memory is full"),
        (ResponseError("MISCONF Redis is configured to save RDB snapshots, but"), "it cannot save to its disk"),
        (ConnectionError("Error 111 connecting to host:6379. Connection refused."), "cannot be reached: Error 111"),
        (TimeoutError(), "cannot be reached: no answer"),
    ],
)  # fmt: skip
def test_an_error_is_named(error: Exception, words: str) -> None:
    """The trouble must be told in words for the operator, not in those of Redis."""
    seen = RunlogUnavailable("cannot subscribe")
    seen.__cause__ = error
    for each in (error, seen):
        assert words in trouble_of(each, PLACE, Keys("shop", "shop:progress"))


def test_another_error_is_told_as_it_is() -> None:
    """An unknown error must be shown as it is."""
    assert trouble_of(RunlogUnavailable("deaf"), PLACE, Keys()) == "deaf"


def test_what_is_refused_is_said_once() -> None:
    """Each refusal is told once, not for each of the run's keys and commands."""
    no_key = "ERR ACL failure in script: No permissions to access a key"
    denied = [
        DeniedCommand(True, "HGETALL", "k:run:{…}", no_key),
        DeniedCommand(True, "HMGET", "k:run:{…}", no_key),
        DeniedCommand(
            False, "ZADD", "k:alive", "ERR The user executing the script can't run this command or subcommand"
        ),
        DeniedCommand(False, "HSET", "k:run:{…}", "READONLY You can't write against a read only replica."),
        DeniedCommand(False, "DEL", "k:run:{…}", "READONLY You can't write against a read only replica."),
    ]
    assert denied_in_words(denied) == (
        "no right to the key k:run:{…}; no right to the command ZADD; nothing can be written: it is a read only replica"
    )
