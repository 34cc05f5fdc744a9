"""Django Channels with the pubsub layer of channels_redis: one group a run.

uvicorn benchmarks.servers.channels_app:app
python -m benchmarks.servers.channels_app REDIS_URL RUNS      publishes
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import django  # type: ignore[import-not-found]
import orjson
from django.conf import settings  # type: ignore[import-not-found]

from benchmarks.publishing import follow_orders, run_names

settings.configure(
    SECRET_KEY="nothing here is secret",  # noqa: S106
    ALLOWED_HOSTS=["*"],
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [os.environ.get("REDIS_URL") or sys.argv[1]]},
        }
    },
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # type: ignore[import-untyped] # noqa: E402
from channels.layers import get_channel_layer  # type: ignore[import-untyped] # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # type: ignore[import-untyped] # noqa: E402
from django.urls import path  # type: ignore[import-not-found] # noqa: E402


class ProgressConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One client of one run."""

    async def connect(self) -> None:
        """Join the run's group, accept, say the initial state."""
        self.run_id = self.scope["url_route"]["kwargs"]["run_id"]
        await self.channel_layer.group_add(self.run_id, self.channel_name)
        await self.accept()
        await self.send(text_data='{"type":"initial_state","state":null,"progress":0.0,"logs":[]}')

    async def disconnect(self, code: int) -> None:
        """Leave the group."""
        del code
        await self.channel_layer.group_discard(self.run_id, self.channel_name)

    async def progress(self, event: dict[str, Any]) -> None:
        """Pass a message of the group on."""
        await self.send(text_data=orjson.dumps(event["message"]).decode())


app = ProtocolTypeRouter({"websocket": URLRouter([path("ws/<str:run_id>", ProgressConsumer.as_asgi())])})


def main() -> None:
    """Publish as told on stdin."""
    loop = asyncio.new_event_loop()
    layer = get_channel_layer()

    def publish(run: str, progress: float, log: str) -> None:
        fields = {"type": "progress", "run_id": run, "state": "RENDERING", "progress": progress, "message": log}
        loop.run_until_complete(layer.group_send(run, {"type": "progress", "message": fields}))

    follow_orders(publish, run_names(int(sys.argv[2])))


if __name__ == "__main__":
    main()
