"""Anything in Redis, in any key or field that a relay or a worker reads: only who asks for that run sees an error."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from runrelay.progress import Event, StepSpec, make_event
from runrelay.runlog import Batch, Committed, Keys, ProducerSequence, RunLog
from tests.support.clients import Client, eventually, watch
from tests.support.garbage import Garbage, garbage
from tests.support.relay import Producer, Served, StartRelay

PHASES = (Phase.generate,)
"""Each example that fails waits for a deadline: to look for a smaller one would take minutes."""
STEPS = (StepSpec("plan", 1.0), StepSpec("render", 2.0))


class World:
    """A relay, a worker with two runs, and a client that watches both and the list on one connection."""

    def __init__(self, relay: Served, producer: Producer, redis_url: str, keys: Keys) -> None:
        self.relay = relay
        self.producer = producer
        self.keys = keys
        self.worker = RunLog(redis_url, keys)
        self.look = redis.Redis.from_url(redis_url)
        self.bystander = ProducerSequence.fresh()
        self.count = 0

    async def begin(self, stack: AsyncExitStack) -> None:
        """Connect the client, and begin the run that must not notice anything."""
        self.client: Client = await stack.enter_async_context(watch(self.relay.ws()))
        self.client.expect("bystander")
        await self._commit("bystander", self.bystander, [make_event("RENDERING", log="begun")._replace(kind="start")])
        await self.client.say(type="subscribe", run_id="bystander")
        await self.client.say(type="subscribe", runs=True)
        await self.client.frame("initial_state", run_id="bystander")

    async def _commit(self, run_id: str, sequence: ProducerSequence, events: list[Event]) -> Any:
        batch = Batch(run_id, sequence.producer, sequence.next, events)
        (result,) = await asyncio.to_thread(self.worker.commit_many, [batch])
        if isinstance(result, Committed):
            sequence.next += len(events)
        return result

    async def after(self, written: list[Garbage]) -> None:
        """Put garbage under a run that is watched and worked at; then hold the contract against everything else."""
        client, relay = self.client, self.relay.relay
        victim = ProducerSequence("worker")
        queued = Event(1, state="QUEUED", kind="queue", steps=STEPS, title="a victim")
        begun = [
            queued,
            make_event("RENDERING", 0.1, "line 1")._replace(kind="start"),
            make_event(step="plan", progress=0.5),
        ]
        assert isinstance(await self._commit("victim", victim, begun), Committed)
        seen = len(client.frames)
        await client.say(type="subscribe", run_id="victim", after="0-0")
        await client.until(lambda: [f for f in client.frames[seen:] if f.get("run_id") == "victim"], "it is watched")
        await self._commit("silent", ProducerSequence.fresh(), [make_event("RENDERING")._replace(kind="start")])
        self.look.hset(self.keys.run("silent")[0], "heartbeat_at", 1)
        self.look.zadd(self.keys.alive, {"silent": 1})

        for each in written:
            each.write(self.look, self.keys, "victim")
        parts = {each.part for each in written}

        await self._worker_goes_on(victim)
        await relay.hub.check()
        for duty in (relay.reaper.mark_stalled, relay.reaper.prune, relay.reaper.repair_list):
            await relay.reaper._do(duty)
        if "alive" not in parts:
            assert self.look.hget(self.keys.run("silent")[0], "status") == b"stalled", "the reaper goes on"
        await self._asked_for("victim")
        await self._others_go_on(client, parts)
        await client.say(type="unsubscribe", run_id="victim")

    async def _worker_goes_on(self, victim: ProducerSequence) -> None:
        """One round trip for both runs."""
        said = [make_event("QA", 0.2, "line 2"), make_event(step="plan", progress=0.7)]
        batches = [
            Batch("victim", victim.producer, victim.next, said),
            Batch("bystander", self.bystander.producer, self.bystander.next, [make_event(log="worker")]),
        ]
        done = await asyncio.to_thread(self.worker.commit_many, batches)
        assert isinstance(done[1], Committed), done[1]
        self.bystander.next += 1
        end = await self._commit("victim", ProducerSequence.fresh(), [make_event("END", result={"film": 1})])
        assert not isinstance(end, Exception) or "is no run" in str(end), repr(end)
        statuses = await asyncio.to_thread(self.worker.heartbeat, ["victim", "bystander"])
        assert statuses["bystander"] == "running"

    async def _asked_for(self, run_id: str) -> None:
        """Every door answers on purpose."""
        http, where = self.relay.http, self.relay.run(run_id)
        answers = [
            await http.get(where), await http.get(f"{where}?after=0-0"), await http.get(f"{where}/logs"),
            await http.post(f"{where}/cancel"), await http.post(f"{where}/retry"),
        ]  # fmt: skip
        async with http.stream("GET", f"{where}/events") as stream:
            answers.append(stream)
        answers.append(await http.delete(where))
        for answer in answers:
            assert answer.status_code in (200, 202, 204, 404, 409), (answer.request.url, answer.status_code)
        async with watch(self.relay.ws(run_id)) as other:
            await other.until(lambda: other.frames, "an answer")
            first = other.frames[0]
            assert first["type"] == "initial_state" or first.get("code") == 4409, first

    async def _others_go_on(self, client: Client, parts: set[str]) -> None:
        self.count += 1
        cursor = await self.producer.say("bystander", log=f"event {self.count}")
        await client.reached(cursor, "bystander")
        if not parts & {"adoption", "reaper"}:
            await self.producer.publish(f'{{"run_id":"bystander","log":"by hand {self.count}"}}')
            told = client.stories["bystander"]
            await client.until(lambda: f"by hand {self.count}" in told.messages, "what is said by hand is adopted")
        listed = await self.relay.http.get("/api/runs")
        if "runs" not in parts:
            assert "bystander" in {run["run_id"] for run in listed.json()["runs"]}
            seq = int(cursor.rpartition("-")[2])
            await client.until(
                lambda: any(
                    f["type"] == "run" and f["run_id"] == "bystander" and f["seq"] >= seq for f in client.frames
                ),
                "the list is fed",
            )
        assert listed.status_code in ((200, 502) if "runs" in parts else (200,))
        assert (await self.relay.http.get("/healthz")).status_code == 200
        assert self.relay.relay.ready

    async def tidy(self) -> None:
        """Begin the next example from nothing but the bystander."""
        for run_id in ("victim", "silent"):
            self.look.delete(*self.keys.run(run_id))
        self.look.delete(self.keys.runs, self.keys.alive, self.keys.lease("reaper"))
        if self.look.type(self.keys.lease("adoption")) != b"string":
            self.look.delete(self.keys.lease("adoption"))
        runlog = self.relay.relay.runlog
        await runlog.index({"bystander": await runlog.server_now_ms()})


async def _hold(
    start_relay: StartRelay,
    producer: Producer,
    redis_url: str,
    keys: Keys,
    caplog: pytest.LogCaptureFixture,
    examples: int,
) -> None:
    relay = await start_relay(end_after_s=0.05)
    await eventually(lambda: relay.relay.adopter.statistics().after_marker, "it adopts")
    relay.relay.hub.feed._every_s = 0.05
    loop, world = asyncio.get_running_loop(), World(relay, producer, redis_url, keys)

    async with AsyncExitStack() as stack:
        await world.begin(stack)

        async def one(written: list[Garbage]) -> None:
            await world.tidy()
            await world.after(written)
            assert relay.relay.failure is None
            await world.client.ping()
            surprises = [r for r in caplog.records if r.exc_info and r.levelno >= logging.ERROR]
            assert not surprises, "nothing of it was unexpected"

        @settings(max_examples=examples, deadline=None, suppress_health_check=[*HealthCheck], phases=PHASES)
        @given(st.lists(garbage, min_size=1, max_size=3))
        def holds(written: list[Garbage]) -> None:
            note(repr(written))
            asyncio.run_coroutine_threadsafe(one(written), loop).result(60)

        await asyncio.to_thread(holds)
    world.worker.close()
    world.look.close()


async def test_only_who_asks_for_that_run_sees_an_error(
    start_relay: StartRelay, producer: Producer, redis_url: str, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    """One field that somebody set by hand ended every relay, or made a worker's other runs look dead."""
    await _hold(start_relay, producer, redis_url, keys, caplog, 30)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_same_at_length(
    start_relay: StartRelay, producer: Producer, redis_url: str, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    """What thirty examples do not meet."""
    await _hold(start_relay, producer, redis_url, keys, caplog, 300)
