"""Processes that fork, and processes that end: each event is committed once, by the process that published it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from runrelay.outbox import Publisher
from runrelay.outbox.publisher import EXIT_FLUSH_S
from runrelay.progress import make_event
from runrelay.settings import PublisherSettings
from tests.support.publishing import lines, log_of, publish_lines, publishing, settings_for, wait_until_down
from tests.support.servers import Server

StartServer = Callable[..., Server]
CHILD_TIMEOUT_S = 60


def _in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked child. A bare fork: multiprocessing would run the hooks of other tests' modules."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    ended = os.pidfd_open(pid)
    if not select.select([ended], [], [], CHILD_TIMEOUT_S)[0]:
        os.kill(pid, signal.SIGKILL)
    os.close(ended)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _fork_while_something_waits(server: Server) -> list[str]:
    with publishing(settings_for(server)) as publisher:
        publish_lines(publisher, "run", 0, 5)
        assert publisher.flush(10)  # now there are a flusher, a connection, numbers
        server.stop()
        publish_lines(publisher, "run", 5, 10)
        wait_until_down(publisher)
        server.start()

        def child() -> None:
            publish_lines(publisher, "run", 100, 105)
            publisher.flush(2)

        _in_child(child)
        assert publisher.flush(30)
    return log_of(server, "run")


def test_a_forked_child_is_a_new_producer_with_an_empty_outbox(start_valkey: StartServer) -> None:
    """Events of the parent that both commit, a child without a flusher, or a child with the parent's numbers."""
    found = _fork_while_something_waits(start_valkey(appendonly="yes"))
    assert sorted(found, key=lambda line: int(line[5:])) == lines(0, 10) + lines(100, 105)
    assert [line for line in found if int(line[5:]) < 100] == lines(0, 10)


def test_without_a_new_outbox_a_child_s_lines_are_lost(
    start_valkey: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the child keeps the parent's outbox and flusher, whose thread it does not have."""
    monkeypatch.setattr(Publisher, "forked", lambda self: None)
    found = _fork_while_something_waits(start_valkey(appendonly="yes"))
    assert not {"line 100", "line 104"} & set(found)


_MULTIPROCESSING = """
import multiprocessing, sys
from runrelay import PublisherSettings
from runrelay.outbox import Publisher, publisher
from runrelay.progress import make_event

def child():
    # its flusher waits for an hour after the first batch
    mine = Publisher(PublisherSettings(redis_url=sys.argv[1], flush_ms=3_600_000.0))
    mine.emit("run", make_event(log="line 0"))
    assert mine.flush(10)
    for i in range(1, 50):
        mine.emit("run", make_event(log=f"line {i}"))

if sys.argv[2] == "unprotected":
    publisher._close_at_exit = lambda reference: None
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
sys.exit(process.exitcode)
"""


def _end_with_something_waiting(server: Server, how: str) -> list[str]:
    subprocess.run([sys.executable, "-c", _MULTIPROCESSING, server.url, how], timeout=CHILD_TIMEOUT_S, check=True)
    return log_of(server, "run")


def test_a_multiprocessing_child_flushes_at_its_end(start_valkey: StartServer) -> None:
    """The last lines of a process that ends without atexit hooks, which are lost."""
    assert _end_with_something_waiting(start_valkey(), "protected") == lines(0, 50)


def test_without_the_finalizer_a_child_s_last_lines_are_lost(start_valkey: StartServer) -> None:
    """The control: a child that ends without it has uncommitted lines."""
    assert len(_end_with_something_waiting(start_valkey(), "unprotected")) < 50


_PROGRAM = """
import sys
from runrelay import PublisherSettings, configure, flush, publish_progress

configure(PublisherSettings(redis_url=sys.argv[1], flush_ms=3_600_000.0))
publish_progress("run", log="line 0")
assert flush(10)
for i in range(1, 50):
    publish_progress("run", log=f"line {i}")
if sys.argv[2] == "raises":
    raise SystemExit(3)
"""


@pytest.mark.parametrize(("how", "code"), [("returns", 0), ("raises", 3)])
def test_a_program_flushes_at_its_end(start_valkey: StartServer, how: str, code: int) -> None:
    """The last lines of a program, which are lost when it ends."""
    server = start_valkey()
    done = subprocess.run([sys.executable, "-c", _PROGRAM, server.url, how], timeout=60)
    assert done.returncode == code
    assert log_of(server, "run") == lines(0, 50)


_HOOKS = """
import atexit, os, sys

@atexit.register  # before runrelay's, and so after it
def last_words():
    for i in range(1, 4):
        publish_progress("run", log=f"line {i}")

from runrelay import PublisherSettings, configure, publish_progress

if sys.argv[2] == "begun":
    configure(PublisherSettings.from_env({**os.environ, "REDIS_URL": sys.argv[1]}))
    publish_progress("run", log="line 0")
"""


@pytest.mark.parametrize("before", ["begun", "nothing"])
def test_events_of_an_exit_hook_after_ours_are_committed(start_valkey: StartServer, before: str) -> None:
    """The END that a program's own exit hook publishes when there is no flusher any more."""
    server = start_valkey()
    done = subprocess.run(
        [sys.executable, "-c", _HOOKS, server.url, before], timeout=60, env={**os.environ, "REDIS_URL": server.url}
    )
    assert done.returncode == 0
    assert log_of(server, "run") == (lines(0, 4) if before == "begun" else lines(1, 4))


def test_an_exit_hook_does_not_wait_for_a_redis_that_is_away(start_valkey: StartServer, tmp_path: Path) -> None:
    """A program that hangs for seconds for each event of its exit hook, or a spool that does not get them in order."""
    server = start_valkey()
    server.stop()
    done = subprocess.run(
        [sys.executable, "-c", _HOOKS, server.url, "begun"],
        timeout=EXIT_FLUSH_S,
        env={**os.environ, "RUNRELAY_SPOOL": str(tmp_path)},
    )
    assert done.returncode == 0
    server.start()
    with publishing(settings_for(server, spool=tmp_path)) as publisher:
        for i in range(100):
            publish_lines(publisher, "other", i, i + 1)
            assert publisher.flush(10)
    assert log_of(server, "run") == lines(0, 4)


_HANDLER = """
import os, signal, sys, threading
from runrelay import PublisherSettings, configure, flush, publish_progress

configure(PublisherSettings(redis_url=sys.argv[1]))
count = 0

def handler(number, frame):
    global count
    publish_progress("run", log=f"signal {count}")
    count += 1

signal.signal(signal.SIGUSR1, handler)
stop = threading.Event()

def pester():
    while not stop.is_set():
        os.kill(os.getpid(), signal.SIGUSR1)

thread = threading.Thread(target=pester)
thread.start()
i = 0
while i < 20_000 or count < 50:
    publish_progress("run", log=f"line {i}")
    i += 1
stop.set()
thread.join()
assert flush(30)
print(i, count, flush=True)
"""


def test_signal_handlers_can_publish(start_valkey: StartServer) -> None:
    """A handler that interrupts a call, and waits for a lock that the interrupted call holds."""
    server = start_valkey()
    done = subprocess.run(
        [sys.executable, "-c", _HANDLER, server.url],
        timeout=60,
        capture_output=True,
        text=True,
        env={"RUNRELAY_LOG_LINES": "1000000", "RUNRELAY_LOG_BYTES": "1000000000"},
    )
    assert done.returncode == 0, done.stderr
    count = int(done.stdout.split()[0])
    found = log_of(server, "run")
    newest = [line for line in found if line.startswith("line")]
    assert newest == lines(count - len(newest), count)
    signals = [line for line in found if line.startswith("signal")]
    assert signals == sorted(signals, key=lambda line: int(line.split()[1]))


def test_a_closed_publisher_starts_again_with_the_next_event(start_valkey: StartServer) -> None:
    """Events after the worker's own shutdown hook, from another hook, that are never committed."""
    server = start_valkey()
    publisher = Publisher(PublisherSettings(redis_url=server.url))
    for i in range(3):
        publisher.emit("run", make_event(log=f"line {i}"))
        assert publisher.close(10)
    assert log_of(server, "run") == lines(0, 3)


def test_a_killed_process_loses_only_uncommitted_events(start_valkey: StartServer) -> None:
    """A line that is lost although `flush` returned True."""
    server = start_valkey()

    def child() -> None:
        publisher = Publisher(PublisherSettings(redis_url=server.url))
        publish_lines(publisher, "run", 0, 10)
        assert publisher.flush(10)
        signal.raise_signal(signal.SIGKILL)

    assert _in_child(child) == -signal.SIGKILL
    assert log_of(server, "run") == lines(0, 10)


_FORKS = """
import os, sys
from runrelay import PublisherSettings, configure, publish_progress, run_progress

configure(PublisherSettings(redis_url=sys.argv[1]))
with run_progress("run") as run, run.step("part"), run.span(0.5, 1.0):
    if os.fork() == 0:
        publish_progress("run", log="child")
        raise SystemExit(3)
    os.wait()
    publish_progress("run", log="parent")
"""


def test_a_forked_child_that_leaves_a_block_does_not_end_the_run(start_valkey: StartServer) -> None:
    """A run that fails because a forked child of its program called `sys.exit`."""
    server = start_valkey()
    done = subprocess.run([sys.executable, "-c", _FORKS, server.url], timeout=60)
    assert done.returncode == 0
    assert log_of(server, "run") == ["child", "parent"]
    with server.client(decode_responses=True) as client:
        assert client.hget("autoshorts:run:{run}", "status") == "succeeded"
