"""How a WebSocket is refused, cut off or sent elsewhere: an `error` frame, then the contract's close code."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import suppress
from typing import Any

import jwt
import pytest
import websockets
from pydantic import SecretStr

from tests.support.clients import eventually, watch
from tests.support.recording_pipeline import Works, problem
from tests.support.relay import BOTH_PROTOCOLS, FAST, Producer, Served, StartRelay
from tests.support.servers import HOST

pytestmark = BOTH_PROTOCOLS

SECRET = "a secret of thirty-two characters"


async def _refusal(url: str, code: int, **options: Any) -> str:
    """The message of the error frame before a close with this code."""
    async with watch(url, **options) as client:
        assert await client.close_code() == code
        (error,) = [frame for frame in client.frames if frame["type"] == "error"]
    assert client.frames[-1] is error, "the error is the last that is said"
    assert error["code"] == code
    assert "Traceback" not in error["message"]
    return str(error["message"])


# Frames that the client sends


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ("null", "object"),
        ('"ping"', "object"),
        ("{}", "type"),
        ('{"type": 1}', "type"),
        ('{"type": "dance"}', "dance"),
        ('{"type": "subscribe", "run_id": "x"}', "subscribe"),
        (b"\xff\xfe", "JSON"),
        ("[" * 5000, "JSON"),
    ],
)
async def test_a_malformed_frame_closes_with_4400(relay: Served, run_id: str, sent: str | bytes, why: str) -> None:
    """A client with a mistake must learn of it, and not try again."""
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        await client.connection.send(sent)
        assert await client.close_code() == 4400
    assert client.frames[-1]["type"] == "error"
    assert client.frames[-1]["code"] == 4400
    assert why in client.frames[-1]["message"]


async def test_a_frame_over_the_limit_closes_with_1009(start_relay: StartRelay, run_id: str) -> None:
    """A client that sends without end would fill the relay."""
    relay = await start_relay(max_frame_bytes=1000)
    fits = '{"type": "ping", "pad": "' + "x" * 900 + '"}'
    async with watch(relay.ws(run_id), run_id) as client:
        await client.connection.send(fits)
        await client.frame("pong")
        await client.connection.send(fits + " " * 200)
        assert await client.close_code() == 1009
    assert client.frames[-1]["code"] == 1009
    assert "1000" in client.frames[-1]["message"]
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        with suppress(websockets.ConnectionClosed):
            await client.connection.send("x" * 3_000_000)  # over what the server below us takes
        assert await client.close_code() == 1009


async def test_bytes_are_counted_and_not_characters(start_relay: StartRelay, run_id: str) -> None:
    """A frame of Hangul has three bytes a character."""
    relay = await start_relay(max_frame_bytes=1000)
    async with watch(relay.ws(run_id), run_id) as client:
        await client.connection.send('{"type": "ping", "pad": "' + "가" * 400 + '"}')
        assert await client.close_code() == 1009


# Run ids and cursors


@pytest.mark.parametrize(
    "path", ["a%2Fb", "a/b", "%7Ba%7D", "a%0Ab", "%00", ".", "..%2f", "%2e%2e", "x" * 201, "%ff", "%ed%a0%80"]
)
async def test_a_malformed_run_id_closes_with_4400(relay: Served, path: str) -> None:
    """A key of Redis is made of it."""
    url = f"ws://{HOST}:{relay.port}/ws/{path}"
    if path in (".", "%ff", "%ed%a0%80"):
        # clients resolve `.` themselves; what is no UTF-8 arrives as U+FFFD, and that is a legal name
        path = {".": "%2e"}.get(path, path)
        url = f"ws://{HOST}:{relay.port}/ws/{path}"
    if path in ("%ff", "%ed%a0%80"):
        async with watch(url) as client:
            assert (await client.frame("initial_state"))["status"] == "unknown"
        return
    assert "run_id" in await _refusal(url, 4400)


@pytest.mark.parametrize(
    "cursor",
    [
        "", "7", "x-7", "k3x9m2p7q1za", "k3x9m2p7q1za-", "k3x9m2p7q1za--1", "k3x9m2p7q1za-07", "K3X9M2P7Q1ZA-7",
        "k3x9m2p7q1za-1e3", "k3x9m2p7q1za-" + "9" * 16, "0-1", "x" * 5000, "%00",
    ],
)  # fmt: skip
async def test_a_malformed_cursor_closes_with_4400(relay: Served, run_id: str, cursor: str) -> None:
    """Guessing what a client meant would show it a run with a hole."""
    assert "cursor" in await _refusal(relay.ws(run_id, f"after={cursor}"), 4400)


# Origins and tokens


@pytest.mark.parametrize(
    ("origin", "allowed", "status"),
    [
        ("https://evil.example", (), 403),
        ("null", (), 403),
        ("http://[", (), 403),
        ("https://app.example", ("https://app.example",), 101),
        ("https://evil.example", ("https://app.example",), 403),
        ("https://any.example", ("*",), 101),
        ("http://localhost:5173", (), 101),
        (None, (), 101),
    ],
)
async def test_a_foreign_page_is_refused_before_accepting(
    start_relay: StartRelay, run_id: str, origin: str | None, allowed: tuple[str, ...], status: int
) -> None:
    """Any page on the web could read the runs of whoever visits it: no same-origin policy holds WebSockets back."""
    relay = await start_relay(allowed_origins=allowed)
    if status == 101:
        async with watch(relay.ws(run_id), run_id, origin=origin) as client:
            await client.frame("initial_state")
        return
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with watch(relay.ws(run_id), origin=origin):
            pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("origin", "allowed", "status"),
    [
        ("https://evil.example", (), 403),
        ("null", (), 403),  # a sandboxed frame
        ("https://shop.example", ("https://shop.example",), 202),
        (None, (), 202),
    ],
)
async def test_a_form_on_a_foreign_page_changes_nothing(
    start_relay: StartRelay, works: Works, run_id: str, origin: str | None, allowed: tuple[str, ...], status: int
) -> None:
    """A browser sends a form's POST to anywhere without asking first: any page could cancel and retry runs."""
    relay = await start_relay({"test": works.pipeline()}, allowed_origins=allowed)
    headers = {} if origin is None else {"Origin": origin}
    body = {"pipeline": "test", "input": {"prompt": "x"}, "run_id": run_id}
    answer = await relay.http.post("/api/runs", json=body, headers=headers)
    assert answer.status_code == status
    assert len(works.started) == (status == 202)
    if status == 403:
        assert "may not do this" in problem(answer, 403)["detail"]
        assert (await relay.http.post("/api/runs", json=body)).status_code == 202
    for method, path, done in (
        ("POST", "/cancel", 202), ("POST", "/retry", 202), ("POST", "/cancel", 202), ("DELETE", "", 204),
    ):  # fmt: skip
        changed = await relay.http.request(method, relay.run(run_id, path), headers=headers)
        assert changed.status_code == (403 if status == 403 else done)
    assert len(works.cancelled) == (0 if status == 403 else 2)
    assert (await relay.http.get(relay.run(run_id), headers=headers)).status_code == (200 if status == 403 else 404)


def _token(seconds: float = 60, **claims: Any) -> str:
    return jwt.encode({"sub": "somebody", "exp": time.time() + seconds, **claims}, SECRET, "HS256")


async def test_without_a_valid_token_4401(start_relay: StartRelay, run_id: str) -> None:
    """The run's log is not for everybody."""
    relay = await start_relay(jwt_secret=SecretStr(SECRET))
    other = jwt.encode({"exp": time.time() + 60}, "another secret of thirty-two chars", "HS256")
    unsigned = jwt.encode({"exp": time.time() + 60}, "", "none")
    for query in ("", "token=nonsense", f"token={_token(-60)}", f"token={other}", f"token={unsigned}"):
        message = await _refusal(relay.ws(run_id, query), 4401)
        assert "token" in message
    forever = jwt.encode({"sub": "x"}, SECRET, "HS256")
    assert "exp" in await _refusal(relay.ws(run_id, f"token={forever}"), 4401)


async def test_a_token_covers_what_it_says_else_4403(start_relay: StartRelay, run_id: str) -> None:
    """Who may see one run may not see all."""
    relay = await start_relay(jwt_secret=SecretStr(SECRET))
    token = _token(runs=[run_id])
    async with watch(relay.ws(run_id, f"token={token}"), run_id) as client:
        await client.frame("initial_state")
    async with watch(relay.ws(run_id), run_id, additional_headers={"Authorization": f"Bearer {token}"}) as client:
        await client.frame("initial_state")
    assert "other" in await _refusal(relay.ws("other", f"token={token}"), 4403)
    async with watch(relay.ws(None, f"token={token}")) as many:
        await many.say(type="subscribe", run_id="other")
        assert (await many.frame("error", run_id="other"))["code"] == 4403
        await many.say(type="subscribe", runs=True)
        assert (await many.frame("error", code=4403))["code"] == 4403
        await many.say(type="subscribe", run_id=run_id)
        await many.frame("initial_state", run_id=run_id)


async def test_a_token_that_expires_ends_the_connection(start_relay: StartRelay, run_id: str) -> None:
    """A connection lasts for hours: a token that is checked once would last as long."""
    relay = await start_relay(jwt_secret=SecretStr(SECRET))
    query = f"token={_token(2.1)}"
    async with watch(relay.ws(run_id, query)) as one, watch(relay.ws(None, query)) as many:
        await one.ping()
        await many.ping()
        assert await one.close_code() == 4401
        assert await many.close_code() == 4401
    assert one.frames[-1]["message"] == many.frames[-1]["message"] == "the token has expired"


# Limits


async def test_too_many_from_one_address_4429(start_relay: StartRelay, run_id: str) -> None:
    """One machine could take every place."""
    relay = await start_relay(max_connections_per_address=2)
    async with watch(relay.ws(run_id), run_id), watch(relay.ws("other")) as second:
        async with watch(relay.ws(run_id)) as third:
            assert await third.close_code() == 4429
        assert third.frames[-1]["code"] == 4429
        assert 0 < json.loads(third.connection.close_reason or "")["retry_in_ms"] <= 5000
        await second.connection.close()
        await eventually(lambda: relay.relay.limits.total == 1, "the place is free again")
        async with watch(relay.ws(run_id), run_id) as fourth:
            await fourth.frame("initial_state")


async def test_too_many_for_one_run_4429(start_relay: StartRelay, run_id: str) -> None:
    """A run that everybody watches would take every place."""
    relay = await start_relay(max_connections_per_run=1)
    async with watch(relay.ws(run_id), run_id) as first:
        await first.frame("initial_state")
        assert "run" in await _refusal(relay.ws(run_id), 4429)
        async with watch(relay.ws("other"), "other") as other:
            await other.frame("initial_state")
        async with watch(relay.ws()) as many:
            await many.say(type="subscribe", run_id=run_id)
            assert (await many.frame("error", run_id=run_id))["code"] == 4429
            await many.ping()  # an error about one run does not close


async def test_above_the_total_503_with_retry_after(start_relay: StartRelay, run_id: str) -> None:
    """A full relay refuses before it accepts, so that a load balancer sees it."""
    relay = await start_relay(max_connections=1)
    async with watch(relay.ws(run_id), run_id) as first:
        await first.frame("initial_state")
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with watch(relay.ws(run_id)):
                pass
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) > 0
        answer = await relay.http.get(relay.run(run_id, "/events"))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert (await relay.http.get(relay.run(run_id), params={"wait": "0", "after": "0-0"})).status_code == 404
        held = await relay.http.get(relay.run(run_id), params={"wait": "30", "after": "0-0"})
        assert (held.status_code, held.headers["Retry-After"]) == (503, "2")
        assert relay.relay.metrics.refused == 3


async def test_a_held_request_is_a_connection(start_relay: StartRelay, producer: Producer, run_id: str) -> None:
    """Whoever is refused a WebSocket could hold requests instead, thousands. What is answered at once never counts."""
    relay = await start_relay(max_connections_per_run=1)
    cursor = await producer.say(run_id, "RENDERING")
    params = {"wait": "30", "after": cursor}
    asking = asyncio.create_task(relay.http.get(relay.run(run_id), params=params))
    await eventually(lambda: relay.relay.held, "the first is held")
    refused = await relay.http.get(relay.run(run_id), params=params)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
    assert "run" in refused.json()["detail"]
    assert (await relay.http.get(relay.run(run_id), params={"after": cursor})).status_code == 200
    assert (await relay.http.get(relay.run(run_id, "/events"))).status_code == 429
    await producer.say(run_id, progress=0.5)
    assert (await asking).json()["progress"] == 0.5
    await eventually(lambda: relay.relay.limits.total == 0, "its place is free again")
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")


# A client that does not keep up


def _narrow_socket(relay: Served) -> socket.socket:
    """A socket whose kernel takes little, so that what is not read waits in the relay."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect((HOST, relay.port))
    narrow.setblocking(False)
    return narrow


async def _flood_until_cut(relay: Served, producer: Producer, run_id: str) -> str:
    """Publish until the relay has cut one client off; returns the last cursor."""
    connections = [*relay.relay.hub.connections]
    for n in range(2000):
        cursor = await producer.say(run_id, log=f"{n} " + "x" * 16_000)
        if any(getattr(connection, "closed", None) for connection in connections):
            return cursor
    raise AssertionError("nobody was cut off by 32 MB")


async def test_a_slow_client_is_cut_off_and_comes_back(
    start_relay: StartRelay, producer: Producer, run_id: str
) -> None:
    """Else it fills the relay's memory, or delays the others. Nothing is skipped for it, and nobody waits for it."""
    relay = await start_relay(client_buffer_bytes=200_000)
    await producer.say(run_id, "RENDERING", 0.5)
    async with (
        watch(relay.ws(run_id), run_id, sock=_narrow_socket(relay), max_queue=1) as slow,
        watch(relay.ws(run_id), run_id) as quick,
    ):
        await slow.frame("initial_state")
        await quick.frame("initial_state")
        slow.may_read.clear()
        last = await _flood_until_cut(relay, producer, run_id)
        await quick.reached(last)  # while the other one still does not read
        slow.may_read.set()
        assert await slow.close_code() == 4408
        position = slow.story.position or ""
        assert position != last
    assert relay.relay.metrics.too_slow == 1
    assert quick.story.states == 1
    async with watch(relay.ws(run_id, f"after={position}"), run_id, after=position) as back:
        await back.reached(last)


@pytest.mark.slow
async def test_a_client_that_reads_nothing_at_all_is_dropped(
    start_relay: StartRelay, producer: Producer, run_id: str, protocol: str
) -> None:
    """A closing handshake that is never answered would keep the connection, and all that waits for it, for ever."""
    relay = await start_relay(client_buffer_bytes=200_000)
    async with watch(relay.ws(run_id), run_id, sock=_narrow_socket(relay), max_queue=1) as slow:
        await slow.frame("initial_state")
        slow.may_read.clear()
        await _flood_until_cut(relay, producer, run_id)
        await eventually(lambda: relay.relay.limits.total == 0, "its place is given back")
        if protocol == FAST:  # elsewhere a handler cannot abort: the server's own ping does, later
            await eventually(lambda: not relay.server.server_state.connections, "the connection itself is gone")
        slow.may_read.set()
        await slow.close_code()
    assert slow.connection.close_code == 1006


async def test_a_first_state_above_the_bound_is_no_reason_to_cut_off(
    start_relay: StartRelay, producer: Producer, run_id: str
) -> None:
    """A run with a long log could never be watched."""
    relay = await start_relay(client_buffer_bytes=4096)
    for n in range(20):
        await producer.say(run_id, log=f"{n} " + "x" * 2000)
    async with watch(relay.ws(run_id), run_id) as client:
        assert len((await client.frame("initial_state"))["logs"]) == 20
        await client.reached(await producer.say(run_id, log="one more"))
