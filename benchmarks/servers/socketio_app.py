"""python-socketio with its Redis manager: one room a run; publishers write through the manager alone.

uvicorn benchmarks.servers.socketio_app:app
python -m benchmarks.servers.socketio_app REDIS_URL RUNS      publishes
"""

from __future__ import annotations

import os
import sys
from typing import Any
from urllib.parse import parse_qs

import socketio  # type: ignore[import-not-found]

from benchmarks.publishing import follow_orders, run_names

server = socketio.AsyncServer(
    async_mode="asgi",
    client_manager=socketio.AsyncRedisManager(os.environ.get("REDIS_URL", "")),
    ping_interval=600,  # not while it is measured
)
app = socketio.ASGIApp(server)


@server.event  # type: ignore[untyped-decorator]
async def connect(sid: str, environ: dict[str, Any]) -> None:
    """A client names its run in the query."""
    await server.enter_room(sid, parse_qs(environ["QUERY_STRING"])["run_id"][0])


def main() -> None:
    """Publish as told on stdin."""
    url, count = sys.argv[1:]
    manager = socketio.RedisManager(url, write_only=True)

    def publish(run: str, progress: float, log: str) -> None:
        fields = {"type": "progress", "run_id": run, "state": "RENDERING", "progress": progress, "message": log}
        manager.emit("progress", fields, room=run)

    follow_orders(publish, run_names(int(count)))


if __name__ == "__main__":
    main()
