"""The relay inside someone else's FastAPI application, and for pages of another origin."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from fastapi import FastAPI

from runrelay.api import Settings
from runrelay.fastapi import router
from tests.relays import BOTH_PROTOCOLS, Producer, StartRelay, serve_here
from tests.watching import watch, watch_stream

pytest_plugins = ["tests.relay_rig"]


@BOTH_PROTOCOLS
async def test_included_in_an_application(
    redis_url: str, prefix: str, producer: Producer, run_id: str, tmp_path: Path, protocol: str
) -> None:
    """The few lines of the README; the application keeps its own routes, errors and signals."""
    app = FastAPI()

    @app.get("/mine")
    async def mine() -> dict[str, bool]:
        return {"mine": True}

    app.include_router(router(Settings(redis_url=redis_url, prefix=prefix, files=tmp_path, drain_s=0.5)))
    handler = signal.getsignal(signal.SIGTERM)
    async with serve_here({}, ws=protocol, app=app) as served:
        assert signal.getsignal(signal.SIGTERM) is handler
        assert (await served.http.get("/mine")).json() == {"mine": True}
        async with (
            watch(served.ws(run_id), run_id) as client,
            watch_stream(served.http, served.run(run_id, "/events"), run_id) as stream,
        ):
            await client.frame("initial_state")
            await stream.frame("initial_state")
            last = await producer.lines(run_id, 1, 3)
            await client.reached(last)
            await stream.reached(last)
        assert (await served.http.get(served.run(run_id))).json()["id"] == last
        wrong = [("GET", served.run("never seen"), 404), ("GET", served.run("a{b"), 400), ("POST", "/api/runs", 422)]
        for method, url, status in wrong:
            answer = await served.http.request(method, url)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json", "our errors, without its handlers"
        assert (await served.http.get("/not/ours")).headers["content-type"] == "application/json", "its own are its own"


async def test_a_page_of_an_allowed_origin_may_read_and_resume(
    start_relay: StartRelay, producer: Producer, run_id: str
) -> None:
    """A front end on another host, whose EventSource sends a header of its own when it comes back."""
    relay = await start_relay(allowed_origins=("https://app.example",))
    await producer.say(run_id, "RENDERING")
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "last-event-id",
    }
    answer = await relay.http.options(relay.run(run_id, "/events"), headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "last-event-id" in answer.headers["access-control-allow-headers"].lower()
    async with watch_stream(
        relay.http, relay.run(run_id, "/events"), run_id, headers={"Origin": "https://app.example"}
    ) as stream:
        await stream.frame("initial_state")
        headers = stream.response.headers
        assert headers["access-control-allow-origin"] == "https://app.example"
        assert "Last-Event-ID" in headers["access-control-expose-headers"]
    snapshot = await relay.http.get(relay.run(run_id), headers={"Origin": "https://app.example"})
    assert "ETag" in snapshot.headers["access-control-expose-headers"]


@pytest.mark.parametrize("allowed", [(), ("https://app.example",)])
async def test_a_foreign_page_reads_nothing(
    start_relay: StartRelay, producer: Producer, run_id: str, allowed: tuple[str, ...]
) -> None:
    """The browser holds it back, if we do not say that it may."""
    relay = await start_relay(allowed_origins=allowed)
    await producer.say(run_id, "RENDERING")
    answer = await relay.http.get(relay.run(run_id), headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
