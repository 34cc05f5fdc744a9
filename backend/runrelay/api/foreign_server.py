"""A relay inside an application whose server is somebody else's: clients are let go when that server begins to stop.

Why: uvicorn, gunicorn and hypercorn wait at their stop until every request is answered, and end the lifespan after
that. An event stream or a held request is answered only when the relay ends it. If the relay heard of the stop from the
lifespan, each would wait for the other, until a time-out. And the server would close WebSockets without the reason that
says when to reconnect.

How:

- uvicorn, also under gunicorn, stops at a signal. The server's handler is kept, and called a few turns of the loop
  later: by then each client's close is sent, with its reason. Nothing waits for the clients. A second signal is passed
  on at once, and so is one that raises KeyboardInterrupt.
- uvicorn also stops without a signal: after `--limit-max-requests` (gunicorn's `--max-requests`), or in a thread that
  is told to exit. So its server is watched, too. Of this stop the relay may hear a tenth of a second late: the sockets
  are then closed by the server.
- hypercorn's worker processes get no signal. A task of hypercorn's waits for the event that stops them, and ends when
  the server begins to stop. The relay waits for that task.

A signal without a handler in Python ends the process at once, as it would without a relay, so it is left alone.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from types import CodeType, CoroutineType, FrameType
from typing import Any, Final

from ..relay.relay import Relay

__all__ = ["let_go_with_the_server"]

_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGQUIT")
"""uvicorn stops at the first two; gunicorn also sends its workers the third."""
_TURNS: Final = 5
"""A connection's writer needs two turns of the loop to send a close, however many connections there are."""
_LOOK_EVERY_S: Final = 0.1
_LOOKS: Final = 100
"""A server makes its tasks after the lifespan has started. If there are none after ten seconds, it is another one."""


@asynccontextmanager
async def let_go_with_the_server(relay: Relay) -> AsyncIterator[None]:
    """Within the block, send the relay's clients away as soon as the server of this loop begins to stop."""
    hooks = _Hooks(relay)
    watch = asyncio.create_task(_when_the_server_stops(relay), name="the server's stop")
    try:
        yield
    finally:
        hooks.undo()
        watch.cancel()
        await asyncio.wait([watch])


class _Hooks:
    """Our handlers before the server's. Only a main thread can have handlers; without it there are none."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._loop = asyncio.get_running_loop()
        self._before: dict[int, Any] = {}
        self._has_begun = False
        # One object, so that it can be compared: each access to a method makes a new one.
        self._ours = self._on_signal
        if threading.current_thread() is not threading.main_thread():
            return
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            handler = None if number is None else signal.getsignal(number)
            if number is not None and callable(handler):
                self._before[number] = handler
                signal.signal(number, self._ours)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        handler = self._before[number]
        is_first, self._has_begun = not self._has_begun, True
        waits = is_first and handler is not signal.default_int_handler
        if is_first:
            try:
                self._loop.call_soon_threadsafe(self._begin, number if waits else None)
            except RuntimeError:  # the loop is closed
                waits = False
        if not waits:
            handler(number, frame)

    def _begin(self, number: int | None) -> None:
        self._relay.send_away()
        if number is not None:
            self._pass_on(number, _TURNS)

    def _pass_on(self, number: int, turns: int) -> None:
        if turns:
            self._loop.call_soon(self._pass_on, number, turns - 1)
        else:
            self._before[number](number, None)

    def undo(self) -> None:
        """Restore the handlers. One that was set over ours stays, and may go on calling ours."""
        self._has_begun = True
        for number, handler in self._before.items():
            if signal.getsignal(number) is self._ours:
                signal.signal(number, handler)


async def _when_the_server_stops(relay: Relay) -> None:
    for _ in range(_LOOKS):
        stopping = _server_of_this_loop()
        if stopping is not None:
            await stopping
            relay.send_away()
            return
        await asyncio.sleep(_LOOK_EVERY_S)


def _server_of_this_loop() -> Awaitable[object] | None:
    """Something that ends when the server that runs in this loop begins to stop; None if no known one is found."""
    hypercorn = _code_of("hypercorn.utils", "raise_shutdown")
    uvicorn = _code_of("uvicorn.server", "Server", "_serve")
    for task in asyncio.all_tasks():
        coroutine: Any = task.get_coro()
        while isinstance(coroutine, CoroutineType):  # it, what it waits for, what that waits for
            if coroutine.cr_code is hypercorn:
                return asyncio.wait([task])
            if coroutine.cr_code is uvicorn and coroutine.cr_frame is not None:
                return _uvicorn_stops(coroutine.cr_frame.f_locals["self"])
            coroutine = coroutine.cr_await
    return None


def _code_of(module: str, *names: str) -> CodeType | None:
    """The code of a function of a module, if that is loaded and has it."""
    found: Any = sys.modules.get(module)
    for name in names:
        found = getattr(found, name, None)
    return getattr(found, "__code__", None)


async def _uvicorn_stops(server: Any) -> None:
    """As often as uvicorn itself looks: whether it was told to exit, or does not listen any more."""

    def stops() -> bool:
        return server.should_exit or (server.started and not any(it.is_serving() for it in server.servers))

    while not stops():  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(_LOOK_EVERY_S)
