"""What the hub sends to: a client's connection, whatever its transport, with a bound on what may wait for it."""

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
    """A text as the reason of a close: at most 123 bytes of UTF-8 (RFC 6455, section 5.5)."""
    return text.encode("utf-8", "replace")[:123].decode("utf-8", "ignore")


class Connection(Protocol):
    """A client as the hub sees it. No call blocks or raises."""

    closed: tuple[CloseCode, str] | None
    """How it was closed, once it is."""

    @property
    def resume_bytes(self) -> int:
        """A cursor is honoured event by event up to this many bytes; beyond, a new initial_state is cheaper."""

    def send(self, batch: Batch, *, exempt: bool = False) -> bool:
        """Take frames to be sent in order. False: the client is closed or was just cut off, and gets nothing more.

        Args:
            exempt: what brings the client to the present, which has a bound of its own: see `exempt_bytes`.
        """

    def when_drained(self, callback: Callable[[], None]) -> bool:
        """Whether nothing that is exempt waits. If something does, call back soon after nothing does, or it is gone.

        One callback is kept.
        """

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Send what waits, then close. After TOO_SLOW what waits is dropped: the client comes back with its cursor."""

    def tick(self) -> None:
        """Called by the hub every 20 s or so: find out whether the client is still there, if the server does not."""


class QueuedConnection:
    """A connection whose frames wait in a queue until a writer task of any ASGI server has sent them.

    Overflow policy: cut off. More waiting than `bound_bytes`, or than its `exempt_bytes` of what is exempt, closes it
    with 4408; nothing is skipped.
    """

    def __init__(self, bound_bytes: int) -> None:
        self.resume_bytes = bound_bytes // 2
        self.closed: tuple[CloseCode, str] | None = None
        self._bound_bytes = bound_bytes
        self._queue: deque[tuple[Batch, bool]] = deque()
        self._waiting = _Waiting()
        self._sending: tuple[Batch, bool] | None = None
        self._on_drained: Callable[[], None] | None = None
        self._news = asyncio.Event()
        self._closing = asyncio.Event()

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait and count against the bound."""
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
        self._news.set()
        return True

    def when_drained(self, callback: Callable[[], None]) -> bool:
        """See Connection.when_drained."""
        if not self._waiting.exempt or self.closed is not None:
            return True
        self._on_drained = callback
        return False

    def _note_drained(self) -> None:
        callback, self._on_drained = self._on_drained, None
        if callback is not None:  # and not within the call that sent, or closed
            asyncio.get_running_loop().call_soon(callback)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """See Connection.close."""
        if self.closed is None:
            self.closed = code, close_reason(reason)
            self._closing.set()
            if code is CloseCode.TOO_SLOW:
                self._queue.clear()
                self._waiting = _Waiting()
                if self._sending is not None:
                    self._waiting.add(self._sending[0].size_bytes, exempt=self._sending[1])
            self._news.set()
            self._note_drained()

    def tick(self) -> None:
        """The server sends its own pings."""

    async def wait_closed(self) -> None:
        """Wait until `close` was called, by whomever."""
        await self._closing.wait()

    async def next(self) -> Batch | None:
        """What is to be sent next; None once everything is sent and the connection is to be closed.

        What is being sent goes on counting until the next call: the client has not got it before.
        """
        if self._sending is not None:
            batch, exempt = self._sending
            self._waiting.add(-batch.size_bytes, exempt=exempt)
            self._sending = None
            if not self._waiting.exempt:
                self._note_drained()
        while not self._queue:
            if self.closed is not None:
                return None
            self._news.clear()
            await self._news.wait()
        self._sending = self._queue.popleft()
        return self._sending[0]


class _Waiting:
    """Bytes that wait for a client."""

    __slots__ = ("counted", "exempt")

    def __init__(self) -> None:
        self.counted = 0
        self.exempt = 0

    def add(self, size: int, *, exempt: bool) -> None:
        """So many more, or fewer."""
        if exempt:
            self.exempt += size
        else:
            self.counted += size
