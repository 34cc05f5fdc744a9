"""Children that are forked: what they publish arrives, however they were forked and however they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runrelay.runlog import Keys
from tests.support.publishing import lines, log_of
from tests.support.servers import Server

StartServer = Callable[..., Server]
_TIMEOUT_S = 60
_WAITS_LONG = {"RUNRELAY_FLUSH_MS": "3600000"}
"""After its first batch the flusher waits for an hour, unless somebody waits for it."""


def _program(text: str, server: Server, *arguments: str, **environ: str) -> str:
    """Run a program against this server. Returns what it has printed."""
    done = subprocess.run(
        [sys.executable, "-c", text, *arguments],
        env={**os.environ, "REDIS_URL": server.url, **environ},
        timeout=_TIMEOUT_S,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _status(server: Server, run_id: str) -> str | None:
    with server.client(decode_responses=True) as client:
        return str(client.hget(Keys().run(run_id)[0], "status"))


_WORK_HORSE = """
import os, sys
how, end = sys.argv[1:]
if how != "fresh":
    from runrelay import flush, publish_progress
if how == "begun":
    publish_progress("parent's", log="line 0")
    assert flush(10)
if os.fork() == 0:
    from runrelay import flush, publish_progress, run_progress
    publish_progress("run", log="line 0")
    assert flush(10)
    if end == "block":
        with run_progress("run"):
            for i in range(1, 50):
                publish_progress("run", log=f"line {i}")
    else:
        for i in range(1, 50):
            publish_progress("run", log=f"line {i}")
        publish_progress("run", "END")
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize("end", ["block", "call"])
@pytest.mark.parametrize("how", ["fresh", "imported", "begun"])
def test_a_child_that_leaves_without_exit_hooks_has_flushed(start_valkey: StartServer, how: str, end: str) -> None:
    """The whole progress of a short job of RQ, whose work horse is forked and ends by `os._exit`."""
    server = start_valkey()
    _program(_WORK_HORSE, server, how, end, **_WAITS_LONG)
    assert log_of(server, "run") == lines(0, 50)
    assert _status(server, "run") == "succeeded"


_NO_CHILD = """
import os, time
from runrelay import publish_progress
from runrelay.outbox.forks import is_forked_child
publish_progress("run", log="line 0")
before = time.monotonic()
publish_progress("run", "END")
print(is_forked_child(), time.monotonic() - before < 0.5, flush=True)
os._exit(0)
"""


def test_a_program_that_was_not_forked_does_not_wait(start_valkey: StartServer) -> None:
    """The control, and a call that waits for Redis in each program: this one hangs."""
    server = start_valkey()
    server.pause()
    try:
        assert _program(_NO_CHILD, server).split() == ["False", "True"]
    finally:
        server.resume()


def test_a_child_does_not_wait_for_a_redis_that_is_away(start_valkey: StartServer) -> None:
    """A job that is held up at its end while Redis is away."""
    server = start_valkey()
    server.stop()
    before = time.monotonic()
    _program(_WORK_HORSE.replace("assert flush(10)", "flush(0)"), server, "imported", "block")
    assert time.monotonic() - before < 10


_WITHOUT_HOOKS = """
import ctypes, os, sys, types
sys.modules["uwsgi"] = types.ModuleType("uwsgi")  # as in each of its processes
from runrelay import flush, publish_progress, run_progress
for i in range(5):
    publish_progress("run", log=f"line {i}")
assert flush(10)
fork = ctypes.PyDLL(None).fork  # as uWSGI forks: in C, and Python runs no hooks
if fork() == 0:
    for i in range(5, 10):
        publish_progress("run", log=f"line {i}")
    os._exit(0 if flush(10) else 1)
assert os.wait()[1] == 0
publish_progress("run", log="line 10")
assert flush(10)
"""


def test_a_fork_without_hooks_is_noticed_at_the_next_call(start_valkey: StartServer) -> None:
    """A child under uWSGI has the parent's numbers and no flusher: its lines are lost, or taken for the parent's."""
    server = start_valkey()
    _program(_WITHOUT_HOOKS, server)
    assert log_of(server, "run") == lines(0, 11)


_CONNECTS_WHILE_IT_FORKS = """
import os, sys, threading

connecting, forked = threading.Event(), threading.Event()

class Slow:
    '''Holds the flusher's imports up until the process has forked.'''
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread().name == "runrelay-flusher":
            connecting.set()
            forked.wait(30)

for name in ("encodings.idna", "stringprep", "ctypes"):
    assert name not in sys.modules
sys.meta_path.insert(0, Slow())
from runrelay import flush, publish_progress
publish_progress("run", log="line 0")
if "encodings.idna" not in sys.modules:
    assert connecting.wait(30)
if os.fork() == 0:
    publish_progress("run", log="line 1")
    os._exit(0 if flush(10) else 1)
forked.set()
assert os.wait()[1] == 0, "the child cannot commit"
assert flush(10)
"""


def test_a_fork_while_the_parent_connects_leaves_the_child_able_to(start_valkey: StartServer) -> None:
    """A child in which a module that connecting needs is half imported for ever, and whose events are never sent."""
    server = start_valkey()
    _program(_CONNECTS_WHILE_IT_FORKS, server, REDIS_URL=server.url.replace("127.0.0.1", "localhost"))
    assert sorted(log_of(server, "run")) == lines(0, 2)


_CHILDREN = """
import multiprocessing, os, sys
from runrelay import flush, publish_progress, run_progress

def as_step(number):
    with run_progress("run", title=f"part {number}"):
        publish_progress("run", log=f"line {number}")

def own_run(number):
    with run_progress("other"):
        publish_progress("other", log=f"line {number}")

def in_a_pool(number):
    publish_progress("run", log=f"line {number}")
    assert flush()

if __name__ == "__main__":
    how = sys.argv[1]
    context = multiprocessing.get_context("fork" if how == "pool" else how)
    if how == "pool":
        publish_progress("run", log="line 0")
        assert flush()
        with context.Pool(2) as pool:
            pool.map(in_a_pool, range(1, 20))
    else:
        with run_progress("run"):
            assert flush()
            works = ((as_step, 0), (as_step, 1), (own_run, 0))
            children = [context.Process(target=work, args=(number,)) for work, number in works]
            for child in children:
                child.start()
            for child in children:
                child.join()
                assert child.exitcode == 0
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["spawn", pytest.param("forkserver", marks=pytest.mark.long)])
def test_a_block_in_a_spawned_child_is_a_step_of_its_parent_s_run(
    start_valkey: StartServer, tmp_path: Path, how: str
) -> None:
    """A run that a child of its own worker begins anew, as attempt 2, and ends."""
    server = start_valkey()
    (tmp_path / "children.py").write_text(_CHILDREN)
    subprocess.run(
        [sys.executable, str(tmp_path / "children.py"), how],
        env={**os.environ, "REDIS_URL": server.url},
        timeout=_TIMEOUT_S,
        check=True,
    )
    with server.client(decode_responses=True) as client:
        fields: Any = client.hgetall(Keys().run("run")[0])
        steps = {name.removeprefix("s:"): json.loads(value) for name, value in fields.items() if name[:2] == "s:"}
        assert (fields["attempt"], fields["status"]) == ("1", "succeeded")
        assert {name: step["status"] for name, step in steps.items()} == {"part 0": "succeeded", "part 1": "succeeded"}
        assert client.hget(Keys().run("other")[0], "attempt") == "1"
    assert sorted(log_of(server, "run")) == lines(0, 2)


def test_a_pool_whose_function_flushes_loses_nothing(start_valkey: StartServer, tmp_path: Path) -> None:
    """What the troubleshooting page tells those who use `with Pool()`, which kills its children."""
    server = start_valkey()
    (tmp_path / "children.py").write_text(_CHILDREN)
    subprocess.run(
        [sys.executable, str(tmp_path / "children.py"), "pool"],
        env={**os.environ, "REDIS_URL": server.url, **_WAITS_LONG},
        timeout=_TIMEOUT_S,
        check=True,
    )
    assert sorted(log_of(server, "run"), key=lambda line: int(line[5:])) == lines(0, 20)
