"""The plain loop, written from the requirements (S1): one listener, runs in memory, `send_json` to each client.

uvicorn benchmarks.servers.plain_loop:app
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import redis.asyncio as redis
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

runs: dict[str, dict[str, Any]] = {}
connections: dict[str, set[WebSocket]] = defaultdict(set)


async def broadcast(run_id: str, message: dict[str, Any]) -> None:
    """Send to every client of a run; a failed send drops that connection only."""
    gone = []
    for websocket in [*connections[run_id]]:
        try:
            await websocket.send_json(message)
        except (RuntimeError, WebSocketDisconnect):
            gone.append(websocket)
    connections[run_id].difference_update(gone)


async def listen() -> None:
    """The listener task."""
    async with redis.from_url(os.environ["REDIS_URL"]) as client, client.pubsub() as pubsub:
        await pubsub.subscribe("autoshorts:progress")
        async for item in pubsub.listen():
            if item["type"] != "message":
                continue
            data = orjson.loads(item["data"])
            run = runs.setdefault(data["run_id"], {"state": None, "progress": 0.0, "logs": []})
            for field in ("state", "progress"):
                if field in data:
                    run[field] = data[field]
            if "log" in data:
                run["logs"].append(data["log"])
            await broadcast(
                data["run_id"],
                {
                    "type": "progress",
                    "run_id": data["run_id"],
                    "state": data.get("state"),
                    "progress": data.get("progress"),
                    "message": data.get("log", ""),
                },
            )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The listener runs with the application."""
    del app
    task = asyncio.create_task(listen())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


@app.websocket("/ws/{run_id}")
async def watch(websocket: WebSocket, run_id: str) -> None:
    """The initial state, then what the listener brings; a ping is answered."""
    await websocket.accept()
    run = runs.get(run_id, {"state": None, "progress": 0.0, "logs": []})
    await websocket.send_json({"type": "initial_state", **run})
    connections[run_id].add(websocket)
    try:
        while True:
            message = await websocket.receive_json()
            if message.get("type") == "ping":
                await websocket.send_json({"type": "pong"})
    except WebSocketDisconnect:
        connections[run_id].discard(websocket)
