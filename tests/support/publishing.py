"""What the outbox' fault tests share: publishers that are closed, and what a run's log has at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from runrelay.outbox import Publisher
from runrelay.progress import make_event
from runrelay.runlog import Retention
from runrelay.settings import PublisherSettings
from tests.support.servers import Server

BASE = PublisherSettings(retention=Retention(log_lines=1_000_000))


def settings_for(server: Server, **changes: Any) -> PublisherSettings:
    return replace(BASE, redis_url=server.url, **changes)


@contextmanager
def publishing(settings: PublisherSettings) -> Iterator[Publisher]:
    publisher = Publisher(settings)
    try:
        yield publisher
    finally:
        publisher.close(5.0)


def say(publisher: Publisher, run_id: str, first: int, last: int) -> None:
    """Publish `line <first>` to `line <last - 1>`."""
    for i in range(first, last):
        publisher.emit(run_id, make_event(log=f"line {i}"))


def lines(first: int, last: int) -> list[str]:
    return [f"line {i}" for i in range(first, last)]


def log_of(server: Server, run_id: str) -> list[str]:
    """The messages of the run's log. It lasts across servers, unlike the stream: another server, another epoch."""
    with server.client(decode_responses=True) as client:
        found: Any = client.lrange(BASE.keys.run(run_id)[2], 0, -1)
    return [line.split("\t", 4)[4] for line in found]


def know_that_it_is_away(publisher: Publisher) -> None:
    """Have the flusher find out: it tells whoever waits."""
    assert not publisher.flush(30.0, while_down=False)
    assert publisher.down
