"""`runrelay tail`: a run in the terminal, through a hub of its own, or as the channel's raw messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import orjson
from redis.exceptions import RedisError
from rich.markup import escape

from ..codes import CloseCode
from ..errors import RunlogError, RunlogUnavailable
from ..fanout import Connection, Hub, Listener, QueuedConnection
from ..fanout.messages import parse_message
from ..metrics import RelayMetrics
from ..runlog import AsyncRunLog
from ..runlog.server_url import without_password
from .terminal import STYLES, clean, err, out

if TYPE_CHECKING:
    from ..progress import Cursor
    from ..relay import Settings

__all__ = ["follow", "follow_raw"]

_RETRY_S: Final = 0.5


async def follow_raw(given: Settings, run_id: str) -> None:
    """Print the channel's messages of a run as they are, until cancelled. It reconnects if Redis goes away.

    Raises:
        RunlogUnavailable: Redis cannot be reached at the start.
    """
    runlog = AsyncRunLog.from_settings(given)
    connected = down = False
    try:
        while True:
            try:
                async with runlog.redis.pubsub() as pubsub:
                    await pubsub.subscribe(runlog.keys.channel_of(run_id))
                    async for message in pubsub.listen():
                        if down:
                            err.print("redis is up", style="yellow")
                        connected, down = True, False
                        if message["type"] == "message" and _is_about(run_id, message["data"]):
                            out.print(clean(message["data"].decode()), markup=False, soft_wrap=True)
            except RedisError as error:
                if not connected:
                    url = without_password(given.redis_url)
                    raise RunlogUnavailable(f"no answer from {url}: {error}") from None
                if not down:
                    err.print("redis is down: messages that are published meanwhile are missed here", style="yellow")
                down = True
                await asyncio.sleep(_RETRY_S)
    finally:
        await runlog.close()


def _is_about(run_id: str, message: bytes) -> bool:
    try:
        return parse_message(message).run_id == run_id
    except (TypeError, ValueError):
        return False


async def follow(given: Settings, run_id: str, cursor: Cursor | None) -> None:
    """Print a run until it ends: from its snapshot on, or the events after a cursor.

    Raises:
        RunlogUnavailable: Redis does not answer within 5 s.
    """
    metrics = RelayMetrics()
    runlog = AsyncRunLog.from_settings(given)
    hub = Hub(runlog, metrics, end_after_s=0.2)
    listener = Listener(runlog, hub, metrics)
    connection = queue = QueuedConnection(16 << 20)

    class Subscriber:
        connection: Connection = queue
        stays_after_end = False

        def run_ended(self) -> None:
            connection.close(CloseCode.NORMAL)

        def run_failed(self, error: Exception) -> None:
            connection.close(CloseCode.INTERNAL_ERROR, str(error))

    async def follow() -> None:
        async with asyncio.timeout(5):
            await hub.ready()
        hub.connect(connection)
        hub.join(run_id, Subscriber(), cursor)
        while (batch := await connection.next()) is not None:
            for frame in batch.frames:
                _show(orjson.loads(frame.body))
        if connection.closed is not None and connection.closed[0] is CloseCode.INTERNAL_ERROR:
            raise RunlogError(connection.closed[1])

    tasks = [asyncio.create_task(work) for work in (hub.run(), listener.run(), follow())]
    try:
        await tasks[-1]
    except TimeoutError:
        where, why = without_password(given.redis_url), listener.trouble
        raise RunlogUnavailable(f"no answer from {where} within 5 s: {why}") from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runlog.close()


def _show(frame: dict[str, Any]) -> None:
    kind = frame["type"]
    if kind == "upstream":
        err.print(f"redis is {frame['status']}", style="yellow")
    elif kind == "initial_state":
        for line in frame["logs"]:
            out.print(f"            {escape(clean(line))}", soft_wrap=True, style="dim")
        _show_line(frame, "")
    elif kind == "progress":
        _show_line(frame, frame["message"])
        if "error" in frame and "step" not in frame:
            out.print(escape(clean(frame["error"])), style="red", soft_wrap=True)


def _show_line(frame: dict[str, Any], message: str) -> None:
    progress = frame["progress"]
    percent = "   …" if progress is None else f"{progress:4.0%}"
    style = STYLES[frame["status"]]
    step = f" [{frame['step']}]" if "step" in frame else ""
    label = escape(f"{frame['state'] or frame['status']}{step}")
    out.print(f"{percent} [{style}]{label}[/] {escape(clean(message))}", soft_wrap=True)
