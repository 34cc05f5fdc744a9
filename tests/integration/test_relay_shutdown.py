"""A relay that is asked to end, or that dies: where its clients go."""

from __future__ import annotations

import asyncio
import json
import signal

import httpx

from tests.support.clients import Client, watch, watch_stream
from tests.support.relay import Producer, StartProcess


def test_asked_to_end_the_relay_sends_its_clients_elsewhere_spread_out(
    start_process: StartProcess, producer: Producer, run_id: str
) -> None:
    """Ten thousand clients that all come back at once bring down the relay that is left."""
    relay = start_process(drain_s=3)

    async def clients() -> list[Client]:
        seen: list[Client] = []

        async def one(ready: asyncio.Barrier) -> None:
            async with watch(relay.ws(run_id), run_id) as client:
                seen.append(client)
                await client.frame("initial_state")
                await ready.wait()
                await client.close_code()

        ready = asyncio.Barrier(21)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(one(ready))
            await ready.wait()
            relay.signal(signal.SIGTERM)
        return seen

    seen = asyncio.run(clients())
    assert {client.connection.close_code for client in seen} == {1012}
    waits = {json.loads(client.connection.close_reason or "")["retry_in_ms"] for client in seen}
    assert len(waits) > 10
    assert max(waits) - min(waits) > 1000
    relay.wait()
    assert "Traceback" not in relay.log
    assert "ERROR" not in relay.log


def test_a_stream_that_is_drained_does_not_say_that_the_run_has_ended(
    start_process: StartProcess, producer: Producer, run_id: str
) -> None:
    """A browser would stop watching a run that goes on."""
    relay = start_process(drain_s=3)

    async def client() -> list[str]:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=20) as http,
            watch_stream(http, relay.run(run_id, "/events"), run_id) as stream,
        ):
            await stream.frame("initial_state")
            relay.signal(signal.SIGTERM)
            await stream.until(lambda: stream.closed, "the stream's end")
            return [frame["type"] for frame in stream.frames]

    assert asyncio.run(client()) == ["initial_state"]
    relay.wait()
    assert "Traceback" not in relay.log


def test_a_second_signal_does_not_wait(start_process: StartProcess, run_id: str) -> None:
    """Who presses Ctrl-C twice means it."""
    relay = start_process(drain_s=600)

    async def client() -> int:
        async with watch(relay.ws(run_id), run_id) as client:
            await client.frame("initial_state")
            client.may_read.clear()
            relay.signal(signal.SIGTERM)
            relay.signal(signal.SIGINT)
            relay.signal(signal.SIGINT)
            return await asyncio.to_thread(relay.wait)

    asyncio.run(client())
    assert "Traceback" not in relay.log
