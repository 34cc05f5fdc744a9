"""A broker that accepts connections and answers late, or never."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from tests.support.servers import HOST

__all__ = ["LateBroker"]


class LateBroker:
    """Accepts at once, and passes nothing on before `release()`: then all, to the server behind it, if there is one."""

    def __init__(self, target_port: int | None = None) -> None:
        self._target_port = target_port
        self._listener = socket.create_server((HOST, 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.accepted = threading.Semaphore(0)
        """Released once for each connection."""
        self._open = threading.Event()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, name="late broker", daemon=True).start()

    def release(self) -> None:
        """Answer from now on."""
        self._open.set()

    def close(self) -> None:
        """Break everything."""
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            self.accepted.release()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.wait()
        if self._target_port is None:
            return
        with suppress(OSError):
            server = socket.create_connection((HOST, self._target_port))
            self._sockets.append(server)
            threading.Thread(target=_pass_on, args=(server, client), daemon=True).start()
            _pass_on(client, server)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
