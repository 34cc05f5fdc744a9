"""Memory is given back to the system after storms.

What was measured on Linux (glibc, CPython 3.11), with 4,000 clients that came and went: a relay of 51 MB had 104 MB
after the second time, and kept them. Nearly all of it was rings of objects of the handshake, which waited for a
collection that comes only after 200,000 new objects. They are no rings any more (fanout/uvicorn.py, http_protocol.py):
that left 2.9 of 10 KB for each waiting client, and 60 MB of the 104. `malloc_trim` then gives back the pages that are
free inside the heap: 56 MB. MALLOC_ARENA_MAX and MALLOC_TRIM_THRESHOLD_ changed nothing, since the heap's top is always
in use; Python without its own allocator (PYTHONMALLOC=malloc) needs as much.

To collect and to trim stop the loop for some milliseconds, and for a tenth of a second after a storm. So it is done
only when the process has grown by an eighth since the last time, or when so much of it has become free (`mallinfo2`
says what is); while there is little to do; and once a minute at most (or once in ten, where there is always much).
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic, thread_time
from typing import Final

__all__ = ["giving_memory_back"]

log = logging.getLogger(__name__)

_LOOK_S: Final = 10.0
_PAUSE_S: Final = 60.0
_PART: Final = 8
_BUSY: Final = 10
"""While there is much to do, memory is given back so many times less often."""
_QUIET_PER_S: Final = 200
_LEAST_BYTES: Final = 4 << 20
_STATM: Final = Path("/proc/self/statm")


class _Mallinfo(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip
    fordblks: int


class _Heap:
    """glibc's heap. Raises AttributeError where there is another C library, or an old one."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._info = library.mallinfo2
        self._info.restype = _Mallinfo
        self._trim = library.malloc_trim

    def free_bytes(self) -> int:
        """What is free within it, given back or not."""
        info: _Mallinfo = self._info()
        return info.fordblks

    def give_back(self) -> None:
        """Give the system the pages that are free."""
        self._trim(0)


@asynccontextmanager
async def giving_memory_back(
    work: Callable[[], int], look_s: float = _LOOK_S, pause_s: float = _PAUSE_S
) -> AsyncIterator[None]:
    """Look after the process' memory for as long as the block takes. Does nothing without glibc (2.33 or newer).

    Args:
        work: counts what the process does, deliveries say: when they are few, there is time for it.
        look_s: seconds between two looks at what is free.
        pause_s: seconds between two givings at least.
    """
    try:
        heap = _Heap() if sys.platform == "linux" else None
    except AttributeError:
        heap = None
    if heap is None:
        yield
        return
    looking = asyncio.create_task(_look(heap, work, look_s, pause_s), name="memory")
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait([looking])


def _resident_bytes() -> int:
    """What of this process is in memory and is its own."""
    _, resident, shared, *_ = _STATM.read_text().split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGESIZE")


async def _look(heap: _Heap, work: Callable[[], int], look_s: float, pause_s: float) -> None:
    size, free, done = _resident_bytes(), heap.free_bytes(), work()
    given_s = -pause_s
    while True:
        await asyncio.sleep(look_s)
        size_now, free_now, done_now = _resident_bytes(), heap.free_bytes(), work()
        size, free = min(size, size_now), min(free, free_now)
        much = max(_LEAST_BYTES, size_now // _PART)
        is_quiet, done = done_now - done <= _QUIET_PER_S * look_s, done_now
        waited_s = monotonic() - given_s
        if (size_now - size > much or free_now - free > much) and waited_s >= pause_s * (1 if is_quiet else _BUSY):
            given_s, began_s = monotonic(), thread_time()
            gc.collect()
            heap.give_back()
            size, free = _resident_bytes(), heap.free_bytes()
            took_ms = (thread_time() - began_s) * 1000
            log.info("memory: of %d MB %d are left, after %.0f ms of work", size_now >> 20, size >> 20, took_ms)
