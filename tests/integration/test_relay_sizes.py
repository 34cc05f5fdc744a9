"""What a relay says first of a run is at most 512 KiB, in each transport's form, whatever the run holds."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runrelay.pipelines import Pipeline
from runrelay.progress import make_event, step_specs
from runrelay.relay.relay import Relay
from runrelay.relay.settings import Settings
from tests.support.clients import watch, watch_stream
from tests.support.relay import Producer, Served

LIMIT = 512 * 1024


async def of_twenty_thousand_steps(producer: Producer, run_id: str) -> None:
    """As an older version has written it: all of them are kept."""
    await producer.say(run_id, log="line 1")
    key = producer.keys.run(run_id)[0]
    redis: Any = producer.runlog.redis
    for first in range(1, 20_001, 1000):
        steps = {
            f"s:단계 {i}": orjson.dumps({"i": i, "name": f"단계 {i}", "status": "failed", "attempt": 1, "weight": 1})
            for i in range(first, first + 1000)
        }
        await redis.hset(key, mapping=steps)
    await redis.hset(key, "steps", '{"count":20000,"done":0,"weight":20000,"weighted":0}')


async def of_long_texts(producer: Producer, run_id: str) -> None:
    """All of them at their limits, and of characters of which JSON makes six."""
    steps = step_specs([f"{n}" + "🎬" * 60 for n in range(1000)])
    await producer.commit(run_id, [make_event("A")._replace(steps=steps, title="\x02" * 200)])
    for n in range(40):
        await producer.commit(run_id, [make_event(log=f"{n:02} " + "\x01" * 8000)])
    failed = [make_event("FAILED", step=spec.name, error="\x01" * 5_000) for spec in steps[:300]]
    for at in range(0, 300, 50):
        await producer.commit(run_id, failed[at : at + 50])
    await producer.say(run_id, "FAILED", error="\x01" * 65_536, result="\x01" * 10_000)


@pytest.mark.parametrize("run", [of_twenty_thousand_steps, of_long_texts])
async def test_what_is_said_first_is_bounded(relay: Served, producer: Producer, run_id: str, run: Any) -> None:
    """3.6 MB of steps to each who joins; proxies and clients cut such a message off, and the run cannot be watched."""
    await run(producer, run_id)
    async with watch(relay.ws(run_id), run_id) as client:
        joined = await client.frame("initial_state")
    assert len(orjson.dumps(joined)) <= LIMIT
    assert joined["steps"]
    assert joined.get("steps_truncated", 0) + len(joined["steps"]) in (1000, 20_000)
    size = 0
    async with relay.http.stream("GET", relay.run(run_id, "/events")) as stream:
        async for line in stream.aiter_lines():
            size += len(line.encode()) + 1
            if line.startswith("data: "):
                break
    assert LIMIT // 2 < size <= LIMIT
    polled = await relay.http.get(relay.run(run_id))
    assert len(polled.content) <= LIMIT
    body = polled.json()
    assert body["logs_truncated"] + len(body["logs"]) == (1 if run is of_twenty_thousand_steps else 40)
    async with watch_stream(relay.http, relay.run(run_id, "/events"), run_id) as stream_client:
        await stream_client.frame("initial_state")


async def test_events_beside_a_snapshot_are_bounded_too(relay: Served, producer: Producer, run_id: str) -> None:
    """A poller that was away gets what it missed, or the snapshot alone, but never megabytes."""
    first = await producer.say(run_id, log="line 0")
    for n in range(1, 31):
        await producer.say(run_id, log=f"line {n} " + "x" * 16_000)
    whole = await relay.http.get(relay.run(run_id), params={"after": first})
    assert (whole.json()["recovered"], len(whole.json()["events"])) == (True, 30)
    assert len(whole.content) <= 2 * LIMIT
    for n in range(31, 61):
        await producer.say(run_id, log=f"line {n} " + "x" * 16_000)
    part = await relay.http.get(relay.run(run_id), params={"after": first})
    assert (part.json()["recovered"], part.json()["events"]) == (False, [])
    assert len(part.content) <= LIMIT
    assert part.json()["logs"][-1].startswith("line 60 ")


def test_a_pipeline_of_too_many_steps_is_refused_at_the_start() -> None:
    """Not with a 500 for each run that is started."""
    pipeline = Pipeline("films", "Films", Any, lambda *_: None, steps={f"s{n}": 1.0 for n in range(1001)})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^pipeline 'films': a run has at most 1000 steps, got 1,001$"):
        Relay(Settings(), {"films": pipeline})
