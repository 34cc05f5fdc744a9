"""/readyz: not ready when clients cannot be shown runs, and why, in words without secrets."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis

from runrelay.runlog import Keys
from tests.support.clients import eventually, watch
from tests.support.recording_pipeline import problem
from tests.support.relay import Producer, Served, StartRelay
from tests.support.servers import HOST, Server, free_port

SECRET = "hunter2secret"


async def _why(relay: Served, words: str) -> str:
    """The reason that /readyz gives, once it has these words."""
    await eventually(lambda: words in (relay.relay.listener.trouble or ""), words)
    said: str = problem(await relay.http.get("/readyz"), 503)["detail"]
    assert words in said
    assert SECRET not in said
    return said


def _user(look: redis.Redis, *rules: str, name: str = "relay") -> None:
    look.execute_command("ACL", "SETUSER", name, "reset", "on", f">{SECRET}", "~*", "&*", "+@all", *rules)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://relay:wrong-{secret}@{place}/0", "refuses the user name or the password"),
        ("redis://{place}/0", "wants a password, and the URL has none"),
        ("redis://relay:{secret}@{place}/99", "has no such database"),
        ("redis://relay:{secret}@127.0.0.1:{free}/0", "cannot be reached"),
        ("redis://relay:{secret}@127.0.0.1:{deaf}/0", "cannot be reached: no answer"),
    ],
)
async def test_a_redis_that_cannot_be_used_is_named(
    start_relay: StartRelay, start_store: Callable[..., Server], url: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever deploys a relay with a wrong URL must read what is wrong in one line, and no password anywhere."""
    server = start_store()
    free = free_port()
    with server.client() as look, socket.create_server((HOST, 0)) as deaf:
        _user(look)
        look.config_set("requirepass", SECRET)
        place = f"{HOST}:{server.port}"
        given = url.format(secret=SECRET, place=place, free=free, deaf=deaf.getsockname()[1])
        with caplog.at_level(logging.INFO, "runrelay"):
            relay = await start_relay(redis_url=given, ready=False)
            why = await _why(relay, words)
        assert str(server.port) in why or str(free) in why or str(deaf.getsockname()[1]) in why
        assert SECRET not in caplog.text
        assert words in caplog.text
        assert sum(words in record.getMessage() for record in caplog.records) == 1, "once, and not at each try"


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (("-subscribe",), "no right to the command SUBSCRIBE"),
        (("-publish",), "no right to the command PUBLISH"),
        (("-eval", "-evalsha"), "no right to the command EVALSHA"),
        (("-hmget",), "no right to the command HMGET"),
        (("resetkeys", "~nobodys:*"), "no right to the key {prefix}:run:{{…}}"),
        (("resetchannels", "&nobodys:*"), "no right to the channels {prefix}:progress and {prefix}:relays"),
    ],
)
async def test_a_relay_that_cannot_hear_or_read_is_not_ready(
    start_relay: StartRelay, start_store: Callable[..., Server], prefix: str, rules: tuple[str, ...], words: str
) -> None:
    """A relay without a right that every client needs is ready today, and its clients wait without a word; when it is
    given the right, it is ready by itself.
    """
    server = start_store()
    with server.client() as look:
        _user(look, *rules)
        look.script_flush()
        relay = await start_relay(redis_url=f"redis://relay:{SECRET}@{HOST}:{server.port}/0", ready=False)
        await _why(relay, words.format(prefix=prefix))
        async with watch(relay.ws("x"), "x") as client:
            await client.frame("upstream", status="down")
            _user(look)
            await eventually(lambda: relay.relay.ready, "it is ready again", 30)
            await client.frame("initial_state")
        assert (await relay.http.get("/readyz")).text == "ready\n"


async def test_a_right_that_only_writing_needs_is_named(
    start_relay: StartRelay, start_store: Callable[..., Server]
) -> None:
    """A relay that cannot commit shows runs all the same: it stays ready, and says what does not work."""
    server = start_store()
    with server.client() as look:
        _user(look, "-xadd", "-info")
        relay = await start_relay(redis_url=f"redis://relay:{SECRET}@{HOST}:{server.port}/0")
        answer = await relay.http.get("/readyz")
        assert answer.status_code == 200
        assert answer.text == "ready\nbut: no right to the command XADD; no right to the command INFO\n"
        _user(look)
        _look_again(relay)
        await eventually(lambda: not relay.relay.listener.remark, "nothing is refused any more")


def _look_again(relay: Served) -> None:
    relay.relay.listener._everything_due_s = 0.0
    relay.relay.hub.doubted.set()


async def test_a_read_only_replica_and_a_full_memory_are_named(
    start_relay: StartRelay, start_store: Callable[..., Server]
) -> None:
    """What Redis refuses for a while is said in words, and what is left of the relay is served."""
    primary, server = start_store(), start_store()
    with server.client() as look:
        relay = await start_relay(redis_url=server.url)
        look.config_set("maxmemory", "1")
        _look_again(relay)
        await eventually(lambda: "its memory is full" in relay.relay.listener.remark, "it is full")
        look.config_set("maxmemory", "0")
        look.replicaof(HOST, str(primary.port))
        await eventually(lambda: look.info("replication")["master_link_status"] == "up", "it follows")
        await eventually(lambda: relay.relay.hub.link == "up", "it is heard")
        _look_again(relay)
        await eventually(lambda: "read only replica" in relay.relay.listener.remark, "it is a replica")
        text = (await relay.http.get("/readyz")).text
        assert text == "ready\nbut: nothing can be written: it is a read only replica\n"


async def test_a_node_of_a_cluster_is_named(start_relay: StartRelay, start_store: Callable[..., Server]) -> None:
    """A relay at a cluster's node hears the channel, and reads nothing."""
    server = start_store(cluster_enabled="yes")
    relay = await start_relay(redis_url=server.url, ready=False)
    await _why(relay, "is a node of a cluster, which is not supported")


@pytest.mark.parametrize("half", [0, 1])
async def test_a_node_of_a_cluster_with_a_part_of_the_slots_is_named(
    start_relay: StartRelay, start_store: Callable[..., Server], half: int
) -> None:
    """A relay that is ready, and reads those runs only that happen to be on its node: which half is tried is chance."""
    nodes = [start_store(cluster_enabled="yes", cluster_require_full_coverage="no") for _ in range(2)]
    with nodes[0].client() as first, nodes[1].client() as second:
        clients: list[Any] = [first, second]
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", number * 8192, number * 8192 + 8191)
        clients[0].execute_command("CLUSTER", "MEET", HOST, nodes[1].port)

        def known() -> bool:
            return all("16384" in repr(client.execute_command("CLUSTER", "INFO")) for client in clients)

        await eventually(known, "the nodes know each other")
    relay = await start_relay(redis_url=nodes[half].url, ready=False)
    await _why(relay, "is a node of a cluster, which is not supported")


async def test_a_deaf_relay_says_for_how_long(start_relay: StartRelay, start_store: Callable[..., Server]) -> None:
    """Since when, so that a page at 3 a.m. can be laid beside what else happened."""
    server = start_store()
    relay = await start_relay(redis_url=server.url)
    server.pause()
    try:
        await eventually(lambda: not relay.relay.ready, "it knows")
        why = await _why(relay, "did not come back within")
        assert why.endswith(" s)")
        assert float(why.rpartition("(for ")[2].removesuffix(" s)")) < 15
    finally:
        server.resume()


async def test_two_hundred_waiting_clients_are_told_and_make_a_few_lines(
    start_relay: StartRelay, start_store: Callable[..., Server], prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Reads are refused while the channel is heard: every client is told that what it sees may be old, and the log has
    a few lines, not five a second for each of them.
    """
    server = start_store()
    url = f"redis://relay:{SECRET}@{HOST}:{server.port}/0"
    with server.client() as look:
        _user(look)
        relay = await start_relay(redis_url=url)
        producer = Producer(server.url, Keys(prefix, f"{prefix}:progress"))
        async with AsyncExitStack() as stack:
            stack.push_async_callback(producer.runlog.close)
            await producer.lines("r", 1, 2)
            before = await stack.enter_async_context(watch(relay.ws("r"), "r"))
            await before.frame("initial_state")
            with caplog.at_level(logging.INFO, "runrelay"):
                _user(look, "-hmget")
                clients = [await stack.enter_async_context(watch(relay.ws(f"r{n}"), f"r{n}")) for n in range(200)]
                for client in (before, *clients):
                    await client.frame("upstream", status="down")
                assert not any(frame["type"] == "initial_state" for client in clients for frame in client.frames)
                assert problem(await relay.http.get("/readyz"), 503)["detail"].startswith(
                    "no right to the command HMGET"
                )
                _user(look)
                for client in clients:
                    await client.frame("initial_state")
                    await client.frame("upstream", status="up")
            last = await producer.say("r", log="line 3")
            await before.reached(last)
        lines = [r.getMessage() for r in caplog.records if "WebSocket" not in r.getMessage()]
        assert len(lines) < 10, lines


@pytest.mark.parametrize("commits", ["relay", "publisher"])
async def test_a_redis_that_does_not_say_who_it_is_is_said_once(
    start_relay: StartRelay,
    start_store: Callable[..., Server],
    prefix: str,
    caplog: pytest.LogCaptureFixture,
    commits: str,
) -> None:
    """Without INFO lost data may go unnoticed: whoever took the right away must be told, once, not at each commit."""
    from runrelay.progress import make_event
    from runrelay.runlog import AsyncRunLog, Batch, ProducerSequence, RunLog

    server = start_store()
    keys = Keys(prefix, f"{prefix}:progress")
    url = f"redis://relay:{SECRET}@{HOST}:{server.port}/0"
    with server.client() as look:
        _user(look, "-@dangerous")
    with caplog.at_level(logging.WARNING, "runrelay"):
        for number in range(3):
            made: Any = AsyncRunLog(url, keys) if commits == "relay" else RunLog(url, keys)
            if commits == "relay":
                await made.commit(f"r{number}", [make_event("A")])
                await made.close()
            else:
                sequence = ProducerSequence.fresh()
                await asyncio.to_thread(made.commit, Batch(f"r{number}", sequence.producer, 1, [make_event("A")]))
                made.close()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "no right to the command INFO" in said[0]
    assert SECRET not in said[0]
