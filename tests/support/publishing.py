"""Publishers that are closed at the end of a test, lines to publish, and the lines that a run's log has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from runrelay.outbox import Publisher
from runrelay.progress import make_event
from runrelay.runlog import Keys, Retention
from runrelay.settings import PublisherSettings
from tests.support.servers import Server

BASE = PublisherSettings(retention=Retention(log_lines=1_000_000, log_bytes=1 << 30))


def settings_for(server: Server, **changes: Any) -> PublisherSettings:
    return replace(BASE, redis_url=server.url, **changes)


@contextmanager
def publishing(settings: PublisherSettings) -> Iterator[Publisher]:
    publisher = Publisher(settings)
    try:
        yield publisher
    finally:
        publisher.close(5.0)


def publish_lines(publisher: Publisher, run_id: str, first: int, last: int) -> None:
    """Publish `line <first>` to `line <last - 1>`."""
    for i in range(first, last):
        publisher.emit(run_id, make_event(log=f"line {i}"))


def lines(first: int, last: int) -> list[str]:
    return [f"line {i}" for i in range(first, last)]


def log_of(server: Server, run_id: str, keys: Keys = BASE.keys) -> list[str]:
    """The messages of the run's log list. Unlike the stream it lasts when another server begins a new epoch."""
    with server.client(decode_responses=True) as client:
        found: Any = client.lrange(keys.run(run_id)[2], 0, -1)
    return [line.split("\t", 4)[4] for line in found]


def spool_everything(publisher: Publisher) -> None:
    """Move all waiting events to the spool. While the flusher does the same, `put` returns True without doing it."""
    deadline = time.monotonic() + 30.0
    while publisher.spool.put():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def wait_until_down(publisher: Publisher) -> None:
    """Wait until the flusher knows that Redis is away."""
    assert not publisher.flush(30.0, while_down=False)
    assert publisher.down
