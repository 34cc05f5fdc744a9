"""The load generator: thousands of WebSocket clients, received and counted in C, driven from here.

The C part is compiled when a benchmark starts. Its calls release the GIL.
"""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from .paths import BUILD, HERE

__all__ = ["BenchmarkError", "Clients", "Counts", "Target", "native_library", "native_path"]

_SOURCES: Final = tuple(HERE / "native" / name for name in ("clients.h", "clients.c", "flood.c"))
_MOST_LATENCIES: Final = 4_000_000
_ALL: Final = (1 << 64) - 1
_COUNTERS: Final = (
    "messages", "greetings", "states", "lost", "doubled", "closed", "refused", "open", "connecting", "bytes",
    "receives", "last_receive_ns", "close_code",
)  # fmt: skip


class BenchmarkError(Exception):
    """A measurement did not come about; the text says what was missing."""


class Counts(ctypes.Structure):
    """What the clients have seen since the last reset; mirrors `struct counts` in native/clients.h."""

    _fields_ = [(name, ctypes.c_uint64) for name in _COUNTERS]

    messages: int
    greetings: int
    states: int
    lost: int
    doubled: int
    closed: int
    refused: int
    open: int
    connecting: int
    bytes: int
    receives: int
    last_receive_ns: int
    close_code: int


@dataclass(frozen=True, slots=True)
class Target:
    """What clients connect to."""

    port: int
    path: Callable[[str, str], str]
    """The path for a run and a cursor; the cursor is empty for a first visit."""
    hello: bytes = b""
    """A frame that the client says first."""
    headers: str = ""
    """Further lines of the upgrade request, each with its line end."""

    def request(self, run: str, cursor: str = "") -> bytes:
        """The HTTP upgrade of RFC 6455, section 4.1."""
        return (
            f"GET {self.path(run, cursor)} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"{self.headers}\r\n"
        ).encode()


def native_path() -> Path:
    """Compile the C part, unless that is done.

    Raises:
        BenchmarkError: there is no C compiler, or it refuses.
    """
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:12]
    library = BUILD / f"clients-{digest}.so"
    if not library.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        sources = [str(path) for path in _SOURCES if path.suffix == ".c"]
        command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), *sources]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            raise BenchmarkError("the load generator needs a C compiler: apt-get install gcc") from None
        except subprocess.CalledProcessError as error:
            raise BenchmarkError(f"the load generator does not compile:\n{error.stderr}") from error
    return library


@cache
def native_library() -> ctypes.CDLL:
    """The compiled part with its functions' types."""
    lib = ctypes.CDLL(str(native_path()))
    whole, many, pointer, text = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_char_p
    latencies = ctypes.POINTER(ctypes.c_uint32)
    signatures: dict[str, tuple[object, list[object]]] = {
        "clients_new": (pointer, [whole, whole]),
        "clients_free": (None, [pointer]),
        "clients_connect": (ctypes.c_int, [pointer, whole, whole, ctypes.c_uint16, text, whole, text, whole]),
        "clients_poll": (many, [pointer, ctypes.c_int, many]),
        "clients_inspect": (None, [pointer, ctypes.c_int]),
        "clients_reset": (None, [pointer, many]),
        "clients_cut": (None, [pointer]),
        "clients_counts": (ctypes.POINTER(Counts), [pointer]),
        "clients_fewest_messages": (many, [pointer]),
        "clients_lowest_number": (many, [pointer]),
        "clients_behind": (many, [pointer]),
        "clients_cursor": (text, [pointer, whole]),
        "clients_latencies": (latencies, [pointer, ctypes.POINTER(whole)]),
        "flood": (ctypes.c_int, [ctypes.c_int, whole, text, whole, whole]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Clients:
    """Clients of one server: client i watches `runs[i % len(runs)]`."""

    def __init__(self, target: Target, runs: Sequence[str], count: int) -> None:
        self.count = count
        self.runs = runs
        self._target = target
        self._lib = native_library()
        self._all = self._lib.clients_new(count, _MOST_LATENCIES)
        self._lib.clients_inspect(self._all, 1)

    def close(self) -> None:
        """Leave."""
        if self._all:
            self._lib.clients_free(self._all)
            self._all = None

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def counts(self) -> Counts:
        """Counters since the last reset; they go on changing while the clients are polled."""
        counts: Counts = self._lib.clients_counts(self._all).contents
        return counts

    @property
    def fewest_messages(self) -> int:
        """Messages of the client that has the fewest."""
        fewest: int = self._lib.clients_fewest_messages(self._all)
        return fewest

    @property
    def lowest_number(self) -> int:
        """Number of the last message of the client that is furthest behind."""
        lowest: int = self._lib.clients_lowest_number(self._all)
        return lowest

    @property
    def behind(self) -> int:
        """Clients that are not back yet, or know less than another client of their run."""
        behind: int = self._lib.clients_behind(self._all)
        return behind

    def latencies_us(self) -> list[int]:
        """Microseconds from `publish` to receipt, of each message since the last reset."""
        count = ctypes.c_uint32()
        first = self._lib.clients_latencies(self._all, ctypes.byref(count))
        latencies: list[int] = first[: count.value]
        return latencies

    def poll(self, timeout_s: float, target: int = _ALL) -> int:
        """Receive until `target` messages have come in all, or the time is up. Returns the messages."""
        messages: int = self._lib.clients_poll(self._all, max(0, round(timeout_s * 1000)), target)
        return messages

    def poll_until(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Receive until `done`; BenchmarkError, saying for what it waited, after the deadline."""
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                raise BenchmarkError(f"waited {timeout_s:g} s for {what}: {self.describe()}")
            self.poll(0.002)

    def describe(self) -> str:
        """The counters as text, for errors."""
        counts = self.counts
        return ", ".join(f"{name} {getattr(counts, name)}" for name in _COUNTERS if getattr(counts, name))

    def connect(
        self,
        *,
        at_once: int = 256,
        timeout_s: float = 60.0,
        resume: bool = False,
        hello_of: Callable[[int], bytes] | None = None,
    ) -> None:
        """Open all clients, so many at once.

        Args:
            resume: each with the cursor of its last message.
            hello_of: what each says first, by its index; by default, all say what the target wants.

        Raises:
            BenchmarkError: some were refused, or it took too long.
        """
        counts, hello = self.counts, self._target.hello
        deadline = time.monotonic() + timeout_s
        requests = {run: self._target.request(run) for run in self.runs}
        for index in range(self.count):
            group = index % len(self.runs)
            request = requests[self.runs[group]]
            if resume:
                cursor = self._lib.clients_cursor(self._all, index).decode()
                request = self._target.request(self.runs[group], cursor)
            while counts.connecting >= at_once and time.monotonic() < deadline:
                self.poll(0.001)
            hello = hello if hello_of is None else hello_of(index)
            error = self._lib.clients_connect(
                self._all, index, group, self._target.port, request, len(request), hello, len(hello)
            )
            if error:
                raise BenchmarkError(f"client {index} cannot connect: errno {error}")
        while counts.connecting and time.monotonic() < deadline:
            self.poll(0.001)
        if counts.open != self.count:
            raise BenchmarkError(f"{counts.open} of {self.count} clients could connect: {self.describe()}")

    def cut(self) -> None:
        """Drop all connections at once, with a reset."""
        self._lib.clients_cut(self._all)

    def reset(self, number: int, *, each: bool) -> None:
        """Start counting anew: the next message of every run is `number` + 1.

        each: look into each message for its number and age; otherwise count them, and look at the last of each receive.
        """
        self._lib.clients_reset(self._all, number)
        self._lib.clients_inspect(self._all, int(each))
