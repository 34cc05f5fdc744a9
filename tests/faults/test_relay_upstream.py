"""Redis away, back, paused, or back with older data: what those who watch are told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runrelay.runlog import Keys
from tests.support.clients import eventually, watch, watch_stream
from tests.support.relay import BOTH_PROTOCOLS, Producer, StartRelay
from tests.support.servers import Server


@BOTH_PROTOCOLS
async def test_redis_restarts_under_its_watchers(
    start_relay: StartRelay, start_valkey: Callable[..., Server], keys: Keys, run_id: str, protocol: str
) -> None:
    """Who watches is told that what is shown may be old, and that it is not any more; nothing is missed."""
    server = start_valkey(appendonly="yes", appendfsync="always")
    producer = Producer(server.url, keys)
    relay = await start_relay(redis_url=server.url)
    async with (
        watch(relay.ws(run_id), run_id) as client,
        watch(relay.ws()) as many,
        watch_stream(relay.http, relay.run(run_id, "/events"), run_id) as stream,
    ):
        for one in (client, stream):
            await one.frame("initial_state")
        await producer.lines(run_id, 1, 3)
        server.kill()
        for one in (client, many, stream):
            assert await one.frame("upstream") == {"type": "upstream", "status": "down"}
        async with watch(relay.ws("later"), "later") as joining:
            assert (await joining.frame("upstream"))["status"] == "down"
            await joining.ping()
            assert [f["type"] for f in joining.frames] == ["upstream", "pong"], "nothing is claimed that is not known"
            server.start()
            await joining.frame("initial_state")
            assert [f.get("status") for f in joining.frames if f["type"] == "upstream"] == ["down", "up"]
        last = await producer.lines(run_id, 4, 3)
        for one in (client, stream):
            await one.frame("upstream", status="up")
            await one.reached(last)
    # the server is another process now, which might have lost something: its log is a new one
    assert client.story.last["message"] == "line 6"
    await producer.runlog.close()


async def test_a_server_that_comes_back_with_older_data(
    start_relay: StartRelay, start_valkey: Callable[..., Server], keys: Keys, run_id: str
) -> None:
    """Events that were announced are lost with it: their numbers are given to others, under another name."""
    server = start_valkey(dbfilename="dump.rdb")
    producer = Producer(server.url, keys)
    relay = await start_relay(redis_url=server.url, check_s=0.2)
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        await producer.lines(run_id, 1, 3)
        with server.client() as admin:
            admin.save()
        lost = await producer.lines(run_id, 4, 3, "lost")
        await client.reached(lost)
        server.kill()
        await client.frame("upstream", status="down")
        server.start()
        await client.frame("upstream", status="up")
        last = await producer.lines(run_id, 4, 2, "instead")
        await client.reached(last)
        assert client.story.states >= 2, "a new initial_state takes the place of what cannot be caught up"
        assert last.partition("-")[0] != lost.partition("-")[0]
    told: dict[str, str] = {}
    for frame in client.frames:
        if frame["type"] == "progress":
            assert told.setdefault(frame["id"], frame["message"]) == frame["message"]
    async with watch(relay.ws(run_id, f"after={lost}"), run_id, lost) as back:
        await back.reached(last)
        assert back.frames[0]["recovered"] is False
        assert back.frames[0]["logs"] == ["line 1", "line 2", "line 3", "instead 4", "instead 5"]
    await producer.runlog.close()


@pytest.mark.slow
async def test_a_redis_that_swallows_everything(
    start_relay: StartRelay, start_valkey: Callable[..., Server], keys: Keys, run_id: str
) -> None:
    """A connection that looks open tells nothing: only the probe finds out."""
    server = start_valkey()
    producer = Producer(server.url, keys)
    relay = await start_relay(redis_url=server.url)
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        await producer.lines(run_id, 1, 2)
        server.pause()
        await client.frame("upstream", status="down")
        assert (await relay.http.get("/readyz")).status_code == 503
        server.resume()
        await client.frame("upstream", status="up")
        last = await producer.lines(run_id, 3, 2)
        await client.reached(last)
        assert client.story.seqs == [1, 2, 3, 4]
        assert (await relay.http.get("/readyz")).status_code == 200
    await producer.runlog.close()


async def test_without_redis_at_the_start(
    start_relay: StartRelay, start_valkey: Callable[..., Server], keys: Keys, run_id: str
) -> None:
    """Relay and Redis are started together, in any order."""
    server = start_valkey()
    server.kill()
    relay = await start_relay(ready=False, redis_url=server.url)
    async with watch(relay.ws(run_id), run_id) as client:
        assert (await client.frame("upstream"))["status"] == "down"
        assert (await relay.http.get("/readyz")).status_code == 503
        server.start()
        await client.frame("initial_state")
    await eventually(lambda: relay.relay.ready, "the relay is ready")


async def test_a_deleted_log_leaves_its_viewers_what_they_saw(
    start_relay: StartRelay, start_valkey: Callable[..., Server], keys: Keys, run_id: str
) -> None:
    """An expired run must not turn into an empty one on somebody's screen."""
    server = start_valkey()
    producer = Producer(server.url, keys)
    relay = await start_relay(redis_url=server.url, check_s=0.1)
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        await client.reached(await producer.lines(run_id, 1, 2))
        with server.client() as admin:
            admin.delete(*keys.run(run_id))
        await client.frame("stale", run_id=run_id)
        assert client.story.states == 1
        last = await producer.say(run_id, log="begun anew")
        await client.reached(last)
        assert client.story.last["logs"] == ["begun anew"]
    await producer.runlog.close()


@pytest.mark.parametrize("harm", ["a string", "half a hash"])
async def test_a_key_that_is_no_run_harms_only_itself(
    start_relay: StartRelay, start_valkey: Callable[..., Server], keys: Keys, run_id: str, harm: str
) -> None:
    """Anyone who may write to Redis could stop the relay for all runs with one SET."""
    server = start_valkey()
    producer = Producer(server.url, keys)
    relay = await start_relay(redis_url=server.url, check_s=0.1)
    hash_key = keys.run("harmed")[0]
    with server.client() as admin:
        if harm == "a string":
            admin.set(hash_key, "no run")
        else:
            admin.hset(hash_key, "title", "no run")
        admin.zadd(keys.runs, {"harmed": 1})
    async with watch(relay.ws(run_id), run_id) as client, watch(relay.ws()) as many:
        await client.frame("initial_state")
        await many.say(type="subscribe", runs=True)
        await many.frame("subscribed")
        await many.say(type="subscribe", run_id="harmed")
        assert await many.frame("error", run_id="harmed")
        async with watch(relay.ws("harmed")) as alone:
            assert await alone.close_code() == 4409
            assert alone.frames[-1]["type"] == "error"
        polled = await relay.http.get(relay.run("harmed"))
        assert polled.status_code == 409
        assert polled.headers["content-type"] == "application/problem+json"
        assert (await relay.http.get("/api/runs")).status_code == 200
        seal = '{"run_id":"harmed","state":null,"progress":null,"log":null,"status":"running","seq":1,'
        await producer.publish(seal + '"epoch":"k3x9m2p7q1za","ts":1,"attempt":1}')
        await producer.publish('{"run_id":"harmed","log":"raw"}')
        await client.reached(await producer.lines(run_id, 1, 3))
        await many.frame("run", run_id=run_id)
        await many.ping()
    assert relay.relay.failure is None
    assert relay.relay.ready
    await producer.runlog.close()
