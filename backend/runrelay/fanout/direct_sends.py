"""Direct sends: a batch goes to many connections by their sockets' own `send`, past the transport.

Why: nearly all of what it costs to send 200 bytes to a client is the kernel's. The transport adds an eighth: its
`write` touches objects of its own for each connection, and with thousands of connections these are in no CPU cache.

How: while nothing waits for a client, its `send_now` is the `send` of its socket. As soon as the kernel does not take
everything, the transport gets the rest, `send_now` is None, and all that follows goes behind the rest.

The plain way is `broadcast_plain`, beside it. Both give a client the same bytes in the same order. `ENABLED = False`
turns the direct way off.

GIL contention
--------------
`socket.send` releases the GIL. A busy thread of this process then keeps it for up to 5 ms (the switch interval), a
thousand times per broadcast: 5 s instead of 17 ms. The transport's `write` (uvloop's) keeps the GIL. So when direct
sends were slow because of a busy thread, the plain way is taken for a minute. Measured: docs/decisions/0015.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from itertools import islice
from sys import getswitchinterval
from time import monotonic, process_time, thread_time
from typing import Final, Protocol

from .connections import Connection
from .frames import Batch

__all__ = ["DirectSocket", "GilContention", "broadcast", "broadcast_plain", "gil_contention"]

ENABLED = True
"""Whether `broadcast` sends directly. Read there and nowhere else."""
_CHUNK: Final = 20
"""Connections whose attributes are read together."""
_BUSY_SHARE: Final = 0.3
"""Threads that compute for less than this share of the time do no harm."""
_REMEMBERED_S: Final = 60.0

OnError = Callable[[Connection, Exception], None]
"""Is told of a connection whose `send` has raised."""


class _DirectlySendable(Connection, Protocol):
    send_now: Callable[[bytes], int] | None

    def send_rest(self, batch: Batch, taken: int) -> bool: ...


class DirectSocket:
    """Base of a connection with direct sends.

    `send_now` takes whole WebSocket frames and returns how many bytes of them the kernel has taken; it raises OSError
    if that is none. It is None when frames must go through the transport: bytes wait there, the connection is closing,
    it is behind TLS, or there is no socket.

    The descriptor belongs to the transport, which closes it after `connection_lost`. So the socket object made here
    never closes it; `detach` lets go of it in time.
    """

    __slots__ = ("_socket", "send_now")

    def __init__(self) -> None:
        self.send_now: Callable[[bytes], int] | None = None
        self._socket: socket.socket | None = None

    def attach(self, transport: asyncio.Transport) -> None:
        """Begin direct sends, unless the transport is encrypted (the socket carries what is encrypted)."""
        raw = transport.get_extra_info("socket")
        if raw is None or transport.get_extra_info("sslcontext") is not None:
            return
        self._socket = socket.socket(raw.family, raw.type, raw.proto, raw.fileno())
        self._socket.setblocking(False)  # `socket.setdefaulttimeout` of the application must not block the loop
        if not transport.get_write_buffer_size():
            self.send_now = self._socket.send

    def resume(self) -> None:
        """Nothing waits in the transport any more."""
        if self._socket is not None:
            self.send_now = self._socket.send

    def detach(self) -> None:
        """End direct sends and let go of the descriptor."""
        self.send_now = None
        if self._socket is not None:
            self._socket.detach()
            self._socket = None


def broadcast(batch: Batch, connections: Iterable[Connection], on_error: OnError) -> set[Connection]:
    """Send a batch to each connection; returns those that are closed, or were just cut off.

    Hot loop (thousands of connections). `send_now` is read for 20 connections at a time: after each send the CPU cache
    is cold, and reads that follow each other wait for the memory together.

    No other code of the loop runs between the read of a `send_now` and its use. But one connection may be in the 20
    twice (its client has just subscribed again). So after a send that left a rest, none of the values that were read is
    used any more: the second send would overtake the rest.
    """
    if not ENABLED:
        return broadcast_plain(batch, connections, on_error)
    wire, size, each = batch.wire, len(batch.wire), iter(connections)
    cut_off: set[Connection] = set()
    while chunk := [*islice(each, _CHUNK)]:
        began_s = monotonic()
        direct = began_s > gil_contention.seen_until_s
        try:  # usually all have one, and `getattr` takes three times as long
            sends = [connection.send_now for connection in chunk]  # type: ignore[attr-defined]
        except AttributeError:
            sends = [getattr(connection, "send_now", None) for connection in chunk]
        for connection, send_now in zip(chunk, sends, strict=True):
            taken = 0
            if direct and send_now is not None:
                try:
                    taken = send_now(wire)
                except OSError:  # the kernel's buffer is full, or the connection is lost: the transport knows
                    direct = False
                else:
                    if taken == size:
                        continue
                    direct = False
            if not _send(connection, batch, taken, on_error):
                cut_off.add(connection)
        if direct and monotonic() - began_s > getswitchinterval():
            gil_contention.sample()
    return cut_off


def broadcast_plain(batch: Batch, connections: Iterable[Connection], on_error: OnError) -> set[Connection]:
    """As `broadcast`, by each connection's `send` alone."""
    return {connection for connection in connections if not _send(connection, batch, 0, on_error)}


def _send(connection: Connection, batch: Batch, taken: int, on_error: OnError) -> bool:
    """Send through the connection what the kernel has not taken. An exception ends this connection only."""
    try:
        if taken:
            direct: _DirectlySendable = connection  # type: ignore[assignment]  # it had a `send_now`
            return direct.send_rest(batch, taken)
        return connection.send(batch)
    except Exception as error:
        on_error(connection, error)
        return False


class GilContention:
    """Whether threads of this process compete for the GIL.

    Slow sends alone do not tell: another process may have had the CPU. So `sample`, called after slow sends, compares
    the CPU time of the other threads since its last call with the time that has passed.
    """

    def __init__(self) -> None:
        self.seen_until_s = 0.0
        """Until this time (monotonic) there is taken to be contention."""
        self._sampled_at_s = 0.0
        self._others_s = 0.0

    def sample(self) -> None:
        """Sends were slow: have other threads computed for 30 % of the time since the last call?"""
        now_s, others_s = monotonic(), process_time() - thread_time()
        if others_s - self._others_s > _BUSY_SHARE * (now_s - self._sampled_at_s):
            self.seen_until_s = now_s + _REMEMBERED_S
        self._sampled_at_s, self._others_s = now_s, others_s


gil_contention: Final = GilContention()
"""One for the process, as there is one GIL."""
