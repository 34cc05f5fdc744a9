"""Become a program that ends when its parent does, even when the parent is killed with SIGKILL.

Run as a file, ``python -I -S parent_death.py PARENT_PID SIGNAL PROGRAM ARGUMENT…``, between a parent and the server
that it starts. A file of its own, rather than a ``preexec_fn``, because Python code between fork and exec can
deadlock in a parent that has threads. Standard library only: it starts without site-packages, in about 20 ms.

Linux only; elsewhere the program is started without a parent_death. The kernel watches the parent's *thread* that
started it, so this belongs to a thread that lives as long as the program should.
Source: prctl(2), PR_SET_PDEATHSIG, which survives execve.
"""

import ctypes
import os
import sys

__all__ = ["command"]

_PR_SET_PDEATHSIG = 1


def command(program: list[str], signal_number: int) -> list[str]:
    """Return the command that starts ``program`` on a leash held by this process.

    ``signal_number`` is what the program gets when this process ends.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(signal_number)), *program]


def _main() -> None:
    parent, signal_number, *program = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
    # The parent may have gone before the kernel was asked to tell us.
    if os.getppid() == int(parent):
        os.execv(program[0], program)  # noqa: S606 - no shell is what is wanted


if __name__ == "__main__":
    _main()
