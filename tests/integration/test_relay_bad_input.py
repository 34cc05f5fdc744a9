"""Bad input, in one table a kind: each gets the contract's answer; never a traceback, never a dead listener."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok

from runrelay.fanout.messages import parse_message
from tests.support.clients import eventually, watch
from tests.support.relay import Producer, Served, StartProcess, StartRelay
from tests.support.servers import HOST

VALID = {
    "run_id": "x", "state": None, "progress": None, "log": "forged", "status": "running", "seq": 1,
    "epoch": "k3x9m2p7q1za", "ts": 1, "attempt": 1,
}  # fmt: skip


def _with(**fields: Any) -> bytes:
    return orjson.dumps({**VALID, **fields})


def _raw(**fields: Any) -> bytes:
    return orjson.dumps({"run_id": "x", **fields})


MALFORMED = {
    "nothing": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"run_id": "\xff"}',
    "a list": b"[1]",
    "null": b"null",
    "a number": b"7",
    "a string": b'"x"',
    "NaN": b'{"run_id": "x", "progress": NaN}',
    "deep": b'{"run_id": "x", "data": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "no run id": b"{}",
    "run id a number": _raw(run_id=7),
    "run id null": _raw(run_id=None),
    "run id a list": _raw(run_id=["x"]),
    "run id empty": _raw(run_id=""),
    "run id with a slash": _raw(run_id="a/b"),
    "run id with a brace": _raw(run_id="a{b}"),
    "run id with a line break": _raw(run_id="a\nb"),
    "run id too long": _raw(run_id="x" * 201),
    "run id a path": _raw(run_id=".."),
    "raw and huge": _raw(log="x" * 70_000),
    "seq a string": _with(seq="1"),
    "seq a float": _with(seq=1.0),
    "seq true": _with(seq=True),
    "seq null": _with(seq=None),
    "seq a list": _with(seq=[1]),
    "seq beyond 64 bits": _with().replace(b'"seq":1', b'"seq":' + b"9" * 40),
    "epoch a number": _with(epoch=7),
    "epoch null": _with(epoch=None),
    "committed run id too long": _with(run_id="x" * 201),
    "committed without run id": orjson.dumps({k: v for k, v in VALID.items() if k != "run_id"}),
}
REFUSED = {
    "progress above 1": _raw(progress=1.7),
    "progress below 0": _raw(progress=-0.1),
    "progress infinite": b'{"run_id": "x", "progress": 1e999}',
    "progress a string": _raw(progress="0.5"),
    "progress true": _raw(progress=True),
    "progress a list": _raw(progress=[]),
    "state a number": _raw(state=7),
    "state too long": _raw(state="x" * 65),
    "state empty": _raw(state=""),
    "log a number": _raw(log=7),
    "log an object": _raw(log={}),
    "level unknown": _raw(log="x", level="loud"),
    "level a list": _raw(log="x", level=["info"]),
    "step a number": _raw(step=7, progress=0.5),
    "step with a tab": _raw(step="a\tb", progress=0.5),
    "data a list": _raw(data=[1]),
    "data too large": _raw(data={"x": "y" * 5000}),
    "error before the end": _raw(state="RENDERING", error="x"),
    "result before the end": _raw(state="RENDERING", result={}),
    "result too large": _raw(state="END", result="x" * 65_600)[:64_000],
    "attempt 0": _raw(log="x", attempt=0),
    "attempt beyond what Lua can count": _raw(log="x", attempt=(1 << 64) - 1),
    "attempt that others cannot reach": _raw(log="x", attempt=1_000_000_001),
    "attempt a string": _raw(log="x", attempt="1"),
    "attempt true": _raw(log="x", attempt=True),
}
FORGED = {
    "the next number": _with(seq=1, log="forged"),
    "a jump": _with(seq=1_000_000),
    "number 0": _with(seq=0),
    "a negative number": _with(seq=-1),
    "the largest number": _with(seq=(1 << 63) - 1),
    "the catchup's epoch": _with(epoch="0"),
    "an epoch of another form": _with(epoch="../../x"),
    "a huge epoch": _with(epoch="e" * 100_000),
    "huge": _with(log="x" * 2_000_000),
    "fields of other types": _with(state=[], progress="x", log=7, status={}, ts=None, attempt="y"),
    "no other fields": orjson.dumps({"run_id": "x", "seq": 1, "epoch": "k3x9m2p7q1za"}),
    "a status of nobody's": _with(status="exploded"),
}


@pytest_asyncio.fixture
async def relay(start_relay: StartRelay, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Served]:
    caplog.set_level(logging.DEBUG)
    relay = await start_relay(check_s=0.1)
    await eventually(lambda: relay.relay.adopter.statistics().after_marker, "the relay adopts")
    yield relay
    assert not [record for record in caplog.records if record.exc_info], "a traceback in the log"


async def _is_well(relay: Served, producer: Producer) -> None:
    """The listener is alive, and a run that has nothing to do with it is told of."""
    async with watch(relay.ws("another"), "another") as client:
        await client.frame("initial_state")
        await client.reached(await producer.say("another", log="still here"))
    assert relay.relay.ready
    assert relay.relay.failure is None


@pytest.mark.parametrize("what", MALFORMED)
async def test_a_malformed_message_is_counted(relay: Served, producer: Producer, what: str) -> None:
    """Anyone may PUBLISH; a listener that dies of it is dead for all runs."""
    await producer.publish(MALFORMED[what])
    await eventually(lambda: relay.relay.metrics.malformed == 1, "it is counted")
    await _is_well(relay, producer)
    assert (await relay.http.get("/api/runs/x")).status_code == 404


@pytest.mark.parametrize("what", REFUSED)
async def test_a_raw_message_with_a_wrong_field_is_refused(relay: Served, producer: Producer, what: str) -> None:
    """What a worker's call would raise at once, a message by hand cannot say."""
    await producer.publish(REFUSED[what])
    metrics = relay.relay.metrics
    await eventually(lambda: metrics.adoption_refused + metrics.malformed == 1, "it is counted")
    await _is_well(relay, producer)
    assert (await relay.http.get("/api/runs/x")).status_code == 404


@pytest.mark.parametrize("known", [False, True], ids=["unknown run", "known run"])
@pytest.mark.parametrize("what", FORGED)
async def test_a_made_up_message_is_discarded(relay: Served, producer: Producer, what: str, known: bool) -> None:
    """Watched or not, the run is what its log says."""
    cursor = await producer.say("x", log="line 1") if known else "0-0"
    async with watch(relay.ws("x"), "x") as client, watch(relay.ws()) as many:
        await client.frame("initial_state", id=cursor)
        await many.say(type="subscribe", runs=True)
        await many.frame("subscribed")
        await producer.publish(FORGED[what])
        await eventually(lambda: relay.relay.metrics.forged >= 1, "it is counted")
        await _is_well(relay, producer)
        await client.reached(await producer.say("x", log="the next line"))
        assert "forged" not in client.story.messages
        await many.ping()
        assert all(frame["status"] == "running" for frame in many.frames if frame["type"] == "run")


@pytest.mark.parametrize(
    "fields",
    [
        {"epoch": "k3x9m2p7q1za"},
        {"epoch": "k3x9m2p7q1za", "seq": "one"},
        {"epoch": b"\xff", "seq": "1", "status": "running", "attempt": "1"},
        {"epoch": "k3x9m2p7q1za", "seq": "1", "status": "running", "attempt": "1.8446744073709552e+19"},
        {"epoch": "k3x9m2p7q1za", "seq": "1", "status": "running", "attempt": "1", "progress": "half"},
        {"epoch": "k3x9m2p7q1za", "seq": "1", "status": "running", "attempt": "1", "heartbeat_at": "now"},
    ],
)
async def test_a_hash_that_is_no_run_harms_only_who_asks_for_it(
    relay: Served, producer: Producer, fields: dict[Any, Any]
) -> None:
    """What looks after all runs (the list, its feed, its repair, the periodic check) must not end at one of them."""
    redis = producer.runlog.redis
    async with watch(relay.ws()) as many, watch(relay.ws("x"), "x") as client:
        await client.frame("initial_state")
        await many.say(type="subscribe", runs=True)
        await many.frame("subscribed")
        await redis.hset(producer.keys.run("x")[0], mapping=fields)
        await redis.hset(producer.keys.run("x")[0].encode() + b"\xff}", mapping=fields)
        await redis.zadd(producer.keys.runs, {b"x": 1, b"\xff": 2})
        await redis.zadd(producer.keys.alive, {b"\xff": 1})
        await producer.publish(_with(seq=1))
        await producer.say("y", log="line 1")
        await many.frame("run", run_id="y")
        await relay.relay.reaper.mark_stalled()
        await relay.relay.reaper.repair_list()
        await relay.relay.hub.check()
        listed = (await relay.http.get("/api/runs")).json()["runs"]
        assert [run["run_id"] for run in listed] == ["y"]
    assert relay.relay.ready
    assert relay.relay.failure is None


async def test_a_key_that_is_no_lease_ends_nothing(start_relay: StartRelay, producer: Producer, run_id: str) -> None:
    """Nobody would adopt, and nobody would mark what has stalled, until somebody looked into Redis."""
    await producer.runlog.redis.rpush(producer.keys.lease("adoption"), "x")
    await producer.runlog.redis.set(producer.keys.lease("reaper"), "somebody")
    relay = await start_relay()
    adopter, reaper = relay.relay.adopter, relay.relay.reaper
    await eventually(lambda: adopter.statistics().holds_lease and reaper.holds_lease, "the leases are taken")
    for name in ("adoption", "reaper"):
        assert not await relay.relay.runlog.take_lease(name, "another", 1000), "a lease that is held is left alone"
    await eventually(lambda: relay.relay.adopter.statistics().after_marker, "it adopts")
    async with watch(relay.ws(run_id), run_id) as client:
        await producer.publish(f'{{"run_id": "{run_id}", "log": "by hand"}}')
        await client.until(lambda: client.story.messages == ["by hand"], "it is adopted")


async def test_a_thousand_of_them_at_once(relay: Served, producer: Producer) -> None:
    """One read each would bring Redis down."""
    async with watch(relay.ws("x"), "x") as client:
        await client.frame("initial_state")
        at_once = producer.runlog.redis.pipeline(transaction=False)
        for number in range(1000):
            at_once.publish(producer.keys.channel, _with(epoch=f"forgedepo{number:03}", seq=number))
        await at_once.execute()
        await eventually(lambda: relay.relay.metrics.forged == 1000, "all are counted")
        await client.reached(await producer.say("x", log="line 1"))
        assert relay.relay.metrics.repairs < 500


def test_the_tables_are_right_about_what_is_malformed() -> None:
    """The negative control: messages that are well formed do not count as malformed."""
    for raw in (*FORGED.values(), _raw(log="x"), _with()):
        parse_message(raw)
    for raw in MALFORMED.values():
        with pytest.raises((TypeError, ValueError)):
            parse_message(raw)


@pytest.mark.slow
def test_the_api_keeps_to_its_own_schema(start_process: StartProcess, long: bool) -> None:
    """Whatever is sent: no 500, and every answer is one that the OpenAPI document describes."""
    relay = start_process(end_after_s=0.1)
    schema = schemathesis.openapi.from_url(f"{relay.url}/openapi.json")
    checks = schemathesis.checks
    kept_to = [
        checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    answered = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        if operation.path.endswith("/events"):
            continue  # a stream does not end

        @settings(max_examples=300 if long else 12, deadline=None, suppress_health_check=[*HealthCheck], database=None)
        @given(case=operation.as_strategy())
        def send(case: Any) -> None:
            nonlocal answered
            if "wait" in (case.query or {}):
                case.query.pop("wait")  # held requests take their time
            case.call_and_validate(checks=kept_to, timeout=20)
            answered += 1

        send()
    assert answered > 60
    assert "Traceback" not in relay.log


async def test_what_follows_a_frame_that_was_too_big_is_not_looked_at(
    start_relay: StartRelay, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes in many reads, and where the next frame begins is not known: each was an error in the relay's log."""
    relay = await start_relay(max_frame_bytes=1000)
    reader, writer = await asyncio.open_connection(HOST, relay.port)
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    path = f"GET /ws/{quote(run_id)} HTTP/1.1\r\nHost: {HOST}\r\n"
    writer.write(f"{path}Connection: Upgrade\r\nUpgrade: websocket\r\n{key}\r\n".encode())
    await reader.readuntil(b"initial_state")
    writer.write(b"\x81\xfe\xff\xff" + bytes(4) + b"x" * 5_000)  # the first of 65,535 bytes
    said = await reader.readuntil(b"\x03\xf1")  # 1009, in the close frame
    assert b"a frame has at most 1000 bytes" in said
    writer.write(b"x" * 5_000)  # it does not know yet
    await writer.drain()
    await reader.read()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    await eventually(lambda: not relay.relay.hub.connections, "the connection is gone")
    assert [record.message for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []
