"""What anybody who reaches Redis may do to a relay: messages on its channels, and keys under its prefix.

Nothing here touches an honest run's own keys: who may do that has the data itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio
import redis.exceptions

__all__ = ["HostileRedis", "messages"]


def messages(run_id: str) -> list[bytes]:
    """Messages that no worker publishes, as if they were of this run."""
    deep = random.choice([90, 254, 300, 20_000])
    forged: dict[str, Any] = {
        "run_id": run_id, "state": "FORGED", "progress": 1.0, "log": "9 9", "status": "failed",
        "seq": random.choice([1, 2, random.randint(1, 500), 1 << 62, -1, 0]),
        "epoch": random.choice(["0", "forgedepoch0", "", "x" * 1000]),
        "ts": random.choice([1, -1, 1 << 60]), "attempt": 1,
    }  # fmt: skip
    text = json.dumps(forged).encode()
    nested = b"[" * deep + b"]" * deep
    evil = b'{"run_id":"evil-deep","state":"END","result":' + nested + b"}"
    return [
        text,
        text[:-1] + b',"seal":"' + os.urandom(8).hex().encode() + b'"}',
        text[: random.randrange(len(text))],
        bytes(random.choices(text, k=len(text))),
        os.urandom(random.randint(0, 500)),
        evil,
        b'{"run_id":"' + run_id.encode() + b'","seq":1,"epoch":"e","data":' + nested + b"}",
        b'{"run_id":"evil-raw","log":"' + b"x" * random.choice([10, 20_000, 2_000_000]) + b'"}',
        b'{"run_id":"evil-raw","state":"END","progress":' + random.choice([b"1e999", b"NaN", b"-1", b'"x"']) + b"}",
        b'{"run_id":"evil-raw-%d","state":"RUNNING","log":"raw"}' % random.randint(1, 5),
    ]


class HostileRedis:
    """The attacks over one connection, made anew when it breaks."""

    def __init__(self, url: str, prefix: str, run_id: Callable[[], str]) -> None:
        self._client: Any = redis.asyncio.Redis.from_url(url, socket_timeout=3)
        self._prefix = prefix
        self._run_id = run_id

    def attacks(self) -> list[tuple[Callable[[], Awaitable[None]], float]]:
        """Each, and the seconds between two."""
        return [(self.forge, 0.5), (self.talk_among_relays, 1.0), (self.spoil_keys, 1.0)]

    async def forge(self) -> None:
        """Made-up and malformed messages on the channel."""
        await self._do([("PUBLISH", f"{self._prefix}:progress", raw) for raw in messages(self._run_id())])

    async def talk_among_relays(self) -> None:
        """The same on the channel of the relays among themselves."""
        said = [b"{}", b"[]", b"{", b'{"deleted": 7}', b'{"deleted": "nobody"}', b'{"probe": null, "number": []}',
                b'{"marker": "x"}', b'{"deleted": ' + b"[" * 500 + b"]" * 500 + b"}", os.urandom(50)]  # fmt: skip
        await self._do([("PUBLISH", f"{self._prefix}:relays", raw) for raw in said])

    async def spoil_keys(self) -> None:
        """Keys of other types and numbers of other sizes, under the prefix."""
        prefix = self._prefix
        key = f"{prefix}:run:{{evil-{random.randint(1, 2)}}}"
        number = random.choice(["1" * 30, "-1", "nan", "inf", "x", "1e308", "9223372036854775808", ""])
        field = random.choice(["seq", "epoch", "status", "attempt", "progress", "updated_at", "heartbeat_at", "steps"])
        score = random.choice(["inf", "-inf", "1e300", "-1"])
        await self._do(random.choice([
            [("DEL", key), ("SET", key, "no run")],
            [("DEL", key), ("HSET", key, field, number)],
            [("DEL", key), ("HSET", key, "epoch", "k3x9m2p7q1za", "seq", "1", "status", "running", "attempt", "1"),
             ("HSET", key, field, number)],
            [("DEL", f"{key}:events"), ("XADD", f"{key}:events", "1-0", "e", os.urandom(20))],
            [("DEL", f"{prefix}:run:{{evil-list}}"), ("RPUSH", f"{prefix}:run:{{evil-list}}", "1")],
            [("ZADD", f"{prefix}:runs", score, random.choice(["boom", "evil-1", b"\xff", "a/b{}", "x" * 500]))],
            [("ZADD", f"{prefix}:alive", score, random.choice(["boom", "evil-1", b"\xff", ""]))],
            [("PUBLISH", f"{prefix}:progress", b'{"run_id":"evil-1","state":"RUNNING"}')],
        ]))  # fmt: skip

    async def _do(self, commands: list[tuple[Any, ...]]) -> None:
        try:
            for command in commands:
                await self._client.execute_command(*command)
        except (redis.exceptions.RedisError, OSError):
            await asyncio.sleep(0.5)  # Redis is away too
