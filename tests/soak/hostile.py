"""Hostile clients, a hostile publisher and hostile keys: a process of its own.

    python -m tests.soak.hostile REDIS_URL PREFIX PORT,PORT… RUN_IDS_FILE

Goes on until its standard input ends; then prints a JSON object of how often each attack was made. Clients come from
another address of this machine than the honest ones (127.0.0.66), as they would from elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

from tests.soak.hostile_redis import HostileRedis

__all__ = ["main"]

HOST, FROM = "127.0.0.1", "127.0.0.66"
CONNECT_S = 5.0
_MASK = b"\0\0\0\0"
_PATIENT_S = 15.0
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_ENDS = (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError)


def _frame(opcode: int, payload: bytes, fin: int = 0x80) -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes((fin | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((fin | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((fin | opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + _MASK + payload


class Hostile:
    """One attack after another, several kinds beside each other."""

    def __init__(self, ports: list[int], run_ids: Path) -> None:
        self.ports = ports
        self.made: Counter[str] = Counter()
        self.over = False
        self._run_ids = run_ids
        self._writers: list[asyncio.StreamWriter] = []

    def run_id(self) -> str:
        """An honest run that is watched now, or one of nobody's."""
        try:
            known = self._run_ids.read_text(encoding="utf-8").split()
        except OSError:
            known = []
        return random.choice([*known[-24:], "evil-1", "evil-2", "evil-list", f"nobody-{secrets.token_hex(4)}"])

    async def connect(self, *, window: int | None = None) -> Streams:
        """A connection to one of the relays; with a small window little fits on the way."""
        raw = socket.socket()
        raw.setblocking(False)
        if window is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        raw.bind((FROM, 0))
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().sock_connect(raw, (HOST, random.choice(self.ports)))
            reader, writer = await asyncio.open_connection(sock=raw, limit=1 << 20)
            self._writers = [one for one in self._writers if not one.transport.is_closing()] + [writer]
            return reader, writer
        except BaseException:
            raw.close()
            raise

    async def socket(
        self, path: str, *, window: int | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A WebSocket after its handshake."""
        reader, writer = await self.connect(window=window)
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\r\n".encode()
        )
        try:
            async with asyncio.timeout(CONNECT_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except BaseException:
            writer.transport.abort()
            raise
        if b" 101 " not in head:
            writer.transport.abort()
            raise ConnectionRefusedError(head[:40])
        return reader, writer

    def ws_path(self) -> str:
        """Of one run, or of many."""
        return random.choice(["/ws", f"/ws/{quote(self.run_id())}"])

    # The attacks

    async def garbage_frames(self) -> None:
        """Bytes that are no frames, and frames that are no messages."""
        _, writer = await self.socket(self.ws_path())
        for _ in range(50):
            kind = random.randrange(5)
            if kind == 0:
                writer.write(os.urandom(random.randint(1, 400)))
            elif kind == 1:
                writer.write(_frame(random.randrange(16), os.urandom(random.randint(0, 200)), random.choice([0, 0x80])))
            elif kind == 2:
                writer.write(_frame(1, json.dumps({"type": random.choice(["x", "ping", "subscribe", 7])}).encode()))
            elif kind == 3:
                writer.write(_frame(1, b"[" * random.randint(1, 8000)))
            else:
                writer.write(_frame(8, os.urandom(random.randint(0, 125))))
            await writer.drain()
            if writer.transport.is_closing():
                break
        writer.transport.abort()

    async def oversized_frames(self) -> None:
        """A frame, or fragments, beyond the bound."""
        _, writer = await self.socket(self.ws_path())
        if random.random() < 0.5:
            writer.write(_frame(1, b"x" * random.choice([20_000, 1_000_000])))
        else:
            for number in range(200):
                writer.write(_frame(1 if number == 0 else 0, b"x" * 4000, fin=0))
                await writer.drain()
        await writer.drain()
        writer.transport.abort()

    async def slow_reader(self) -> None:
        """Watches an honest run and reads nothing."""
        path = f"/ws/{quote(self.run_id())}" if random.random() < 0.5 else ""
        if path:
            _, writer = await self.socket(path, window=4096)
        else:
            _, writer = await self.connect(window=4096)
            writer.write(f"GET /api/runs/{quote(self.run_id())}/events HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        await asyncio.sleep(_PATIENT_S)  # reads nothing for so long
        writer.transport.abort()

    async def unread_pings(self) -> None:
        """Asks for answers and reads none."""
        _, writer = await self.socket(self.ws_path(), window=4096)
        ping = random.choice([_frame(9, b"p" * 125), _frame(1, b'{"type":"ping"}')]) * 200
        for _ in range(200):  # 5 MB
            if writer.transport.is_closing():
                break
            writer.write(ping)
            async with asyncio.timeout(_PATIENT_S):
                await writer.drain()
        writer.transport.abort()

    async def subscribe_flood(self) -> None:
        """Thousands of runs, and the same runs again and again; unread at times."""
        _, writer = await self.socket("/ws", window=4096 if random.random() < 0.5 else None)
        same = [self.run_id() for _ in range(3)]
        for number in range(3000):
            run_id = random.choice(same) if number % 2 else f"nobody-{secrets.token_hex(4)}"
            writer.write(_frame(1, json.dumps({"type": "subscribe", "run_id": run_id}).encode()))
            if number % 100 == 0:
                await asyncio.sleep(0.05)  # some two thousand a second
                if writer.transport.is_closing():
                    break
        async with asyncio.timeout(_PATIENT_S):
            await writer.drain()
        writer.transport.abort()

    async def slowloris(self) -> None:
        """A request, or a body, that takes its time."""
        _, writer = await self.connect()
        text = random.choice([
            f"GET {self.ws_path()} HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ",
            f"POST /api/runs HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9000\r\n\r\n",
        ])  # fmt: skip
        writer.write(text.encode())
        for _ in range(int(_PATIENT_S)):
            writer.write(b"x")
            await asyncio.sleep(1)  # a byte a second
            if writer.transport.is_closing():
                break
        writer.transport.abort()

    async def half_open(self) -> None:
        """A connection on which nothing ever comes, or a half handshake; left open."""
        _, writer = await self.connect()
        if random.random() < 0.5:
            writer.write(f"GET {self.ws_path()} HTTP/1.1\r\nUpgrade: websocket\r\n".encode())
        await asyncio.sleep(_PATIENT_S)  # says nothing for so long
        writer.transport.abort()

    async def wrong_requests(self) -> None:
        """Wrong ids, cursors, tokens, methods, bodies, sizes."""
        reader, writer = await self.connect()
        long = "x" * random.choice([300, 5_000, 70_000])
        method, path = random.choice([
            ("GET", f"/api/runs/{long}"), ("GET", "/api/runs/%2e%2e/events"), ("GET", "/api/runs/a%00b"),
            ("GET", f"/api/runs/{quote(self.run_id())}?after=0-99999999999999999999"), ("DELETE", "/api/runs/evil-1"),
            ("GET", f"/api/runs/{quote(self.run_id())}?after={long[:4000]}&wait=60"), ("POST", "/api/runs"),
            ("GET", f"/ws/{quote(self.run_id())}?token={long[:4000]}"), ("GET", "/api/runs?cursor=%ff&limit=200"),
            ("GET", "/api/runs/evil-1"), ("GET", "/api/runs/evil-list"), ("POST", "/api/runs/evil-1/retry"),
            ("PATCH", "/nothing"), ("GET", f"/api/runs/{quote(self.run_id())}/files/..%2f..%2fetc%2fpasswd"),
        ])  # fmt: skip
        body = os.urandom(random.choice([0, 100, 300_000])) if method == "POST" else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Authorization: Bearer " + os.urandom(20).hex().encode() + b"\r\n\r\n" + body)
        async with asyncio.timeout(CONNECT_S):
            await reader.read(1000)
        writer.transport.abort()

    async def not_http(self) -> None:
        """Bytes that are no request."""
        reader, writer = await self.connect()
        writer.write(random.choice([os.urandom(2000), b"GET " + b"/" * 70_000, b"\r\n" * 1000, b"\x16\x03\x01" * 50]))
        async with asyncio.timeout(CONNECT_S):
            await reader.read(1000)
        writer.transport.abort()

    async def connection_flood(self) -> None:
        """Hundreds of clients at once, gone as fast."""

        async def one() -> None:
            try:
                _, writer = await self.socket(self.ws_path())
                writer.transport.abort()
            except _ENDS:
                self.made["refused"] += 1

        await asyncio.gather(*(one() for _ in range(200)))

    async def go_on(self, attack: Callable[[], Awaitable[None]], pause_s: float) -> None:
        """Make an attack again and again."""
        while not self.over:  # a client of Redis may take a cancellation for an error of the connection's
            try:
                await attack()
            except _ENDS:
                self.made["cut off"] += 1
            self.made[getattr(attack, "__name__", "attack")] += 1
            await asyncio.sleep(random.uniform(0.5, 1.5) * pause_s)  # bounds the load

    async def leave(self) -> None:
        """Leave nothing behind, when the attacks are cancelled."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # which closes them

    def attacks(self) -> list[tuple[Callable[[], Awaitable[None]], float, int]]:
        """Each attack, the seconds between two, and how many go on beside each other."""
        return [
            (self.garbage_frames, 0.5, 3), (self.oversized_frames, 1, 2), (self.slow_reader, 1, 20),
            (self.unread_pings, 1, 4), (self.subscribe_flood, 2, 2), (self.slowloris, 1, 10), (self.half_open, 1, 20),
            (self.wrong_requests, 0.2, 3), (self.not_http, 0.5, 2), (self.connection_flood, 8, 1),
        ]  # fmt: skip


async def main() -> None:
    """Attack until standard input ends."""
    url, prefix, ports, run_ids = sys.argv[1:]
    hostile = Hostile([int(port) for port in ports.split(",")], Path(run_ids))
    store = HostileRedis(url, prefix, hostile.run_id)
    tasks = [
        asyncio.create_task(hostile.go_on(attack, pause_s), name=attack.__name__)
        for attack, pause_s, count in hostile.attacks()
        for _ in range(count)
    ]
    tasks += [asyncio.create_task(hostile.go_on(one, pause_s)) for one, pause_s in store.attacks()]
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait([ended, *tasks], return_when="FIRST_COMPLETED")
    hostile.over = True
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps(hostile.made), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
