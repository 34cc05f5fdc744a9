"""How long a server's loop is busy with one thing: another client's request waits for so long."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType

__all__ = ["Prober"]


class Prober:
    """Asks for /healthz over one connection, again and again, in a thread; keeps the longest wait.

    It runs on the generator's core, so what it finds is an upper bound.
    """

    def __init__(self, port: int) -> None:
        self.longest_s = 0.0
        self._link = socket.create_connection(("127.0.0.1", port), 10)
        self._request = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="prober", daemon=True)

    def __enter__(self) -> Prober:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(10)
        self._link.close()

    def _ask(self) -> None:
        while not self._over.wait(0.005):
            asked_s = time.monotonic()
            self._link.sendall(self._request)
            if not self._link.recv(65536):
                self.longest_s = float("inf")
                return
            self.longest_s = max(self.longest_s, time.monotonic() - asked_s)
