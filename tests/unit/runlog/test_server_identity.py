"""The identity of servers, and which of their errors are passing."""

import pytest
from redis.exceptions import (
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from runrelay.runlog.server_identity import IDENTITY_COMMANDS, identity, is_passing

SERVER = b"# Server\r\nredis_version:7.0.15\r\nrun_id:0123abc\r\ntcp_port:6379\r\n"
REPLICATION = b"# Replication\r\nrole:master\r\nmaster_replid:feed\r\nmaster_replid2:0000\r\n"


def test_an_identity_changes_with_the_process_and_with_a_promotion() -> None:
    """A restart has another run_id, a promoted replica another replication id; either may mean lost data."""
    here = identity(SERVER, REPLICATION)
    assert here == "0123abc:feed"
    assert identity(SERVER.replace(b"0123abc", b"4567def"), REPLICATION) != here
    assert identity(SERVER, REPLICATION.replace(b"feed", b"beef")) != here
    assert identity(SERVER + b"uptime_in_seconds:5\r\n", REPLICATION + b"master_repl_offset:9\r\n") == here
    assert len(IDENTITY_COMMANDS) == 2


def test_a_server_without_these_fields_is_known_by_what_it_tells() -> None:
    """A proxy or a managed service may tell less."""
    assert identity(b"# Server\r\n", REPLICATION) == ":feed"


@pytest.mark.parametrize(
    "refusal",
    [
        NoPermissionError("this user has no permissions to run the 'info' command"),
        ResponseError("unknown command 'INFO'"),
    ],
)
def test_a_server_that_may_not_tell_has_no_identity(refusal: ResponseError) -> None:
    """Such a server will never tell its identity: commits go on without it."""
    assert identity(SERVER, refusal) == ""


@pytest.mark.parametrize(
    "passing", [ResponseError("BUSY Redis is busy running a script."), ConnectionError("gone"), BusyLoadingError("")]
)
def test_a_server_that_cannot_tell_now_is_asked_again(passing: Exception) -> None:
    """If the error were taken for a missing right, the identity would change with each commit."""
    with pytest.raises(type(passing)):
        identity(SERVER, passing)


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        ReadOnlyError("You can't write against a read only replica."),
        BusyLoadingError("Redis is loading the dataset in memory"),
        NoPermissionError("No permissions to access a key"),
        ResponseError("NOREPLICAS Not enough good replicas to write."),
        ResponseError("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist"),
        ResponseError("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
        ResponseError("CLUSTERDOWN The cluster is down"),
        ResponseError("BUSY Redis is busy running a script."),
        ResponseError("Error running script (call to f_8a): @user_script:5: OOM command not allowed"),
        ResponseError("ERR Error running script: READONLY You can't write against a read only replica."),
    ],
)
def test_what_passes_is_waited_for(error: ResponseError) -> None:
    """After a passing error events wait in the outbox, and are not given up."""
    assert is_passing(error)


@pytest.mark.parametrize(
    "error",
    [
        ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        ResponseError("ERR The ID specified in XADD is equal or smaller than the target stream top item"),
        ResponseError("user_script:276: too many results to unpack"),
        NoScriptError("No matching script."),
    ],
)
def test_what_does_not_pass_is_not_waited_for(error: ResponseError) -> None:
    """Waiting after such an error would block all later events for ever."""
    assert not is_passing(error)
