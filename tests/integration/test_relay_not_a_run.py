"""A run whose key is somebody else's: every door answers on purpose, and no client comes back for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.clients import eventually, watch
from tests.support.recording_pipeline import problem, start_run
from tests.support.relay import BOTH_PROTOCOLS, Producer, Served

pytestmark = BOTH_PROTOCOLS

FOREIGN: dict[str, Callable[[Any, str], Any]] = {
    "a string": lambda redis, key: redis.set(key, "foo"),
    "a list": lambda redis, key: redis.rpush(key, "foo"),
    "a hash without our fields": lambda redis, key: redis.hset(key, "a", "b"),
}


@pytest.fixture
def relay(working_relay: Served) -> Served:
    """The relay that is asked."""
    return working_relay


async def _end(relay: Served, run_id: str | None) -> tuple[int, int]:
    """The code of the error frame, and with which the connection is closed."""
    async with watch(relay.ws(run_id)) as client:
        return (await client.frame("error"))["code"], await client.close_code()


@pytest.mark.parametrize("kind", FOREIGN)
async def test_every_door_answers_on_purpose(
    relay: Served, producer: Producer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """It was a 500 with a traceback for each request, and a 1012, with which clients come back for ever."""
    redis, keys = producer.runlog.redis, producer.keys
    await FOREIGN[kind](redis, keys.run("x")[0])
    before = await redis.dump(keys.run("x")[0])
    for method, tail in (
        ("GET", ""), ("GET", "?after=0-0"), ("GET", "?wait=5"), ("GET", "/logs"), ("GET", "/events"),
        ("GET", "/events?after=0-0"), ("POST", "/cancel"), ("POST", "/retry"), ("DELETE", ""),
    ):  # fmt: skip
        body = problem(await relay.http.request(method, relay.run("x", tail)), 409)
        assert "what is stored as run 'x' is no run: " in body["detail"]
    problem(await start_run(relay, "x"), 409)
    assert await _end(relay, "x") == (4409, 4409)
    async with watch(relay.ws()) as client:
        await client.say(type="subscribe", run_id="x")
        await client.frame("error", run_id="x", code=4409)
        await client.say(type="subscribe", run_id="y")
        await client.frame("initial_state", run_id="y")
    assert await redis.dump(keys.run("x")[0]) == before, "it is left as it was"
    assert not [record for record in caplog.records if record.exc_info]
    assert len([record for record in caplog.records if "is no run" in record.getMessage()]) <= 5
    assert relay.relay.metrics.contained >= 10


async def test_a_run_that_is_replaced_while_it_is_watched_ends_its_watchers(relay: Served, producer: Producer) -> None:
    """They were shown what they had, as if it were true, and an error was logged every five seconds."""
    run_id = "우주여행" * 50  # a close reason has room for 40 of them
    await producer.say(run_id, "RENDERING")
    async with watch(relay.ws(run_id), run_id) as one, watch(relay.ws()) as many:
        await one.frame("initial_state")
        await many.say(type="subscribe", run_id=run_id)
        await many.frame("initial_state", run_id=run_id)
        key = producer.keys.run(run_id)[0]
        await producer.runlog.redis.delete(key)
        await producer.runlog.redis.set(key, "foo")
        await relay.relay.hub.check()
        assert await one.close_code() == 4409
        await many.frame("error", run_id=run_id, code=4409)
    await eventually(lambda: not relay.relay.hub.topics or relay.relay.limits.total == 0, "nothing is left of it")
    await producer.runlog.redis.delete(key)
    cursor = await producer.say(run_id, "RENDERING")
    async with watch(relay.ws(run_id), run_id) as one:  # and whoever asks when it is a run again, is shown it
        assert (await one.frame("initial_state"))["id"] == cursor


async def test_entries_and_lines_that_are_none_do_not_hide_the_run(relay: Served, producer: Producer) -> None:
    """`XADD`, `RPUSH` by hand: the run could not be seen any more."""
    after = await producer.say("x", "RENDERING", log="line 1")
    hash_key, stream, logs = producer.keys.run("x")
    await producer.say("x", log="line 2")
    redis = producer.runlog.redis
    await redis.xtrim(stream, maxlen=1)
    await redis.xdel(stream, "2-0")
    await redis.execute_command("XADD", stream, "3-0", "e", b"[7]")  # type: ignore[no-untyped-call]
    await redis.hset(hash_key, "seq", 3)
    await redis.rpush(logs, "by hand", b"\xff", "x\ty\tz\t\tw")
    async with watch(relay.ws("x", f"after={after}"), "x", after) as client:
        state = await client.frame("initial_state")
        assert (state["logs"], state["recovered"]) == (["line 1", "line 2"], False)
        await client.reached(await producer.say("x", log="line 3"))
    body = (await relay.http.get(relay.run("x", f"?after={after}"))).json()
    assert (body["recovered"], body["events"], body["logs"]) == (False, [], ["line 1", "line 2", "line 3"])
    assert body["logs_truncated"] == 3


async def test_input_that_goes_too_deep_is_refused(relay: Served) -> None:
    """It is encoded, kept in Redis and decoded for a retry: each at a limit of its own."""
    deep: Any = {}
    for _ in range(101):
        deep = {"x": deep}
    body = problem(await start_run(relay, "x", input={"prompt": "x", "more": deep}), 422)
    assert body["detail"] == "input: input must be at most 100 levels deep"
