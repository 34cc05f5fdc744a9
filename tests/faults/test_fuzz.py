"""Frames, requests and messages that are none, by the thousand: nobody but who sends them notices.

The short forms take some thousands; `--long` a million frames and as many messages as come to the same time.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from contextlib import suppress

import orjson
import pytest
import redis.asyncio

from tests.soak.hostile import Hostile
from tests.soak.hostile_redis import messages
from tests.support.servers import HOST, Server
from tests.support.stage import RUNS, OpenStage, Stage, resident_bytes

StartServer = Callable[..., Server]
_HANDSHAKE = (
    f"GET %s HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_SAID = [
    b'{"type":"ping"}', b'{"type":"subscribe","run_id":"run-1"}', b'{"type":"unsubscribe","run_id":"run-1"}',
    b'{"type":"subscribe","run_id":"run-1","after":"0-0"}', b'{"type":"subscribe","runs":true}', b"",
]  # fmt: skip


def _frame(chance: random.Random) -> bytes:
    """A client's frame, whole or with something wrong."""
    payload = bytearray(chance.choice(_SAID))
    for _ in range(chance.choice([0, 0, 1, 3])):
        if payload:
            payload[chance.randrange(len(payload))] = chance.randrange(256)
    if chance.random() < 0.1:
        payload = bytearray(chance.randbytes(chance.choice([1, 126, 300])))
    head = bytearray((0x80 | chance.choice([1, 1, 1, 2, 8, 9, 10]), 0x80 | min(len(payload), 126)))
    if len(payload) > 125:
        head += len(payload).to_bytes(2, "big")
    frame = head + bytes(4) + payload
    if chance.random() < 0.2:
        frame[chance.randrange(min(len(frame), 8))] ^= 1 << chance.randrange(8)
    return bytes(frame)


async def _send_frames(port: int, count: int, seed: int) -> int:
    """Send so many frames over as many connections as that takes. Returns how many connections."""
    chance, sent, connections = random.Random(seed), 0, 0
    while sent < count:
        connections += 1
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write((_HANDSHAKE % chance.choice(["/ws", "/ws/run-1"])).encode())
            async with asyncio.timeout(20):
                await reader.readuntil(b"\r\n\r\n")
            for _ in range(chance.randint(1, 30)):
                writer.write(b"".join(_frame(chance) for _ in range(10)))
                sent += 10
                await writer.drain()
                if reader.at_eof() or writer.transport.is_closing():
                    break
                with suppress(TimeoutError):
                    async with asyncio.timeout(0):
                        await reader.read(1 << 16)
        except (OSError, EOFError, TimeoutError):
            pass  # the relay has had enough of it
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)  # which closes it
    return connections


async def _fuzz_frames(stage: Stage, count: int, broken: str = "") -> None:
    relay = await stage.relay(broken=broken)
    publisher = await stage.publisher(RUNS)
    await stage.begin(publisher, 50)
    viewers = stage.watch(RUNS)
    await stage.begun()
    before = resident_bytes(relay.pid)
    async with asyncio.TaskGroup() as tasks:
        for seed in range(4):
            tasks.create_task(_send_frames(relay.port, count // 4, seed))
    await stage.flowing()
    assert sum(viewer.downs + viewer.unrecovered for viewer in viewers) == 0
    assert resident_bytes(relay.pid) - before < 100 << 20
    await stage.finish()
    assert "ERROR" not in relay.log


async def test_malformed_frames(start_valkey: StartServer, open_stage: OpenStage, long: bool) -> None:
    """A frame after which a relay is another: dead, deaf, full, or with an error in its log."""
    async with open_stage(start_valkey()) as stage:
        await _fuzz_frames(stage, 1_000_000 if long else 8_000)


async def test_malformed_frames_that_nobody_expects(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """The control: where frames are read, an error that is not caught."""
    async with open_stage(start_valkey()) as stage:
        with pytest.raises(AssertionError, match="RuntimeError: nobody expects this"):
            await _fuzz_frames(stage, 2_000, "fragile_frames")


def _is_said_by_hand(raw: bytes) -> bool:
    """Whether it is a message as anyone may publish by hand: then it is adopted, and shown."""
    try:
        message = orjson.loads(raw)
    except ValueError:
        return False
    return isinstance(message, dict) and message.get("run_id") in RUNS and "seq" not in message


async def _fuzz_messages(stage: Stage, rounds: int, broken: str = "") -> None:
    """Forged, cut, shuffled, nested and huge messages on both channels, of runs that are watched and of others."""
    relay = await stage.relay(broken=broken)
    publisher = await stage.publisher(RUNS)
    await stage.begin(publisher, 50)
    viewers = stage.watch(RUNS)
    await stage.begun()
    async with redis.asyncio.Redis.from_url(stage.server.url) as client:
        for _ in range(rounds):
            pipeline = client.pipeline(transaction=False)
            for raw in messages(random.choice([*RUNS, "another"])):
                channel = stage.keys.channel if random.random() < 0.9 else stage.keys.control
                pipeline.publish(channel, raw)
                mutated = bytearray(raw[:2000])
                if mutated:
                    mutated[random.randrange(len(mutated))] ^= 1 << random.randrange(8)
                if not _is_said_by_hand(bytes(mutated)):
                    pipeline.publish(channel, bytes(mutated))
            pipeline.publish(stage.keys.control, orjson.dumps({"deleted": random.choice(["x", 7, None, "a/b"])}))
            pipeline.publish(stage.keys.control, os.urandom(20))
            await pipeline.execute()
    await stage.flowing()
    assert sum(viewer.unrecovered for viewer in viewers) == 0
    stats = (await stage.http.get(f"{relay.url}/api/stats")).json()
    assert stats["malformed"] > rounds
    assert stats["forged"] > rounds
    await stage.finish()


async def test_malformed_messages(start_valkey: StartServer, open_stage: OpenStage, long: bool) -> None:
    """A message after which viewers are shown what no worker has said, or nothing any more."""
    async with open_stage(start_valkey()) as stage:
        await _fuzz_messages(stage, 5_000 if long else 40)


async def test_malformed_messages_that_nobody_expects(start_valkey: StartServer, open_stage: OpenStage) -> None:
    """The control: where messages are read, an error that is not caught."""
    async with open_stage(start_valkey(), patience_s=10.0) as stage:
        with pytest.raises(AssertionError):
            await _fuzz_messages(stage, 40, "fragile_messages")


# Floods


@pytest.mark.long
@pytest.mark.parametrize("flood", ["connection_flood", "subscribe_flood", "unread_pings", "half_open", "slow_reader"])
async def test_floods(start_valkey: StartServer, open_stage: OpenStage, tmp_path: object, flood: str) -> None:
    """Hundreds of hostile clients at once: honest ones that are cut off, told that Redis is away, or late for good.

    The focused tests, with their controls, are those of limits, joins and costs; this is all that they miss.
    """
    async with open_stage(start_valkey()) as stage:
        relay = await stage.relay(max_connections_per_address=400)
        publisher = await stage.publisher(RUNS)
        await stage.begin(publisher, 50)
        viewers = stage.watch(RUNS, each=5)
        await stage.begun()
        hostile = Hostile([relay.port], stage.folder / "run-ids")
        (stage.folder / "run-ids").write_text("\n".join(RUNS), encoding="utf-8")
        # this process makes the flood and reads for the honest ones, too
        attack, at_once = getattr(hostile, flood), 2 if "flood" in flood else 20
        made = [asyncio.create_task(hostile.go_on(attack, 0.5)) for _ in range(at_once)]
        for _ in range(20):
            await stage.flowing(20)
        hostile.over = True
        for task in made:
            task.cancel()
        await asyncio.gather(*made, return_exceptions=True)
        await hostile.leave()
        assert hostile.made[flood] > 4
        assert sum(viewer.downs + viewer.unrecovered for viewer in viewers) == 0
        await stage.finish()
