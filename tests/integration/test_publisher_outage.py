"""Redis goes away and comes back while a task publishes: every event is committed once, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from runrelay.progress import make_event
from runrelay.publisher import Publisher
from runrelay.runlog import Keys, Retention
from runrelay.settings import PublisherSettings
from tests.servers import Server

StartServer = Callable[..., Server]


@pytest.fixture
def settings(prefix: str) -> PublisherSettings:
    return PublisherSettings(keys=Keys(prefix, f"{prefix}:progress"), retention=Retention(log_lines=1_000_000))


def lines_of(server: Server, settings: PublisherSettings, run_id: str) -> list[str]:
    """The messages of the run's log, which lasts across servers, unlike the stream: another server, another epoch."""
    with server.client(decode_responses=True) as client:
        lines = client.lrange(settings.keys.run(run_id)[2], 0, -1)
    return [str(line).split("\t", 4)[4] for line in lines]


@pytest.fixture
def publisher_on() -> Iterator[Callable[[PublisherSettings], Publisher]]:
    made: list[Publisher] = []

    def make(settings: PublisherSettings) -> Publisher:
        made.append(Publisher(settings))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close(1.0)


def test_every_event_is_committed_once_and_in_order_across_restarts(
    start_valkey: StartServer, settings: PublisherSettings, publisher_on: Callable[[PublisherSettings], Publisher]
) -> None:
    """A line that is lost, doubled or out of order when Redis is stopped and started again under load."""
    server = start_valkey(appendonly="yes", appendfsync="always")
    publisher = publisher_on(replace(settings, redis_url=server.url))
    for i in range(3000):
        publisher.emit("run", make_event("RUN", i / 3000, f"line {i}"))
        if i in (500, 1500):
            server.stop()
        elif i in (1000, 2500):
            server.start()
    assert publisher.flush(30)
    assert lines_of(server, settings, "run") == [f"line {i}" for i in range(3000)]
    assert publisher.counts.committed == 3000
