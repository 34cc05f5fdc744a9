"""Publishers in our own environment: `python -m benchmarks.publisher runrelay|redis|nchan WHERE RUNS`."""

from __future__ import annotations

import os
import socket
import sys
from urllib.parse import quote

import orjson
import redis

from .publishing import Publish, follow_orders, run_names

__all__ = ["main"]


def _through_redis(url: str) -> Publish:
    """As the worker of REQUIREMENTS S1 does: one blocking PUBLISH."""
    client = redis.Redis.from_url(url)

    def publish(run: str, progress: float, log: str) -> None:
        fields = {"run_id": run, "state": "RENDERING", "progress": progress, "log": log}
        client.publish("autoshorts:progress", orjson.dumps(fields))

    return publish


def _through_http(url: str) -> Publish:
    """One POST to Nchan over a kept connection, the answer awaited."""
    host, port = url.split(":")
    link = socket.create_connection((host, int(port)))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def publish(run: str, progress: float, log: str) -> None:
        fields = {"type": "progress", "run_id": run, "state": "RENDERING", "progress": progress, "message": log}
        body = orjson.dumps(fields)
        head = f"POST /pub/{quote(run)} HTTP/1.1\r\nHost: {url}\r\nContent-Length: {len(body)}\r\n\r\n"
        link.sendall(head.encode() + body)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += link.recv(65536)
        head_end = answer.index(b"\r\n\r\n") + 4
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        while len(answer) < head_end + length:
            answer += link.recv(65536)
        if not answer.startswith(b"HTTP/1.1 20"):
            raise RuntimeError(f"nchan refused a message: {answer[:200]!r}")

    return publish


def main() -> None:
    """Publish as told on stdin."""
    kind, where, count = sys.argv[1:]
    runs = run_names(int(count))
    if kind == "runrelay":
        os.environ["REDIS_URL"] = where
        from runrelay import flush, publish_progress

        def publish(run: str, progress: float, log: str) -> None:
            publish_progress(run, "RENDERING", progress, log)

        def flushed() -> None:
            if not flush(60.0):
                raise RuntimeError("not everything was committed within 60 s")

        follow_orders(publish, runs, flushed)
    elif kind == "redis":
        follow_orders(_through_redis(where), runs)
    elif kind == "nchan":
        follow_orders(_through_http(where), runs)
    else:
        raise SystemExit(f"unknown publisher {kind!r}")


if __name__ == "__main__":
    main()
