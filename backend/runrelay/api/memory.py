"""Memory is given back to the system after many clients have come and gone.

Why: glibc keeps pages that are free inside its heap; `malloc_trim` gives them back. Measured on Linux (glibc, CPython
3.11) with 4,000 clients that came and went twice: a relay of 51 MB kept 104 MB. Nearly all of it was reference cycles
of the handshake, waiting for a garbage collection that comes only after 200,000 new objects. The cycles were removed
(fanout/uvicorn.py, http_protocol.py): 2.9 KB instead of 10 KB for each idle client, 60 MB instead of 104. `malloc_trim`
made it 56 MB. MALLOC_ARENA_MAX and MALLOC_TRIM_THRESHOLD_ changed nothing, as the top of the heap is always in use.
PYTHONMALLOC=malloc needs as much.

How: a collection and a trim stop the loop for some milliseconds, after many clients for a tenth of a second. So it is
done only when the process has grown by an eighth since the last time, or as much of its heap has become free
(`mallinfo2`); when there is little to do; and at most once a minute (once in ten minutes if there is always much to
do).
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

_CHECK_S: Final = 10.0
_PAUSE_S: Final = 60.0
_PART: Final = 8
_BUSY: Final = 10
"""While there is much to do, the pause is so many times longer."""
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
    """glibc's heap. The constructor raises AttributeError with another C library, or an old one."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._info = library.mallinfo2
        self._info.restype = _Mallinfo
        self._trim = library.malloc_trim

    def free_bytes(self) -> int:
        """How many bytes are free in the heap, given back or not."""
        info: _Mallinfo = self._info()
        return info.fordblks

    def give_back(self) -> None:
        """Give free pages back to the system."""
        self._trim(0)


@asynccontextmanager
async def giving_memory_back(
    work: Callable[[], int], check_s: float = _CHECK_S, pause_s: float = _PAUSE_S
) -> AsyncIterator[None]:
    """Give memory back while the block runs. Does nothing without glibc 2.33 or newer.

    Args:
        work: a counter of what the process does, deliveries for example: few of them mean that there is time.
        check_s: seconds between two checks.
        pause_s: least seconds between two times.
    """
    try:
        heap = _Heap() if sys.platform == "linux" else None
    except AttributeError:
        heap = None
    if heap is None:
        yield
        return
    checking = asyncio.create_task(_check(heap, work, check_s, pause_s), name="memory")
    try:
        yield
    finally:
        checking.cancel()
        await asyncio.wait([checking])


def _resident_bytes() -> int:
    """Private memory of this process."""
    _, resident, shared, *_ = _STATM.read_text().split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGESIZE")


async def _check(heap: _Heap, work: Callable[[], int], check_s: float, pause_s: float) -> None:
    size, free, done = _resident_bytes(), heap.free_bytes(), work()
    given_s = -pause_s
    while True:
        await asyncio.sleep(check_s)
        size_now, free_now, done_now = _resident_bytes(), heap.free_bytes(), work()
        size, free = min(size, size_now), min(free, free_now)
        much = max(_LEAST_BYTES, size_now // _PART)
        is_quiet, done = done_now - done <= _QUIET_PER_S * check_s, done_now
        waited_s = monotonic() - given_s
        if (size_now - size > much or free_now - free > much) and waited_s >= pause_s * (1 if is_quiet else _BUSY):
            given_s, began_s = monotonic(), thread_time()
            gc.collect()
            heap.give_back()
            size, free = _resident_bytes(), heap.free_bytes()
            took_ms = (thread_time() - began_s) * 1000
            log.info("memory given back: %d MB before, %d MB after, in %.0f ms", size_now >> 20, size >> 20, took_ms)
