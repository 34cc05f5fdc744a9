"""The machine: what it is, which core belongs to whom, what processes take of it. Linux only."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "Cores",
    "cpu_s",
    "descendants",
    "describe",
    "memory_bytes",
    "raise_file_limit",
    "slab_bytes",
    "take_cores",
    "wakeful_cores",
]

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_WAKEFUL: Final = Path("/dev/cpu_dma_latency")
"""While it is open, cores answer within the microseconds that were written to it; kernel.org, pm_qos_interface."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Two cores: nothing that is measured may wait for what measures it."""

    server: int
    generator: int
    """Also the core of Valkey and of the publisher."""


def take_cores() -> Cores:
    """Pin this process, and what it starts, to the generator's core."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise RuntimeError(f"the benchmarks need 2 cores, got {len(cores)}")
    os.sched_setaffinity(0, {cores[1]})
    return Cores(server=cores[0], generator=cores[1])


@contextlib.contextmanager
def wakeful_cores() -> Iterator[None]:
    """Let no core sleep when it idles, where that is allowed: Linux' /dev/cpu_dma_latency, as cyclictest does it.

    To wake one up takes a virtual machine tens of microseconds, of whoever sends to a process there: a server, at each
    client that happens to be faster than it. That measures the hypervisor, and chance.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            held.enter_context(_WAKEFUL.open("wb", buffering=0)).write(bytes(4))
        yield


def _may_keep_awake() -> bool:
    with contextlib.suppress(OSError), _WAKEFUL.open("wb"):
        return True
    return False


def raise_file_limit() -> int:
    """Let this process and what it starts open as many files as it may; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def descendants(pid: int) -> list[int]:
    """A process and everything below it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def memory_bytes(pids: Iterable[int]) -> int:
    """Memory of processes, what they share counted once (proportional set size; proc(5))."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def slab_bytes() -> int:
    """The kernel's own objects, sockets among them."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Slab:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no Slab line in /proc/meminfo")


def cpu_s(pids: Iterable[int]) -> float:
    """Processor time that processes have taken so far, theirs and the kernel's for them."""
    total = 0
    for pid in pids:
        # the name, in parentheses, may hold anything; utime and stime are the 14th and 15th field
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS_PER_S


def describe() -> dict[str, str]:
    """What a reader must know to compare."""
    cpu = memory = system = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal"):
            memory = f"{int(line.split()[1]) / (1 << 20):.0f} GiB"
    with contextlib.suppress(OSError):
        system = platform.freedesktop_os_release().get("PRETTY_NAME", system)
    return {
        "processor": f"{cpu}, {os.cpu_count()} cores",
        "memory": memory,
        "system": f"{system}, Linux {platform.release()}",
        "idle cores": "kept awake while ages are taken" if _may_keep_awake() else "may sleep",
        "Python": platform.python_version(),
    }
