"""Ports of this machine: whether one is free, and commands to the Redis or Valkey behind one."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time

__all__ = ["HOST", "POLL_S", "ask", "port_is_free", "wait_until_ready"]

HOST = "127.0.0.1"
POLL_S = 0.01


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen on a port now. A port in TIME_WAIT is free, as it is for Valkey.

    Port 0 checks the host alone: it is free if `host` is an address of this machine.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            # with SO_REUSEADDR two sockets may be bound to one port, but only one of them can listen
            probe.listen(1)
        except OSError:
            return False
    return True


def ask(host: str, port: int, *words: bytes) -> bytes:
    """Send one command to a Redis or Valkey. Returns the reply's first 4 KiB, or nothing if no server answers in 1
    s."""
    request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1) as connection:
        connection.sendall(request)
        return connection.recv(4096)
    return b""


def wait_until_ready(process: subprocess.Popen[bytes], host: str, port: int, *, timeout_s: float) -> None:
    """Wait until a server that was just started answers PING. It does not while it loads its data.

    Raises:
        ChildProcessError: the process has ended.
        TimeoutError: after `timeout_s` seconds.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        if process.poll() is not None:
            raise ChildProcessError(f"the server on port {port} ended at once (exit {process.returncode})")
        if ask(host, port, b"PING").startswith(b"+PONG"):
            return
        if time.monotonic() >= deadline_s:
            raise TimeoutError(f"the server on port {port} did not answer within {timeout_s:g} s")
        time.sleep(POLL_S)
