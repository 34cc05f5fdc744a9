"""HTTP as a hostile or a clumsy client speaks it: bytes on a socket."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.support.servers import HOST

__all__ = ["UPGRADE", "answer_to", "read_answer", "silent_sockets", "status_of", "trickle"]

UPGRADE = (
    b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
"""The headers of a WebSocket's handshake."""


def read_answer(connection: socket.socket, within_s: float = 5.0) -> bytes:
    """What the relay answers: until it closes, or until a WebSocket is accepted. AssertionError if neither happens."""
    connection.settimeout(within_s)
    answer = b""
    try:
        while not (answer.startswith(b"HTTP/1.1 101") and b"\r\n\r\n" in answer) and (got := connection.recv(65536)):
            answer += got
    except TimeoutError:
        raise AssertionError(f"neither answered nor closed within {within_s} s: {answer!r}") from None
    return answer


def answer_to(port: int, *sent: bytes, within_s: float = 5.0) -> bytes:
    """Send, and read the answer; ask for `Connection: close`, or be refused."""
    with socket.create_connection((HOST, port)) as connection:
        connection.sendall(b"".join(sent))
        return read_answer(connection, within_s)


def status_of(answer: bytes) -> int:
    """The status of an answer."""
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer.split()[1])


def trickle(port: int, begin: bytes, endless: bytes, within_s: float) -> bytes:
    """Send a byte every tenth of a second, as one who holds a connection for as long as possible; returns the answer.

    AssertionError if the relay still listens after `within_s` seconds.
    """
    with socket.create_connection((HOST, port)) as connection:
        connection.sendall(begin)
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if select.select([connection], [], [], 0.1)[0]:
                return read_answer(connection)
            connection.sendall(endless)
    raise AssertionError(f"the relay still listens after {within_s} s")


@contextmanager
def silent_sockets(port: int, count: int, says: Iterable[bytes] = (b"",)) -> Iterator[list[socket.socket]]:
    """Connections of which each says one of these in turn, and then nothing."""
    opened: list[socket.socket] = []
    words = list(says)
    try:
        for number in range(count):
            connection = socket.create_connection((HOST, port), 10)
            opened.append(connection)
            connection.sendall(words[number % len(words)])
        yield opened
    finally:
        for connection in opened:
            connection.close()
