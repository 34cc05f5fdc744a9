"""Senders: threads of their own for what pipelines do when they are started and cancelled.

A pipeline speaks to a broker, and a broker may accept a connection and never answer. The loop's own threads are for
files and deletions, which must not wait behind it: so the senders are few, their queue is bounded, and a call that is
given up while it waits is never made.

The threads are daemons, unlike those of `concurrent.futures`, whose exit hook joins every one of them: a process
whose broker hangs could not end.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import RunrelayError

__all__ = ["Senders", "SendersBusy"]

log = logging.getLogger(__name__)


class SendersBusy(RunrelayError):
    """All senders are at work or do not come back, and as many calls wait as may."""


class _Call:
    """One call of a function in a sender's thread."""

    __slots__ = ("args", "error", "finished", "function", "given_up_s", "loop", "over")

    def __init__(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.function = function
        self.args = args
        self.loop = asyncio.get_running_loop()
        self.finished = asyncio.Event()
        self.over = False
        """The function has returned or raised."""
        self.error: BaseException | None = None
        self.given_up_s: float | None = None
        """When the caller stopped waiting, on the monotonic clock."""


class Senders:
    """A few threads, and a bounded queue of calls. Its methods belong to the event loop."""

    def __init__(self, *, threads: int = 8, waiting: int = 64, timeout_s: float = 10.0) -> None:
        """
        Args:
            threads: calls at the same time.
            waiting: calls that may wait for a thread; beyond it `SendersBusy`.
            timeout_s: seconds that a caller waits, from the moment it asks.
        """
        self._most_threads = threads
        self._most_reserved = threads + waiting
        self._timeout_s = timeout_s
        self._threads: list[threading.Thread] = []
        self._waiting: deque[_Call] = deque()
        self._changed = threading.Condition()
        """Held for everything below, and above for `_waiting`."""
        self._idle = 0
        self._stuck = 0
        """Threads in a call that was given up."""
        self._reserved = 0
        self._closed = False

    @contextmanager
    def reserve(self) -> Iterator[None]:
        """Reserve a place for a call, before anything is done that only makes sense with it.

        Raises:
            SendersBusy: there is none.
        """
        if self._closed:
            raise SendersBusy("the relay is going away")
        if self._stuck >= self._most_threads:
            raise SendersBusy(
                f"all {self._most_threads} senders are held by calls that do not return: the broker hangs"
            )
        if self._reserved >= self._most_reserved:
            raise SendersBusy(f"{self._reserved} calls are at work or wait already, the most that may")
        self._reserved += 1
        try:
            yield
        finally:
            self._reserved -= 1

    async def call(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function in a sender's thread and wait for its end.

        Given up (by the time-out, or cancelled) before its turn has come, it is never called. A call that is being
        made cannot be stopped: it goes on, and whatever it does must be harmless then.

        Raises:
            TimeoutError: it has not ended within the time-out.
            SendersBusy: the senders were closed while it waited.
            Exception: what the function raises.
        """
        call = _Call(function, args)
        with self._changed:
            if self._closed:
                raise SendersBusy("the relay is going away")
            self._waiting.append(call)
            if self._idle < len(self._waiting) and len(self._threads) < self._most_threads:
                thread = threading.Thread(target=self._work, name=f"sender-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()
        try:
            async with asyncio.timeout(self._timeout_s):
                await call.finished.wait()
        except TimeoutError:
            if self._give_up(call):
                raise TimeoutError(f"it has not ended within {self._timeout_s:g} s") from None
        except BaseException:
            self._give_up(call)
            raise
        if call.error is not None:
            raise call.error

    def _give_up(self, call: _Call) -> bool:
        """Stop waiting for a call. False: it has just ended, after all."""
        with self._changed:
            if call.over:
                return False
            if call in self._waiting:
                self._waiting.remove(call)
            else:
                call.given_up_s = time.monotonic()
                self._stuck += 1
            return True

    def close(self) -> None:
        """Take no more calls, make none that waits, and let the threads go. Calls that are being made go on."""
        with self._changed:
            self._closed = True
            for call in self._waiting:
                call.over, call.error = True, SendersBusy("the relay is going away")
                call.finished.set()
            self._waiting.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._waiting and not self._closed:
                    self._changed.wait()
                self._idle -= 1
                if not self._waiting:
                    return
                call = self._waiting.popleft()
            error: BaseException | None = None
            try:
                call.function(*call.args)
            except BaseException as raised:  # SystemExit of a pipeline's too: the thread is needed
                error = raised if isinstance(raised, Exception) else RuntimeError(f"{type(raised).__name__}: {raised}")
            with self._changed:
                call.over, call.error = True, error
                given_up_s = call.given_up_s
                if given_up_s is not None:
                    self._stuck -= 1
            if given_up_s is not None:
                late_s = time.monotonic() - given_up_s
                log.warning("a call that was given up has ended %.1f s later: %s", late_s, error or "it was made")
                continue
            try:
                call.loop.call_soon_threadsafe(call.finished.set)
            except RuntimeError:
                return  # the loop is closed, and so is everything
