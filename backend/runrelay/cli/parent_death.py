"""Start a program that gets a signal when its parent process dies, even if the parent is killed with SIGKILL.

Run as a file, `python -I -S parent_death.py PARENT_PID SIGNAL PROGRAM ARGUMENT…`, between the parent and the program.
A `preexec_fn` would do the same, but Python code between fork and exec can deadlock in a parent that has threads.
Standard library only: it starts without site-packages, in about 20 ms.

Linux only; elsewhere the program is started without the signal. The kernel sends it when the parent's *thread* that
started the program ends, so start it from a thread that lives as long as the program should.
Source: prctl(2), PR_SET_PDEATHSIG, which survives execve.
"""

import ctypes
import os
import sys

__all__ = ["command"]

_PR_SET_PDEATHSIG = 1


def command(program: list[str], signal_number: int) -> list[str]:
    """Return the command that starts `program` so that it gets the signal when this process ends.

    Args:
        program: the program's path and arguments.
        signal_number: as in the module `signal`.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(signal_number)), *program]


def _main() -> None:
    parent, signal_number, *program = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
    # The parent may have ended before prctl was called: then no signal comes, and the program is not started.
    if os.getppid() == int(parent):
        os.execv(program[0], program)  # noqa: S606 - without a shell, on purpose


if __name__ == "__main__":
    _main()
