"""Senders: threads for pipelines' `start` and `cancel` calls, which send to a broker.

A broker may accept a connection and never answer. Other work in threads (files, deletions) must not wait behind such a
call, so the senders do not use the loop's own threads. They are few, their queue is bounded, and a call whose caller
stops waiting before its turn is never made.

The threads are daemons. `concurrent.futures` would join its threads at exit, so that a process whose broker hangs could
not end.
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
    """No sender is free, and as many calls wait as may, or the senders are closed."""


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
        """When the caller stopped waiting (monotonic, seconds)."""


class Senders:
    """A few threads, and a bounded queue of calls. Its methods belong to the event loop."""

    def __init__(self, *, threads: int = 8, waiting: int = 64, timeout_s: float = 10.0) -> None:
        """
        Args:
            threads: calls at the same time.
            waiting: calls that may wait for a thread; beyond it `SendersBusy`.
            timeout_s: seconds that a caller waits, its turn included.
        """
        self._most_threads = threads
        self._most_reserved = threads + waiting
        self._timeout_s = timeout_s
        self._threads: list[threading.Thread] = []
        self._waiting: deque[_Call] = deque()
        self._changed = threading.Condition()
        """Its lock guards `_waiting` and everything below."""
        self._idle = 0
        self._stuck = 0
        """How many threads are in a call whose caller has stopped waiting."""
        self._reserved = 0
        self._closed = False

    @contextmanager
    def reserve(self) -> Iterator[None]:
        """Reserve a sender for a call, before anything is done that is useless without the call.

        Raises:
            SendersBusy: none is free, and no more calls may wait.
        """
        if self._closed:
            raise SendersBusy("the relay is shutting down")
        if self._stuck >= self._most_threads:
            raise SendersBusy(f"all {self._most_threads} senders are in calls that do not return: the broker hangs")
        if self._reserved >= self._most_reserved:
            raise SendersBusy(f"{self._reserved} calls are being made or wait, the most that may")
        self._reserved += 1
        try:
            yield
        finally:
            self._reserved -= 1

    async def call(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function in a sender's thread and wait for its end.

        After a time-out or a cancellation before its turn, it is never called. A call that is being made cannot be
        stopped: it goes on in its thread, and what it does then must be harmless.

        Raises:
            TimeoutError: the call has not ended within the time-out.
            SendersBusy: the senders were closed while it waited.
            Exception: what the function raises.
        """
        call = _Call(function, args)
        with self._changed:
            if self._closed:
                raise SendersBusy("the relay is shutting down")
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
        """Stop waiting for a call. False: it has just ended."""
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
        """Take no more calls, make none of those that wait, and end idle threads. Calls that are being made go on."""
        with self._changed:
            self._closed = True
            for call in self._waiting:
                call.over, call.error = True, SendersBusy("the relay is shutting down")
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
            except BaseException as raised:  # even a pipeline's SystemExit must not end the thread
                error = raised if isinstance(raised, Exception) else RuntimeError(f"{type(raised).__name__}: {raised}")
            with self._changed:
                call.over, call.error = True, error
                given_up_s = call.given_up_s
                if given_up_s is not None:
                    self._stuck -= 1
            if given_up_s is not None:
                late_s = time.monotonic() - given_up_s
                outcome = error or "it succeeded"
                log.warning("a call has ended %.1f s after its caller stopped waiting: %s", late_s, outcome)
                continue
            try:
                call.loop.call_soon_threadsafe(call.finished.set)
            except RuntimeError:
                return  # the loop is closed: the process ends
