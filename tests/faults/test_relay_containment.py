"""One run, one client, one message: what fails for it ends there."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from runrelay.api.sessions import RunSession
from runrelay.fanout import catchup, direct_sends, frame_cutting
from runrelay.fanout.containment import Children, Containment
from runrelay.fanout.feed import RunListFeed
from runrelay.fanout.subscribers import Subscribers
from runrelay.fanout.topics import Topic
from runrelay.metrics import RelayMetrics
from runrelay.progress import Event, make_event
from runrelay.relay import adoption_queue
from runrelay.runlog import AsyncRunLog, Keys
from runrelay.runlog.troubles import _NOBODYS_RUN
from tests.support.clients import Client, eventually, watch
from tests.support.relay import Producer, RelayProcess, Served, StartProcess, StartRelay
from tests.support.servers import Server

ROOT = Path(__file__).parents[2]
DEEP = b"[" * 254 + b"]" * 254


async def _other_run_lives(relay: Served | RelayProcess, producer: Producer, client: Client) -> None:
    """Whether somebody who has been watching another run all the while is still told everything."""
    await client.reached(await producer.lines("other", 1, 3))
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        for path in ("/healthz", "/readyz", "/api/runs"):
            assert (await http.get(relay.url + path)).status_code == 200, path


@pytest.mark.slow
async def test_a_message_that_killed_every_relay_is_one_run_s(
    start_process: StartProcess, producer: Producer, keys: Keys
) -> None:
    """By hand, and as an older worker has committed it: every relay died of it, and again after each restart."""
    relay = start_process(workers=2)
    pids = relay.serving()
    assert len(pids) == 2
    for number in range(20):  # until one of them adopts
        await producer.publish(f'{{"run_id":"adopted","log":"{number}"}}')
        if (await producer.runlog.read("adopted")).snapshot.exists:
            break
        await asyncio.sleep(0.2)
    async with watch(relay.ws("other"), "other") as other:
        await other.frame("initial_state")
        # what the check refuses now was let through by older ones
        old = Event(1, state="END", result=DEEP, data=b'{"a":' + DEEP + b"}")
        async with watch(relay.ws("old", "after=0-0"), "old", "0-0") as watched:
            await watched.frame("resumed")
            await producer.commit("old", [make_event("RENDERING"), old])
            await watched.frame("progress", status="succeeded")
        await producer.publish(b'{"run_id":"p","state":"END","result":' + DEEP + b"}")
        for run_id in ("p", "old"):
            for _ in range(6):  # each of the processes
                async with watch(relay.ws(run_id), run_id) as client:
                    state = await client.frame("initial_state")
                    assert state["result"] is None
        async with watch(relay.ws("old", "after=0-0"), "old", "0-0") as client:
            assert (await client.frame("progress", status="succeeded"))["result"] is None
        assert not (await producer.runlog.read("p")).snapshot.exists, "it is refused"
        await _other_run_lives(relay, producer, other)
    assert relay.serving() == pids
    assert "Traceback" not in relay.log


def _failing(real: Callable[..., Any], run_id_of: Callable[..., str]) -> Callable[..., Any]:
    def failing(*args: Any, **more: Any) -> Any:
        if run_id_of(*args, **more) == "bad":
            raise KeyError("a fault of ours")
        return real(*args, **more)

    return failing


FAULTS: dict[str, tuple[Any, str, Callable[..., str]]] = {
    "taking messages": (Topic, "_deliver_backlog", lambda topic: topic.run_id),
    "after a delivery": (Topic, "_record_status", lambda topic, frame: topic.run_id),
    "a repair": (Topic, "_catch_up", lambda topic, view: topic.run_id),
    "an admission": (Topic, "_admit", lambda topic, *_: topic.run_id),
    "a catchup": (catchup, "initial_state_frame", lambda snapshot, **_: snapshot.run_id),
    "a read": (AsyncRunLog, "read", lambda runlog, run_id, *_, **__: run_id),
    "an event's frame": (frame_cutting, "progress_frame", lambda message, *_: message["run_id"]),
    "the end": (RunSession, "run_ended", lambda session: session.run_id),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_ours_in_one_run_is_that_run_s(
    start_relay: StartRelay, producer: Producer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:  # fmt: skip
    """In a task of the hub's it ended the relay; in a callback of the loop nobody heard of it."""
    relay = await start_relay(end_after_s=0.1)
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(watch(relay.ws("other"), "other"))
        many = await stack.enter_async_context(watch(relay.ws()))
        await other.frame("initial_state")
        many.expect("other")
        for run_id in ("other", "bad"):
            await many.say(type="subscribe", run_id=run_id)
            await many.frame("initial_state", run_id=run_id)
        bad = await stack.enter_async_context(watch(relay.ws("bad"), "bad"))
        await bad.frame("initial_state")
        place, name, run_id_of = FAULTS[fault]
        monkeypatch.setattr(place, name, _failing(getattr(place, name), run_id_of))
        forged = '{"run_id":"bad","epoch":"aaaaaaaaaaaa","seq":9,"state":null,"progress":null,"log":"x",'
        await producer.publish(forged + '"status":"running","ts":1,"attempt":1}')  # makes it look at its log
        cursor = await producer.say("bad", "RENDERING", log="line 1", level="warning")
        await producer.say("bad", "END")
        late = await stack.enter_async_context(watch(relay.ws("bad")))
        await late.until(lambda: late.frames or late.closed, "an answer")
        await eventually(lambda: relay.relay.metrics.contained, "it is counted")
        closed = [client for client in (bad, late) if client.closed]
        assert all(client.connection.close_code == 1011 for client in closed)
        assert all(client.frames[-1]["code"] == 1011 for client in closed)
        if fault in ("taking messages", "after a delivery", "a repair", "an event's frame"):
            await bad.close_code()
            await many.frame("error", run_id="bad", code=1011)
        monkeypatch.undo()
        async with watch(relay.ws("bad"), "bad") as again:  # the fault may pass: whoever comes then begins anew
            assert (await again.frame("initial_state"))["status"] == "succeeded"
        await many.reached(await producer.say("other", log="line 0"), "other")
        await _other_run_lives(relay, producer, other)
    assert relay.relay.failure is None
    assert cursor
    traces = [record for record in caplog.records if record.exc_info]
    assert 1 <= len(traces) <= 5
    assert "'bad'" in caplog.text


async def test_a_fault_of_one_connection_is_that_client_s(
    relay: Served, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others of its run were told nothing more: the delivery ended with it."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(watch(relay.ws("r"), "r")) for _ in range(3)]
        for client in clients:
            await client.frame("initial_state")
        broken = next(iter(relay.relay.hub.connections))

        def send(self: Any, *args: Any, **more: Any) -> bool:
            if self is broken:
                raise AttributeError("a fault of ours")
            return real(self, *args, **more)

        real = type(broken).send
        monkeypatch.setattr(type(broken), "send", send)
        monkeypatch.setattr(direct_sends, "ENABLED", False)  # so that `send` is called
        cursor = await producer.say("r", log="line 1")
        reached = 0
        for client in clients:
            await client.until(lambda c=client: c.closed or c.story.position == cursor, "told, or cut off")  # type: ignore[misc]
            reached += client.story.position == cursor
        assert reached == 2
        assert relay.relay.metrics.contained == 1


@pytest.mark.parametrize("contained", [True, False])
async def test_a_task_of_one_run_ends_alone(contained: bool) -> None:
    """The control is a task group, which is what they were in."""

    async def fails() -> None:
        raise KeyError("a fault of ours")

    async def goes_on() -> None:
        await asyncio.sleep(0)
        await asyncio.Event().wait()

    metrics = RelayMetrics()
    if contained:
        children = Children(Containment(metrics))
        living = children.spawn(goes_on(), "watch x", "x")
        children.spawn(fails(), "watch y", "y")
        await eventually(lambda: metrics.contained == 1, "it is counted")
        assert not living.done()
        await children.end()
        assert living.cancelled()
        with pytest.raises(RuntimeError, match="has ended"):
            children.spawn(goes_on(), "watch z", "z")
    else:
        living = asyncio.ensure_future(goes_on())

        async def group() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(asyncio.wait_for(living, None))
                tasks.create_task(fails())

        with pytest.raises(ExceptionGroup):
            await group()
        assert living.cancelled()


def test_a_million_failures_are_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever can cause one can cause a million: their tracebacks filled the disk."""
    metrics = RelayMetrics()
    containment = Containment(metrics)
    for number in range(10_000):
        containment.record(KeyError("a fault of ours"), "topic", f"r{number % 2_000}")
    assert metrics.contained == 10_000
    assert len(caplog.records) == 20
    assert caplog.records[0].levelno == logging.ERROR
    assert "'r0'" in caplog.records[0].getMessage()


def test_a_delivery_that_is_given_up_does_not_go_on() -> None:
    """It takes several turns of the loop: one that had failed would go on with what is left of it."""
    subscribers = Subscribers(RelayMetrics(), lambda frames: None)
    subscribers.discard()
    subscribers._send_next_later()
    assert subscribers.idle.is_set()


async def test_a_change_that_cannot_be_told_does_not_stop_the_list_s_feed(
    relay: Served, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended the relay."""
    real = RunListFeed._send_changes
    turns = itertools.count()

    async def tell(self: RunListFeed, run_ids: list[str], now: float) -> None:
        if next(turns) == 0:
            raise OverflowError("a fault of ours")
        await real(self, run_ids, now)

    monkeypatch.setattr(RunListFeed, "_send_changes", tell)
    async with watch(relay.ws()) as client:
        await client.say(type="subscribe", runs=True)
        await client.frame("subscribed")
        await producer.say("r", "RENDERING")
        await client.frame("run", run_id="r")
    assert relay.relay.failure is None


# Adoption


@pytest.mark.parametrize("given_up", [True, False])
async def test_a_run_that_may_not_be_written_does_not_keep_others_waiting(
    start_valkey: Callable[..., Server], start_relay: StartRelay, prefix: str, keys: Keys,
    monkeypatch: pytest.MonkeyPatch, given_up: bool,
) -> None:  # fmt: skip
    """Its commit fails for now, for ever, and nothing else was adopted any more."""
    server = start_valkey()
    if not given_up:
        monkeypatch.setattr(adoption_queue, "_MAX_TRIES", 1_000_000)
    else:
        monkeypatch.setattr(adoption_queue, "_RETRY_S", 0.02)
    with server.client() as look:
        patterns = [f"~{prefix}:lease:*", f"~{keys.runs}", f"~{keys.alive}", f"~{prefix}:run:{{ok*", f"&{prefix}:*"]
        patterns.append(f"~{prefix}:run:{{{_NOBODYS_RUN}*")  # by which a relay finds out what it may
        look.execute_command("ACL", "SETUSER", "relay", "on", ">secret", "+@all", *patterns)  # type: ignore[no-untyped-call]
        url = server.url.replace("redis://", "redis://relay:secret@")
        relay = await start_relay(redis_url=url)
        await eventually(lambda: relay.relay.adopter.statistics().after_marker, "it adopts")
        for number in range(30):
            look.publish(keys.channel, f'{{"run_id":"poison","log":"{number}"}}')
            look.publish(keys.channel, f'{{"run_id":"ok {number}","log":"{number}"}}')
            await eventually(lambda n=number: look.exists(keys.run(f"ok {n}")[0]), "others are adopted", 5.0)  # type: ignore[misc]
        if given_up:
            await eventually(lambda: relay.relay.metrics.adoption_refused, "it is given up, and counted")
        else:
            assert relay.relay.metrics.adoption_refused == 0
        # the key is there before the relay has its reply
        await eventually(lambda: relay.relay.metrics.adopted == 30, "all are counted")
