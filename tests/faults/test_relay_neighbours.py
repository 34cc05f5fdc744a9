"""Two applications on one Redis, told apart only by the numbers of their databases: Pub/Sub knows no databases."""

from __future__ import annotations

import asyncio
import logging

import orjson
import pytest

from runrelay.runlog import Keys
from tests.support.clients import eventually, watch
from tests.support.relay import Producer, StartRelay
from tests.support.servers import Server


async def test_two_databases_on_one_channel_are_said_and_counted_apart(
    start_relay: StartRelay, valkey_server: Server, keys: Keys, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever gives two applications two databases and one prefix must be told; not be told of forgeries that are none,
    nor see a run end in the list because the other application has deleted its own.
    """
    other_url = valkey_server.url.removesuffix("/0") + "/1"
    with caplog.at_level(logging.WARNING, "runrelay.fanout.listener"):
        here = await start_relay()
        there = await start_relay(redis_url=other_url)
        for relay in (here, there):
            await eventually(lambda relay=relay: relay.relay.metrics.foreign_databases == 1, "the other is heard")  # type: ignore[misc]
        heard = here.relay.metrics.messages
        await eventually(lambda: here.relay.listener.statistics().pushes > heard + 2, "more probes")
    said = [record.getMessage() for record in caplog.records if "relays of database" in record.getMessage()]
    assert len(said) == 2, "once for each of the two"
    assert any("relays of database 1 " in line and "this relay uses database 0" in line for line in said)
    assert "RUNRELAY_PREFIX" in said[0]

    ours, theirs = Producer(valkey_server.url, keys), Producer(other_url, keys)
    try:
        await ours.lines(run_id, 1, 2, "ours")
        await theirs.lines(run_id, 1, 3, "theirs")
        async with watch(here.ws(run_id), run_id) as client, watch(here.ws()) as lists:
            await client.frame("initial_state")
            await lists.say(type="subscribe", runs=True)
            await lists.frame("subscribed")
            await theirs.say(run_id, log="theirs 4")
            await eventually(lambda: here.relay.metrics.foreign == 1, "it is counted")
            last = await ours.say(run_id, log="ours 3")
            await client.reached(last)
            assert client.story.messages == ["ours 3"]
            assert here.relay.metrics.forged == 0

            await theirs.say("gone", "END")
            assert (await there.http.delete(there.run("gone"))).status_code == 204
            await ours.say(run_id, "END")
            await lists.until(lambda: any(f.get("status") == "succeeded" for f in lists.frames), "the end in the list")
            assert not [frame for frame in lists.frames if frame["type"] == "run_deleted"]
    finally:
        await asyncio.gather(ours.runlog.close(), theirs.runlog.close())


async def test_a_forgery_without_neighbours_is_one(start_relay: StartRelay, producer: Producer, run_id: str) -> None:
    """The control: without another database's relay the same message is forged, and a liar's database is said once."""
    relay = await start_relay()
    await producer.lines(run_id, 1, 2)
    forged = orjson.dumps({"run_id": run_id, "epoch": "k3x9m2p7q1za", "seq": 4, "state": "X", "progress": 0.1})
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        await producer.publish(forged)
        await eventually(lambda: relay.relay.metrics.forged == 1, "it is counted")
        for database in (*range(1, 100), "x", -1, [], None, 1.5):
            await producer.runlog.publish(producer.keys.control, orjson.dumps({"db": database, "probe": "liar"}))
        await producer.publish(forged)
        await eventually(lambda: relay.relay.metrics.foreign == 1, "and as foreign, for what that is worth")
        assert relay.relay.metrics.foreign_databases == 16
        assert relay.relay.ready
