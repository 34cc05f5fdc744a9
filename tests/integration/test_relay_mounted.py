"""The relay inside someone else's FastAPI application, and for pages of another origin."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import pytest
import websockets
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from runrelay.api import create_app, relay_router
from runrelay.fastapi import router
from runrelay.pipelines import Pipeline
from runrelay.relay import Settings
from tests.support.clients import watch, watch_stream
from tests.support.relay import BOTH_PROTOCOLS, STANDARD, Producer, StartRelay, serve_here
from tests.support.servers import HOST


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


@BOTH_PROTOCOLS
async def test_the_application_s_dependencies_hold_for_sockets_too(
    redis_url: str, prefix: str, producer: Producer, run_id: str, tmp_path: Path, protocol: str
) -> None:
    """`include_router(router, dependencies=[…])` protected every route but the sockets, which show the same."""

    def members_only(connection: HTTPConnection) -> None:
        if connection.headers.get("x-member") != "yes":
            raise HTTPException(401, "members only")

    app = FastAPI()
    app.include_router(
        router(Settings(redis_url=redis_url, prefix=prefix, files=tmp_path, drain_s=0.5)),
        dependencies=[Depends(members_only)],
    )
    async with serve_here({}, ws=protocol, app=app) as served:
        await producer.say(run_id, log="secret")
        for url in (served.ws(run_id), served.ws()):
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with watch(url):
                    pass
            assert refused.value.response.status_code in (401, 403)
        assert (await served.http.get(served.run(run_id))).status_code == 401
        assert (await served.http.get(served.run(run_id, "/events"))).status_code == 401
        async with watch(served.ws(run_id), run_id, additional_headers={"X-Member": "yes"}) as client:
            assert (await client.frame("initial_state"))["logs"] == ["secret"]
        app.dependency_overrides[members_only] = lambda: None
        async with watch(served.ws(run_id), run_id) as client:
            await client.frame("initial_state")


@BOTH_PROTOCOLS
async def test_an_application_logs_no_token(
    redis_url: str,
    prefix: str,
    run_id: str,
    tmp_path: Path,
    protocol: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a URL is where browsers send it; and it is good for whoever reads the application's log."""
    app = FastAPI()
    app.include_router(router(Settings(redis_url=redis_url, prefix=prefix, files=tmp_path, drain_s=0.5)))
    async with serve_here({}, ws=protocol, app=app) as served:
        for name in ("uvicorn.access", "uvicorn.error"):  # which end in uvicorn's own handlers, and are quiet here
            caplog.set_level(logging.INFO, name)
            monkeypatch.setattr(logging.getLogger(name), "handlers", [caplog.handler])
        async with watch(served.ws(run_id, "token=of-the-socket"), run_id) as client:
            await client.frame("initial_state")
        await served.http.get(served.run(run_id) + "?after=&token=of-the-request&x=1")
    assert "token=…&x=1" in caplog.text
    assert "token=…" in next(line for line in caplog.messages if "[accepted]" in line)
    assert "of-the" not in caplog.text


class _Behind:
    """What `uvicorn --root-path` does to a request."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self.app = app
        self.path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            scope["root_path"], scope["path"] = self.path, self.path + scope["path"]
        await self.app(scope, receive, send)


@pytest.mark.parametrize("how", ["prefix", "root_path", "both"])
async def test_links_lead_to_where_the_router_is(
    redis_url: str, prefix: str, run_id: str, tmp_path: Path, how: str
) -> None:
    """Under a prefix of the application's or behind a proxy's, a client that follows them must get there."""

    class Nothing(BaseModel):
        pass

    pipeline = Pipeline("nothing", "Nothing", Nothing, lambda run_id, value, attempt: None)
    under = {"prefix": "/live", "root_path": "", "both": "/live"}[how]
    behind = {"prefix": "", "root_path": "/proxy", "both": "/proxy"}[how]
    app = FastAPI()
    app.add_middleware(_Behind, path=behind)
    settings = Settings(redis_url=redis_url, prefix=prefix, files=tmp_path, drain_s=0.5)
    app.include_router(relay_router(settings, {"nothing": pipeline}), prefix=under)
    async with serve_here({}, app=app) as served:
        answer = await served.http.post(f"{under}/api/runs", json={"pipeline": "nothing", "run_id": run_id})
        links = answer.json()["links"]
        assert answer.headers["location"] == links["self"]
        there = {name: link.removeprefix(behind) for name, link in links.items()}
        assert (await served.http.get(there["self"])).json()["run_id"] == run_id
        assert all(link.startswith(f"{behind}{under}/") for link in links.values())
        async with watch(f"ws://{HOST}:{served.port}{there['ws']}", run_id) as client:
            await client.frame("initial_state", status="queued")


async def test_under_a_server_without_extensions(redis_url: str, prefix: str, run_id: str, tmp_path: Path) -> None:
    """They are optional in ASGI: not even the key need be there."""

    class Plain:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            scope.pop("extensions", None)
            await self.app(scope, receive, send)

    settings = Settings(redis_url=redis_url, prefix=prefix, files=tmp_path, dashboard=False, max_connections=1)
    app = create_app(settings, {})
    app.add_middleware(Plain)
    async with serve_here({}, ws=STANDARD, app=app) as served, watch(served.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with watch(served.ws(run_id)):
                pass
        assert refused.value.response.status_code == 403


async def test_a_page_of_an_allowed_origin_may_read_and_resume(
    start_relay: StartRelay, producer: Producer, run_id: str
) -> None:
    """A front end on another host, whose EventSource sends a header of its own when it comes back."""
    relay = await start_relay(allowed_origins=("https://app.example",))
    await producer.say(run_id, "RENDERING")
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "cache-control,last-event-id,x-tenant",
    }
    answer = await relay.http.options(relay.run(run_id, "/events"), headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "last-event-id" in answer.headers["access-control-allow-headers"].lower()
    assert "x-tenant" in answer.headers["access-control-allow-headers"].lower(), "a header of the client's own"
    async with watch_stream(
        relay.http, relay.run(run_id, "/events"), run_id, headers={"Origin": "https://app.example"}
    ) as stream:
        await stream.frame("initial_state")
        headers = stream.response.headers
        assert headers["access-control-allow-origin"] == "https://app.example"
        assert "Last-Event-ID" in headers["access-control-expose-headers"]
    snapshot = await relay.http.get(relay.run(run_id), headers={"Origin": "https://app.example"})
    assert snapshot.headers["access-control-allow-credentials"] == "true", "a client with `credentials: include`"
    assert "ETag" in snapshot.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("host", "origin", "may"),
    [
        ("127.0.0.1:8000", "http://localhost:5173", True),
        ("localhost:8000", "http://[::1]:3000", True),
        ("relay.example", "http://localhost:5173", False),
        ("127.0.0.1:8000", "http://localhost.evil.example", False),
        ("127.0.0.1:8000", "https://evil.example", False),
    ],
)
async def test_a_development_server_on_another_port_may_read(
    start_relay: StartRelay, producer: Producer, run_id: str, host: str, origin: str, may: bool
) -> None:
    """The WebSocket worked, and the polling beside it did not."""
    relay = await start_relay()
    await producer.say(run_id, "RENDERING")
    answer = await relay.http.get(relay.run(run_id), headers={"Origin": origin, "Host": host})
    assert answer.headers.get("access-control-allow-origin") == (origin if may else None)
    asked = {"Origin": origin, "Host": host, "Access-Control-Request-Method": "DELETE"}
    preflight = await relay.http.options(relay.run(run_id), headers=asked)
    assert (preflight.status_code == 200) is may


async def test_a_refused_page_is_logged_with_what_would_allow_it(
    start_relay: StartRelay, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A 403 behind a proxy that drops the Host header looks like any other."""
    relay = await start_relay()
    with pytest.raises(websockets.InvalidStatus):
        async with watch(relay.ws(run_id), origin="https://shop.example"):
            pass
    (record,) = [one for one in caplog.records if "was refused" in one.getMessage()]
    for part in ("'https://shop.example'", f"'127.0.0.1:{relay.port}'", "RUNRELAY_ALLOWED_ORIGINS", "Host header"):
        assert part in record.getMessage()


@pytest.mark.parametrize("allowed", [(), ("https://app.example",)])
async def test_a_foreign_page_reads_nothing(
    start_relay: StartRelay, producer: Producer, run_id: str, allowed: tuple[str, ...]
) -> None:
    """The browser holds it back, if we do not say that it may."""
    relay = await start_relay(allowed_origins=allowed)
    await producer.say(run_id, "RENDERING")
    answer = await relay.http.get(relay.run(run_id), headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_where_every_page_may_read_none_may_with_cookies(
    start_relay: StartRelay, producer: Producer, run_id: str
) -> None:
    """Any page could read what its visitor may see."""
    relay = await start_relay(allowed_origins=("*",))
    await producer.say(run_id, "RENDERING")
    answer = await relay.http.get(relay.run(run_id), headers={"Origin": "https://any.example", "Cookie": "session=1"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
