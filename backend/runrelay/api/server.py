"""The relay under uvicorn: started with the settings that the fan-out needs, drained before sockets are closed."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import uvicorn

from ..relay.open_files import backlog, raise_limit
from ..relay.relay import Relay
from ..relay.settings import Settings

__all__ = ["drain_on_signals", "end_with_supervisor", "plain_path_reason", "serve"]

_FAST_UVICORN: Final = "0.54"
"""The fast path relies on inner parts of uvicorn, which change: see fanout/uvicorn.py and http_protocol.py. It is for
this version only; tests check what it relies on."""


@contextmanager
def drain_on_signals(relay: Relay) -> Iterator[None]:
    """Drain the relay on SIGTERM and SIGINT, before the server gets the signal.

    A server closes WebSockets before the lifespan ends, and without our reason, which says when to reconnect. So the
    first signal drains the relay, and is then passed on to the handler that was installed before. A second one is
    passed on at once.
    """
    loop = asyncio.get_running_loop()
    draining: asyncio.Task[None] | None = None
    before: dict[int, Any] = {}

    async def drain(number: int) -> None:
        await relay.drain()
        pass_on(number, None)

    def pass_on(number: int, frame: FrameType | None) -> None:
        handler = before[number]
        if callable(handler):
            handler(number, frame)

    def begin(number: int) -> None:
        nonlocal draining
        if draining is None:
            draining = loop.create_task(drain(number), name="drain")
        else:
            pass_on(number, None)

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        loop.call_soon_threadsafe(begin, number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, on_signal)
    try:
        yield
    finally:
        for restored, handler in before.items():
            signal.signal(restored, handler)


@contextmanager
def end_with_supervisor() -> Iterator[None]:
    """Let a process of `--workers` end when the supervisor that started it has died (out of memory, for example).

    Without it the process keeps its share of the port for good, and nobody replaces it when it dies.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        yield
        return
    loop, sentinel = asyncio.get_running_loop(), supervisor.sentinel

    def end() -> None:
        loop.remove_reader(sentinel)
        signal.raise_signal(signal.SIGTERM)  # drains, and ends as if the supervisor had asked for it

    loop.add_reader(sentinel, end)
    try:
        yield
    finally:
        loop.remove_reader(sentinel)


def plain_path_reason() -> str | None:
    """Why `serve` takes the plain path instead of the fast one, in words; None if it takes the fast one."""
    if uvicorn.__version__.rpartition(".")[0] == _FAST_UVICORN:
        return None
    return (
        f"uvicorn {uvicorn.__version__} is installed, and the fast path is for {_FAST_UVICORN}: each client takes more "
        f"memory and time, and there are no limits on connections without a whole request; to have both: "
        f"pip install 'uvicorn=={_FAST_UVICORN}.*'"
    )


def serve(
    settings: Settings,
    *,
    workers: int = 1,
    reload: bool = False,
    sources: Sequence[str] = (".",),
    log_level: str = "info",
    ws: str = "runrelay.fanout.uvicorn:FanoutProtocol",
) -> None:
    """Serve until a signal ends it. Worker processes read the settings from the environment again.

    Args:
        workers: processes.
        reload: restart when a file below one of the folders `sources` changes.

    Raises:
        SystemExit: the port is taken, or the application does not start.
    """
    raise_limit()
    fast = plain_path_reason() is None
    uvicorn.run(
        "runrelay.api.app:from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=workers,
        reload=reload,
        reload_dirs=[*sources] if reload else None,
        http="runrelay.api.handshake:FirstBytes" if fast else "httptools",
        ws=ws if fast else "websockets-sansio",
        ws_max_size=settings.max_frame_bytes * 2,  # above our own limit, whose error frame says what was wrong
        ws_per_message_deflate=False,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        timeout_keep_alive=settings.keep_alive_s,
        backlog=backlog(),
        # uvicorn's default trusts every process of this machine.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[*settings.trusted_proxies],
        log_level=log_level,
        access_log=False,
        server_header=False,
    )
