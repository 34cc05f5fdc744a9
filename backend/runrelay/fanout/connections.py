"""A client's connection as the hub sees it, whatever its transport: a bounded queue of frames (backpressure)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ..codes import CloseCode
from .bounds import exempt_bytes
from .frames import Batch

__all__ = ["Connection", "QueuedConnection", "close_reason"]


def close_reason(text: str) -> str:
    """A text, cut for the reason of a close: at most 123 bytes of UTF-8 (RFC 6455, section 5.5)."""
    return text.encode("utf-8", "replace")[:123].decode("utf-8", "ignore")


class Connection(Protocol):
    """A client as the hub sees it. No call blocks or raises."""

    closed: tuple[CloseCode, str] | None
    """Code and reason, once it is closed."""

    @property
    def resume_bytes(self) -> int:
        """Up to so many bytes of missed events are sent after a cursor; for more, an initial_state is cheaper."""

    def send(self, batch: Batch, *, exempt: bool = False) -> bool:
        """Queue frames; they are sent in order. False: the client is closed or was just cut off, and gets nothing more.

        Args:
            exempt: it is a catch-up, which has a bound of its own: see `exempt_bytes`.
        """

    def when_drained(self, callback: Callable[[], None]) -> bool:
        """Whether no exempt frame waits. If one does, `callback` is called later: when none does, or the client is
        gone.

        Only the last callback is kept.
        """

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Send what waits, then close. With TOO_SLOW, what waits is dropped: the client reconnects with its cursor."""

    def tick(self) -> None:
        """Called by the hub about every 20 s: detect a dead peer, if the server does not."""


class QueuedConnection:
    """A connection whose frames wait in a queue until a writer task of any ASGI server has sent them.

    Overflow policy: cut off. If more than `bound_bytes` wait, or more than `exempt_bytes` of exempt frames, the
    connection is closed with 4408. No frame is skipped.
    """

    def __init__(self, bound_bytes: int) -> None:
        self.resume_bytes = bound_bytes // 2
        self.closed: tuple[CloseCode, str] | None = None
        self._bound_bytes = bound_bytes
        self._queue: deque[tuple[Batch, bool]] = deque()
        self._waiting = _WaitingBytes()
        self._sending: tuple[Batch, bool] | None = None
        self._on_drained: Callable[[], None] | None = None
        self._wake_writer = asyncio.Event()
        self._closing = asyncio.Event()

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait and count against the bound."""
        return self._waiting.counted

    def send(self, batch: Batch, *, exempt: bool = False) -> bool:
        """See Connection.send."""
        if self.closed is not None:
            return False
        waiting, size = self._waiting, batch.size_bytes
        if exempt:
            fits = not waiting.exempt or waiting.exempt + size <= exempt_bytes(self._bound_bytes)
        else:
            fits = waiting.counted + size <= self._bound_bytes
        if not fits:
            self.close(CloseCode.TOO_SLOW, "too slow")
            return False
        self._queue.append((batch, exempt))
        waiting.add(size, exempt=exempt)
        self._wake_writer.set()
        return True

    def when_drained(self, callback: Callable[[], None]) -> bool:
        """See Connection.when_drained."""
        if not self._waiting.exempt or self.closed is not None:
            return True
        self._on_drained = callback
        return False

    def _notify_drained(self) -> None:
        callback, self._on_drained = self._on_drained, None
        if callback is not None:  # later, as this may run within `send` or `close`
            asyncio.get_running_loop().call_soon(callback)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """See Connection.close."""
        if self.closed is None:
            self.closed = code, close_reason(reason)
            self._closing.set()
            if code is CloseCode.TOO_SLOW:
                self._queue.clear()
                self._waiting = _WaitingBytes()
                if self._sending is not None:
                    self._waiting.add(self._sending[0].size_bytes, exempt=self._sending[1])
            self._wake_writer.set()
            self._notify_drained()

    def tick(self) -> None:
        """The server sends its own pings."""

    async def wait_closed(self) -> None:
        """Wait until `close` was called, by either side. On cancellation nothing changes."""
        await self._closing.wait()

    async def next(self) -> Batch | None:
        """The batch to be sent next; None when everything is sent and the connection is to be closed.

        A batch counts against the bound until the next call, as the client does not have it before. On cancellation no
        batch is lost.
        """
        if self._sending is not None:
            batch, exempt = self._sending
            self._waiting.add(-batch.size_bytes, exempt=exempt)
            self._sending = None
            if not self._waiting.exempt:
                self._notify_drained()
        while not self._queue:
            if self.closed is not None:
                return None
            self._wake_writer.clear()
            await self._wake_writer.wait()
        self._sending = self._queue.popleft()
        return self._sending[0]


class _WaitingBytes:
    """How many bytes wait for a client."""

    __slots__ = ("counted", "exempt")

    def __init__(self) -> None:
        self.counted = 0
        self.exempt = 0

    def add(self, size: int, *, exempt: bool) -> None:
        """Count a batch; a negative size takes it away."""
        if exempt:
            self.exempt += size
        else:
            self.counted += size
