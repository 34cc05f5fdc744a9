"""A server that refuses in the middle of a commit of many runs: nothing half written, reordered or lost."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from runrelay.errors import CommitRefused, RunlogError, RunlogUnavailable
from runrelay.runlog import Batch, Committed, Keys, RunLog
from runrelay.runlog.server_identity import identity
from tests.support.runlog import (
    Kind,
    Log,
    Witness,
    contradictions,
    fields_of,
    fresh_keys,
    holes,
    look_at,
    queued,
    read,
    said,
)
from tests.support.servers import Server, free_port

RUNS = [f"run {number}" for number in range(6)]


class Interrupted(RunLog):
    """A run log to whose server something happens in the middle of the next pipeline."""

    def __init__(self, url: str, keys: Keys) -> None:
        super().__init__(url, keys)
        self.meanwhile: Callable[[], object] | None = None

    def _call(self, connection: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        meanwhile = self.meanwhile
        if meanwhile is None or len(commands) < len(RUNS):
            return super()._call(connection, commands)
        self.meanwhile = None
        half = len(commands) - len(RUNS) // 2  # before the commits there is a PING
        replies = super()._call(connection, commands[:half])
        meanwhile()
        return replies + super()._call(connection, commands[half:])


def batches(producer: str, first: int, count: int = 3) -> list[Batch]:
    """A batch for each run: its lines are numbered as its events are."""
    return [
        Batch(run_id, producer, first, [said(f"{producer} {number}") for number in range(first, first + count)])
        for run_id in RUNS
    ]


@contextmanager
def two_committed(server: Server) -> Iterator[tuple[Interrupted, Witness, Any]]:
    """A log in which every run has its events 1 to 3, a witness, and a client to do harm with."""
    log = Interrupted(server.url, fresh_keys())
    with look_at(server) as client, Witness.of(server, log.keys) as witness:
        assert all(isinstance(done, Committed) for done in log.commit_many(batches("p", 1)))
        yield log, witness, client
        log.close()


def everything(client: Any, keys: Keys) -> dict[bytes, bytes]:
    """All that the server has of these runs, as bytes."""
    return {key: client.dump(key) for key in client.keys(f"{keys.prefix}:run:*")}


def assert_each_line_once(witness: Witness, last: int) -> None:
    """Every run's lines 1 to `last` were announced once, in order, without a contradiction."""
    heard = witness.heard()
    assert not contradictions(heard)
    assert not holes(heard)
    for run_id in RUNS:
        lines = [fields["log"] for fields in map(fields_of, heard) if fields["run_id"] == run_id]
        assert lines == [f"p {number}" for number in range(1, last + 1)]


def test_scripts_flushed_in_the_middle_are_sent_again_for_those_runs_only(store: Server) -> None:
    """A failover to a server that does not know the script must not cost an event, nor double one."""
    with two_committed(store) as (log, witness, client):
        log.meanwhile = client.script_flush
        done = log.commit_many(batches("p", 4))
        assert [type(one) for one in done] == [Committed] * len(RUNS)
        assert_each_line_once(witness, 6)
        client.script_flush()
        assert all(isinstance(one, Committed) for one in log.commit_many(batches("p", 7)))
        assert_each_line_once(witness, 9)


async def test_a_flushed_script_is_no_error(log: Log, witness: Witness, look: Any) -> None:
    """Both clients, one run at a time."""
    for number in range(1, 4):
        assert (await log.commit("r", [said(str(number))])).after == number
        look.script_flush()
    assert len(witness.heard()) == 3


REFUSALS: dict[str, tuple[str, str]] = {
    "OOM": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    "NOREPLICAS": ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
    "READONLY": ("REPLICAOF 127.0.0.1 {port}", "REPLICAOF NO ONE"),
}


@pytest.mark.parametrize("why", list(REFUSALS))
def test_a_refusal_in_the_middle_leaves_nothing_behind_and_loses_nothing(
    start_store: Callable[..., Server], why: str
) -> None:
    """The first half is committed, the second not at all; both are sent again, and each line is there once."""
    server = start_store(maxmemory_policy="noeviction")
    refuse, allow = (command.format(port=free_port()) for command in REFUSALS[why])
    with two_committed(server) as (log, witness, client):
        before = everything(client, log.keys)
        seen: dict[bytes, bytes] = {}

        def meanwhile() -> None:
            seen.update(everything(client, log.keys))
            client.execute_command(refuse)

        log.meanwhile = meanwhile
        done = log.commit_many(batches("p", 4))
        half = len(RUNS) // 2
        assert [type(one) for one in done] == [Committed] * half + [RunlogUnavailable] * half
        assert everything(client, log.keys) == seen
        for run_id in RUNS[half:]:
            assert all(seen[key.encode()] == before[key.encode()] for key in log.keys.run(run_id))
        # a run that is new is refused in the same way
        (new,) = log.commit_many([Batch("new", "p", 1, [said("1")])])
        assert isinstance(new, RunlogUnavailable)
        assert not client.exists(*log.keys.run("new"))
        # still refused: nothing of it stays either
        assert all(isinstance(one, RunlogUnavailable) for one in log.commit_many(batches("p", 4)[half:]))
        assert everything(client, log.keys) == seen

        client.execute_command(allow)
        assert all(isinstance(one, Committed) for one in log.commit_many(batches("p", 4)))
        assert all(isinstance(one, Committed) for one in log.commit_many(batches("p", 7)))
        assert_each_line_once(witness, 9)
        for run_id in RUNS:
            lines = read(client, log.keys, run_id).snapshot.logs
            assert [line.message for line in lines] == [f"p {number}" for number in range(1, 10)]


@pytest.mark.parametrize("why", list(REFUSALS))
async def test_a_refusal_is_an_outage_to_both_clients(
    start_store: Callable[..., Server], client_kind: Kind, connect_log: Callable[..., Log], why: str
) -> None:
    """It passes: the same events may be sent again, and are then accepted."""
    server = start_store(maxmemory_policy="noeviction")
    log = connect_log(client_kind, server.url, fresh_keys())
    refuse, allow = (command.format(port=free_port()) for command in REFUSALS[why])
    await log.commit("r", [said("1")])
    with look_at(server) as client:
        client.execute_command(refuse)
        for _ in range(2):
            with pytest.raises(RunlogUnavailable):
                await log.commit("r", [said("2")])
        client.execute_command(allow)
        await log.commit("r", [said("2")])
        assert [line.message for line in read(client, log.keys, "r").snapshot.logs] == ["1", "2"]


def test_one_run_s_mistake_is_not_another_s(store: Server) -> None:
    """Each batch of a pipeline succeeds or fails by itself."""
    with two_committed(store) as (log, witness, client):
        client.delete(log.keys.run(RUNS[1])[0])
        client.set(log.keys.run(RUNS[1])[0], "not a hash")
        mixed = batches("p", 4)
        mixed[3] = Batch(RUNS[3], "q", 1, [queued(precondition="absent")])
        done = log.commit_many(mixed)
        assert isinstance(done[1], RunlogError)
        assert not isinstance(done[1], RunlogUnavailable)
        assert isinstance(done[3], CommitRefused)
        assert [isinstance(one, Committed) for one in done] == [True, False, True, False, True, True]
        assert not contradictions(witness.heard())


# A server that does not tell who it is


@pytest.fixture
def without_info(start_store: Callable[..., Server]) -> tuple[Server, str]:
    """A server, and a URL for a user who may do all but ask for INFO."""
    server = start_store()
    with look_at(server) as client:
        client.execute_command("ACL SETUSER worker on >secret ~* &* +@all -info")
    return server, server.url.replace("redis://", "redis://worker:secret@")


async def test_without_the_right_to_info_commits_work(
    without_info: tuple[Server, str], client_kind: Kind, connect_log: Callable[..., Log]
) -> None:
    """A managed server that forbids INFO is still a server; its losses are noticed by gaps only."""
    server, url = without_info
    log = connect_log(client_kind, url, fresh_keys())
    with look_at(server) as client, Witness.of(server, log.keys) as witness:
        first = await log.commit("r", [said("1"), said("2")])
        second = await log.commit("r", [said("3")])
        assert (second.epoch, second.after) == (first.epoch, 3)
        assert client.hget(log.keys.run("r")[0], "server") == b""
        assert not contradictions(witness.heard())


async def test_a_server_that_is_busy_when_asked_is_not_one_without_identity(
    start_store: Callable[..., Server], client_kind: Kind, connect_log: Callable[..., Log]
) -> None:
    """Otherwise each commit after a moment of slowness would begin a new epoch."""
    server = start_store(busy_reply_threshold="1")
    log = connect_log(client_kind, server.url, fresh_keys())
    first = await log.commit("r", [said("1")])
    await log.close()
    with look_at(server) as client, look_at(server) as other:
        # the script runs until it is killed: INFO is answered with BUSY meanwhile
        pool = other.connection_pool
        connection = pool.make_connection()
        connection.send_command("EVAL", "while true do end", 0)
        while not _is_busy(client):
            pass
        with pytest.raises(RunlogUnavailable):
            await log.commit("r", [said("2")])
        client.script_kill()
        with pytest.raises(Exception, match="killed"):
            connection.read_response()
        connection.disconnect()
        second = await log.commit("r", [said("2")])
        assert (second.epoch, second.after) == (first.epoch, 2)


def _is_busy(client: Any) -> bool:
    try:
        client.ping()
    except Exception as error:
        return "BUSY" in str(error) or "running a script" in str(error)
    return False


def test_an_identity_is_both_of_its_halves() -> None:
    """A restart changes the one, a promotion the other."""
    server = b"# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\n"
    replication = b"role:master\r\nmaster_replid:def\r\nmaster_replid2:000\r\n"
    assert identity(server, replication) == "abc:def"
