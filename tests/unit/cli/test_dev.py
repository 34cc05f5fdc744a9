"""The processes of `make run`: neither they nor the processes that they start are left behind."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from runrelay.cli.dev import Child
from runrelay.cli.ports import POLL_S

DEADLINE_S = 20.0
# As npm does: it starts a program, and at SIGTERM ends without it.
LEAVES_A_CHILD = """
import pathlib, signal, subprocess, sys
started = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
new = pathlib.Path(sys.argv[1] + ".new")
new.write_text(str(started.pid))
new.rename(sys.argv[1])
signal.pause()
"""


def wait_for(path: Path, child: Child) -> str:
    """The text of a file that the child will write."""
    while not path.exists():
        with pytest.raises(subprocess.TimeoutExpired):
            child.process.wait(POLL_S)
    return path.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="waits for a process that is nobody's child, by pidfd")
def test_a_process_that_a_child_has_left_behind_ends_with_it(tmp_path: Path) -> None:
    """A `vite build --watch` that `make dev` leaves behind at each stop."""
    child = Child("lets go", [sys.executable, "-c", LEAVES_A_CHILD, str(tmp_path / "pid")], os.environ)
    try:
        descriptor = os.pidfd_open(int(wait_for(tmp_path / "pid", child)))
    finally:
        child.stop(DEADLINE_S)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    try:
        assert poll.poll(DEADLINE_S * 1000), "it goes on"
    finally:
        os.close(descriptor)


def test_a_child_that_has_ended_can_be_stopped() -> None:
    child = Child("short", [sys.executable, "-c", ""], os.environ)
    assert child.process.wait(DEADLINE_S) == 0
    child.stop()
    child.stop()
