"""WebSockets as a hostile client speaks them: frames made once, sent as fast as they go, answers read or not."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from websockets.frames import Opcode

from tests.support.raw_http import UPGRADE, read_answer
from tests.support.servers import HOST

__all__ = ["connected", "frame", "memory_bytes", "pour", "subscribe"]


def frame(opcode: Opcode, payload: bytes = b"", *, final: bool = True) -> bytes:
    """A client's frame. Its mask is all zeros, which masks nothing: a hostile client has no time for more."""
    size = len(payload)
    head = bytes([(0x80 if final else 0) | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


@contextmanager
def connected(port: int, path: str = "/ws", *, receive_bytes: int | None = None) -> Iterator[socket.socket]:
    """A WebSocket after its handshake. `receive_bytes`: how much its kernel takes in while nobody reads."""
    with socket.socket() as connection:
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(20)
        connection.connect((HOST, port))
        connection.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\n" + UPGRADE + b"\r\n")
        answer = read_answer(connection, 20)
        assert answer.startswith(b"HTTP/1.1 101"), answer[:200]
        yield connection


def pour(connection: socket.socket, block: bytes, total_bytes: int, is_over: Callable[[], bool] = lambda: False) -> int:
    """Send a block again and again, reading nothing; returns how many bytes the other side let in."""
    sent = 0
    try:
        while sent < total_bytes and not is_over():
            connection.sendall(block)
            sent += len(block)
    except (OSError, TimeoutError):
        pass
    return sent


def memory_bytes(pid: int) -> int:
    """What of a process is in memory and is its own."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no RssAnon")


def subscribe(run_id: str) -> bytes:
    """The frame of a subscription."""
    return frame(Opcode.TEXT, orjson.dumps({"type": "subscribe", "run_id": run_id}))
