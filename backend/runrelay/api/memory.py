"""Memory is given back to the system after storms.

What was measured on Linux (glibc, CPython 3.11), with 4,000 clients that came and went: a relay of 51 MB had 104 MB
after the second time, and kept them. Nearly all of it was rings of objects of the handshake, which waited for a
collection that comes only after 200,000 new objects. They are no rings any more (fanout/uvicorn.py, http_protocol.py):
that left 2.9 of 10 KB for each waiting client, and 60 MB of the 104. `malloc_trim` then gives back the pages that are
free inside the heap: 56 MB. MALLOC_ARENA_MAX and MALLOC_TRIM_THRESHOLD_ changed nothing, since the heap's top is always
in use; Python without its own allocator (PYTHONMALLOC=malloc) needs as much.

To collect and to trim stop the loop for some milliseconds. So it is done only when an eighth of the process has become
free since the last time (`mallinfo2` says what is free), or many objects were made that were not taken away, and once a
minute at most.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Final

__all__ = ["memory_given_back"]

log = logging.getLogger(__name__)

_LOOK_S: Final = 10.0
_PAUSE_S: Final = 60.0
_PART: Final = 8
_LEAST_BYTES: Final = 4 << 20
_OBJECTS: Final = 50_000
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
async def memory_given_back(look_s: float = _LOOK_S, pause_s: float = _PAUSE_S) -> AsyncIterator[None]:
    """Look after the process' memory for as long as the block takes. Does nothing without glibc (2.33 or newer).

    Args:
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
    looking = asyncio.create_task(_look(heap, look_s, pause_s), name="memory")
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait([looking])


def _resident_bytes() -> int:
    """What of this process is in memory and is its own."""
    _, resident, shared, *_ = _STATM.read_text().split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGESIZE")


async def _look(heap: _Heap, look_s: float, pause_s: float) -> None:
    least, given_s = heap.free_bytes(), -pause_s
    while True:
        await asyncio.sleep(look_s)
        free = heap.free_bytes()
        least = min(least, free)
        if monotonic() - given_s < pause_s:
            continue
        resident = _resident_bytes()
        if free - least > max(_LEAST_BYTES, resident // _PART) or gc.get_count()[0] > _OBJECTS:
            given_s = monotonic()
            gc.collect()
            heap.give_back()
            least = heap.free_bytes()
            took_ms = (monotonic() - given_s) * 1000
            log.debug("memory: %d KB are now %d, in %.1f ms", resident >> 10, _resident_bytes() >> 10, took_ms)
