"""The relay and the application's lifespan: what runs it, what is said without it, and one relay for each router."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import websockets
from fastapi import FastAPI
from starlette.testclient import TestClient, WebSocketDenialResponse

from runrelay.api import create_app
from runrelay.fastapi import Settings, router
from runrelay.runlog import Keys
from tests.support.clients import asked_until, watch
from tests.support.relay import STANDARD, Producer, serve_here


@pytest.fixture
def settings(redis_url: str, prefix: str, tmp_path: Path) -> Settings:
    return Settings(redis_url=redis_url, prefix=prefix, files=tmp_path, drain_s=0.5)


def _included(settings: Settings) -> FastAPI:
    app = FastAPI()
    app.include_router(router(settings))
    return app


def _mounted(settings: Settings) -> FastAPI:
    app = FastAPI()
    app.mount("/relay", create_app(settings, {}))
    return app


@pytest.mark.parametrize(("build", "under"), [(_included, ""), (_mounted, "/relay")], ids=["included", "mounted"])
def test_without_a_lifespan_the_answer_says_what_is_missing(
    settings: Settings, build: Callable[[Settings], FastAPI], under: str, run_id: str
) -> None:
    """`TestClient(app)` without `with`, and `app.mount`, ended in an AttributeError of a `State`."""
    client = TestClient(build(settings))
    for path in (f"/api/runs/{run_id}", f"/api/runs/{run_id}/events", "/healthz", "/readyz", "/metrics"):
        answer = client.get(under + path)
        assert answer.status_code == 503
        assert "lifespan" in answer.json()["detail"]
    assert client.post(f"{under}/api/runs", json={}).status_code == 503
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(f"{under}/ws/{run_id}"):
        pass
    assert refused.value.status_code == 503
    assert "lifespan" in refused.value.text


def test_with_the_lifespan_a_test_client_works(settings: Settings, run_id: str) -> None:
    """The control: the same application, used as the message says."""
    with TestClient(_included(settings)) as client:
        assert client.get("/healthz").text == "ok\n"
        with client.websocket_connect(f"/ws/{run_id}") as socket:
            while (frame := socket.receive_json())["type"] != "initial_state":
                assert frame["type"] == "upstream", "Redis is not heard yet"
            assert frame["run_id"] == run_id


async def test_a_mounted_relay_runs_in_the_outer_lifespan(
    settings: Settings, producer: Producer, run_id: str, tmp_path: Path
) -> None:
    """The lines of docs/troubleshooting.md."""
    relay = create_app(settings, {})

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with relay.router.lifespan_context(relay):
            app.state.runrelay = relay.state.runrelay
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/relay", relay)
    async with serve_here({}, app=app, http="auto", ws=STANDARD) as served:
        await producer.say(run_id, log="heard")
        assert (await served.http.get(f"/relay/api/runs/{run_id}")).json()["logs"] == ["heard"]
        async with watch(f"ws://127.0.0.1:{served.port}/relay/ws/{run_id}", run_id) as client:
            assert (await client.frame("initial_state"))["logs"] == ["heard"]


async def test_two_routers_have_a_relay_each(
    redis_url: str, prefix: str, producer: Producer, run_id: str, tmp_path: Path
) -> None:
    """Both showed the first one's runs: with its own prefix, the second customer's page showed the first's logs."""
    app = FastAPI()
    prefixes = {"/a": prefix, "/b": f"{prefix}b"}
    for path, keys in prefixes.items():
        app.include_router(router(Settings(redis_url=redis_url, prefix=keys, files=tmp_path, drain_s=0.5)), prefix=path)
    other = Producer(redis_url, Keys(prefixes["/b"], f"{prefixes['/b']}:progress"))
    async with serve_here({}, app=app) as served:
        await producer.say(run_id, log="of a")
        await other.say(run_id, log="of b")

        async def shown(path: str) -> list[list[str]]:
            polled = (await served.http.get(f"{path}/api/runs/{run_id}")).json()["logs"]
            async with watch(f"ws://127.0.0.1:{served.port}{path}/ws/{run_id}", run_id) as client:
                return [polled, (await client.frame("initial_state"))["logs"]]

        for path in prefixes:
            await asked_until(served.http, f"{path}/readyz", lambda answer: answer.status_code == 200)
        found = await asyncio.gather(*(shown(path) for path in [*prefixes] * 5))
        assert found == [[["of a"]] * 2, [["of b"]] * 2] * 5
        assert (await served.http.post("/a/api/runs", json={"pipeline": "?"})).status_code == 404
    await other.runlog.close()


async def test_a_router_that_is_included_twice_has_one_relay(settings: Settings, run_id: str) -> None:
    """Under two prefixes, for a move from one to the other."""
    app, twice = FastAPI(), router(settings)
    for path in ("/old", "/new"):
        app.include_router(twice, prefix=path)
    async with serve_here({}, app=app) as served:
        names = {(await served.http.get(f"{path}/api/stats")).json()["relay"] for path in ("/old", "/new")}
        assert len(names) == 1
        async with websockets.connect(f"ws://127.0.0.1:{served.port}/new/ws/{run_id}", proxy=None):
            pass
