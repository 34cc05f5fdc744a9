"""What is given up, and what is not: events wait for whatever may pass, and `flush` says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from runrelay.outbox import Publisher
from runrelay.progress import Event, make_event
from runrelay.runlog import RunLog
from runrelay.runlog.troubles import warn_unannounced
from tests.support.publishing import BASE, lines, log_of, publish_lines, publishing, settings_for, wait_until_down
from tests.support.relay import StartRelay
from tests.support.runlog import eventually
from tests.support.servers import HOST, Server

StartServer = Callable[..., Server]


@pytest.mark.parametrize(
    "options",
    [
        "decode_responses=true",
        "protocol=3",
        "encoding=utf-16",
        "socket_timeout=0.0000001",
        "timeout=5&max_connections=1&family=0&retry_on_error=x&health_check_interval=1",
    ],
)
def test_an_option_for_somebody_else_does_not_lose_events(start_valkey: StartServer, options: str) -> None:
    """A URL that other libraries read, too, with which every event is given up while `flush` returns True."""
    server = start_valkey()
    with publishing(settings_for(server)) as publisher:
        publish_lines(publisher, "run", 0, 1)
        assert publisher.flush(10)
    for url in (f"{server.url}?{options}", f"{server.url.replace('redis://', 'valkey://')}?{options}"):
        with publishing(replace(BASE, redis_url=url)) as publisher:
            publish_lines(publisher, "run", 0, 1)
            assert publisher.flush(10)
            assert (publisher.counts.committed, publisher.counts.rejected) == (1, 0)
    assert log_of(server, "run") == ["line 0"] * 3


def test_an_error_of_connecting_of_any_class_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """Events that are given up because the error is Python's own: here a name that the codec of host names refuses."""
    url = f"redis://{'a' * 70}.example/0"
    with caplog.at_level(logging.WARNING), publishing(replace(BASE, redis_url=url)) as publisher:
        publish_lines(publisher, "run", 0, 3)
        wait_until_down(publisher)
        assert not publisher.flush(0.1)
        assert (publisher.counts.rejected, publisher.counts.committed) == (0, 0)
        held = publisher.statistics()
        assert held.ingress + held.waiting + held.in_flight == 3
    away = [record.getMessage() for record in caplog.records if "until it is back" in record.getMessage()]
    assert len(away) == 1
    assert "label" in away[0], "the reason is said"


def test_a_mistake_in_a_commit_is_tried_again(
    start_valkey: StartServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Events that are given up for an error in this program, or in a library of another version."""
    server = start_valkey()
    failures = iter([AttributeError("no such method")])
    call_script = RunLog._call_script

    def failing(self: RunLog, *args: Any) -> Any:
        for error in failures:
            raise error
        return call_script(self, *args)

    monkeypatch.setattr(RunLog, "_call_script", failing)
    with publishing(settings_for(server)) as publisher, caplog.at_level(logging.ERROR):
        publish_lines(publisher, "run", 0, 5)
        assert publisher.flush(10)
        assert publisher.counts.rejected == 0
    assert log_of(server, "run") == lines(0, 5)
    assert "no such method" in caplog.text


def test_a_node_of_a_cluster_is_waited_for_and_named(
    start_valkey: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Events of runs that another node of a cluster has (MOVED), which are given up without a word."""
    nodes = [start_valkey(cluster_enabled="yes", cluster_require_full_coverage="no") for _ in range(2)]
    with nodes[0].client() as first, nodes[1].client() as second:
        clients: list[Any] = [first, second]
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", number * 8192, number * 8192 + 8191)
        clients[0].execute_command("CLUSTER", "MEET", HOST, nodes[1].port)
        far = next(
            f"run-{i}" for i in range(100) if clients[0].execute_command("CLUSTER", "KEYSLOT", f"run-{i}") >= 8192
        )

        def knows() -> bool:
            return b"cluster_slots_assigned:16384" in _raw(clients[0].execute_command("CLUSTER", "INFO"))

        eventually(knows, "the nodes know each other")
        with publishing(settings_for(nodes[0])) as publisher, caplog.at_level(logging.WARNING):
            publish_lines(publisher, far, 0, 3)
            wait_until_down(publisher)
            assert publisher.counts.rejected == 0
    assert "is a node of a cluster, which is not supported" in caplog.text


def _raw(answer: Any) -> bytes:
    return answer if isinstance(answer, bytes) else repr(answer).encode()


def test_events_that_may_not_be_announced_are_committed_and_said(
    start_redis_server: StartServer, start_valkey: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A user without the right to the channel: each batch fails once it is written, and nobody is told."""
    for server in (start_valkey(), start_redis_server()):
        caplog.clear()
        warn_unannounced.cache_clear()
        with server.client() as client:
            client.execute_command(  # type: ignore[no-untyped-call]
                "ACL", "SETUSER", "worker", "on", ">word", "~*", "resetchannels", "&nobodys", "+@all"
            )
        url = f"redis://worker:word@{HOST}:{server.port}/0"
        with publishing(replace(BASE, redis_url=url)) as publisher, caplog.at_level(logging.WARNING):
            for i in range(3):
                publish_lines(publisher, "run", i, i + 1)
                assert publisher.flush(10)
            assert (publisher.counts.committed, publisher.counts.rejected) == (3, 0)
        assert log_of(server, "run") == lines(0, 3)
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 1
        assert "no right to the channel autoshorts:progress" in said[0]


def _poison(publisher: Publisher) -> None:
    publisher.emit("bad", make_event(log="before"))
    publisher.emit("bad", Event(0, log="\ud800"))  # without the checks that would have replaced it
    publisher.emit("bad", Event(0, log="?", step="\udce9"))  # refused later, when the command is packed
    publisher.emit("bad", make_event(log="after"))


def test_a_poisoned_event_is_given_up_alone(start_valkey: StartServer, caplog: pytest.LogCaptureFixture) -> None:
    """Good events that are given up with the one in their batch that cannot be sent, while `flush` returns True."""
    server = start_valkey()
    note = "… 1 event that cannot be sent is given up"
    with publishing(settings_for(server)) as publisher, caplog.at_level(logging.ERROR):
        publisher.flusher.stop(10)
        _poison(publisher)
        assert not publisher.flush(10), "not all is committed"
        assert publisher.flush(10), "and that was said"
        publish_lines(publisher, "bad", 0, 3)
        publish_lines(publisher, "good", 0, 1)
        assert publisher.flush(10)
        assert publisher.counts.rejected == 2
    assert log_of(server, "bad") == ["before", note, note, "after", *lines(0, 3)]
    assert log_of(server, "good") == ["line 0"]
    said = [record.getMessage() for record in caplog.records if "given up" in record.getMessage()]
    assert len(said) == 1
    assert "cannot be encoded" in said[0]


def test_a_run_whose_key_is_somebody_else_s_is_given_up_and_said(start_valkey: StartServer) -> None:
    """`flush` returns True although a run's key is a list, and its events went nowhere."""
    server = start_valkey()
    with server.client() as client:
        client.rpush(BASE.keys.run("taken")[0], "a list")
    with publishing(settings_for(server)) as publisher:
        publish_lines(publisher, "taken", 0, 2)
        publish_lines(publisher, "good", 0, 2)
        assert not publisher.flush(10)
        assert publisher.counts.rejected == 2
    assert log_of(server, "good") == lines(0, 2)


async def test_what_publishers_have_given_up_is_in_a_relay_s_statistics(
    start_relay: StartRelay, start_valkey: StartServer
) -> None:
    """A loss that only a worker's own counters know, where nobody looks."""
    server = start_valkey()
    relay = await start_relay(redis_url=f"{server.url}?decode_responses=1&protocol=3", prefix=BASE.keys.prefix)
    assert (await relay.http.get("/api/stats")).json()["given_up"] is None
    with publishing(settings_for(server)) as publisher:
        _poison(publisher)
        assert not publisher.flush(10)
        publish_lines(publisher, "bad", 0, 1)
        assert publisher.flush(10)
    found = (await relay.http.get("/api/stats")).json()["given_up"]
    assert (found["events"], found["run_id"]) == (2, "bad")
    assert "cannot be encoded" in found["why"]
