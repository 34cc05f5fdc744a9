"""Notices that this process is a forked child: at once, and also where Python's hooks for forks do not run.

A child of a fork has the parent's outbox and numbers and no flusher, so it must begin anew before its first event.
`os.register_at_fork` does that in every child that Python forks. A server that forks in C (uWSGI) may not run these
hooks: there the child finds it out at its next call. Asking for the process id would cost each call a system call, half
a microsecond. So the parent marks a page of memory that Linux empties in a child (`MADV_WIPEONFORK`, Linux 4.14), and a
call reads one byte of it. The quick publish path does not even do that: under such a server it is switched off.

A forked child also often ends without Python's exit hooks (`os._exit`: RQ's work horse, many daemons). So the last
events of a run are flushed there when they are published (`is_forked_child`).
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

__all__ = ["forks_without_hooks", "import_early", "is_forked_child", "on_fork", "same_process", "start_anew"]

_MADV_WIPEONFORK: Final = 18  # linux/mman.h
_START_STACK: Final = 28 - 3
"""Where the address of the stack is in /proc/<pid>/stat (proc(5)), after the name of the program."""


class _Mark(Protocol):
    """Something whose item 0 is true in the process that has set it."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...


class _ProcessId:
    """The same by the process id, where there is no such page."""

    def __init__(self) -> None:
        self._pid = 0

    def __getitem__(self, index: int, /) -> int:
        return os.getpid() == self._pid

    def __setitem__(self, index: int, value: int, /) -> None:
        self._pid = os.getpid()


def _mark() -> _Mark:
    if sys.platform == "linux":
        with suppress(OSError, ValueError):
            page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            page.madvise(_MADV_WIPEONFORK)
            return page
    return _ProcessId()


same_process: Final = _mark()
"""Item 0 is false in a forked child until it has started anew. Read without a call."""
same_process[0] = 1
_hooks: list[Callable[[], None]] = []
_forked: bool | None = None


def forks_without_hooks() -> bool:
    """Whether this program may fork without Python's hooks."""
    return "uwsgi" in sys.modules


def on_fork(hook: Callable[[], None]) -> Callable[[], None]:
    """Call `hook` in each forked child, before its first event; hooks run in the order of their registration."""
    _hooks.append(hook)
    return hook


def start_anew() -> None:
    """Run the hooks. Called in a forked child."""
    global _forked
    _forked = True
    for hook in _hooks:
        hook()
    same_process[0] = 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=start_anew)


def import_early() -> None:
    """Import what connecting and waiting import when they first need it.

    A thread that is forked away in the middle of an import leaves the module half imported in the child, for ever: it
    could never resolve a host's name again (`LookupError: unknown encoding: idna`).
    """
    import encodings.idna  # noqa: F401

    with suppress(ImportError):  # a Python built without libffi
        import ctypes  # noqa: F401


def is_forked_child() -> bool:
    """Whether this process was forked from another program, and so may end without exit hooks.

    Also if it was forked before this package was imported, on Linux: a process that was forked and has not executed a
    program since has its stack where its parent has it. Another process has not, because addresses are random.
    """
    global _forked
    if _forked is None:
        here = _stack_of("self")
        _forked = here is not None and here == _stack_of(str(os.getppid()))
    return _forked


def _stack_of(process: str) -> str | None:
    try:
        stat = Path(f"/proc/{process}/stat").read_text("utf-8", "replace")
        address = stat.rpartition(")")[2].split()[_START_STACK]
    except (OSError, IndexError):
        return None
    return None if address == "0" else address  # 0: it is hidden from this user
