"""Server-sent events: what an EventSource gets."""

from __future__ import annotations

import asyncio
import time

import httpx
import jwt
import pytest
from pydantic import SecretStr

from runrelay.codes import CloseCode
from runrelay.progress import Event
from tests.support.clients import eventually, watch, watch_stream
from tests.support.relay import Producer, Served, StartRelay
from tests.support.servers import HOST


async def test_the_stream_of_a_run(relay: Served, producer: Producer, run_id: str) -> None:
    """Where WebSockets are blocked this is how a run is seen live."""
    first = await producer.say(run_id, "RENDERING", 0.5, "렌더링 단계 시작")
    async with watch_stream(relay.http, relay.run(run_id, "/events"), run_id) as client:
        assert client.response.status_code == 200
        headers = client.response.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert headers["cache-control"] == "no-store, no-transform"
        assert headers["x-accel-buffering"] == "no"
        assert "content-length" not in headers
        state = await client.frame("initial_state")
        assert state["logs"] == ["렌더링 단계 시작"]
        second = await producer.say(run_id, progress=0.6, log="둘째")
        await client.reached(second)
        assert client.ids == [first, second]
        assert client.retry_ms is not None
        assert 500 <= client.retry_ms <= 15_000


async def test_the_frames_are_those_of_the_websocket(relay: Served, producer: Producer, run_id: str) -> None:
    """One reducer reads both."""
    await producer.say(run_id, "RENDERING", 0.5, "렌더링 단계 시작")
    async with (
        watch_stream(relay.http, relay.run(run_id, "/events"), run_id) as stream,
        watch(relay.ws(run_id), run_id) as client,
    ):
        await stream.frame("initial_state")
        await client.frame("initial_state")
        last = await producer.say(run_id, "FAILED", error="renderer died", log="x")
        await stream.reached(last)
        await client.reached(last)
        assert stream.frames == client.frames


async def test_retry_is_spread(relay: Served, run_id: str) -> None:
    """Ten thousand browsers would come back in the same moment."""
    waits = set()
    for _ in range(12):
        async with watch_stream(relay.http, relay.run(run_id, "/events"), run_id) as client:
            await client.frame("initial_state")
            waits.add(client.retry_ms)
    assert len(waits) > 6


@pytest.mark.parametrize("how", ["header", "lastEventId", "after"])
async def test_a_cursor_by_header_or_query(relay: Served, producer: Producer, run_id: str, how: str) -> None:
    """EventSource sends a header; those who cannot, a query."""
    seen = await producer.lines(run_id, 1, 2)
    last = await producer.lines(run_id, 3, 3)
    url = relay.run(run_id, "/events")
    given = {"headers": {"Last-Event-ID": seen}} if how == "header" else {"params": {how: seen}}
    async with watch_stream(relay.http, url, run_id, seen, **given) as client:
        story = await client.reached(last)
        assert story.seqs == [3, 4, 5]
        assert story.states == 0


async def test_the_header_comes_before_the_query(relay: Served, producer: Producer, run_id: str) -> None:
    """The page's first URL has the cursor of its first look; what the browser saw since is newer."""
    old = await producer.lines(run_id, 1, 2)
    seen = await producer.lines(run_id, 3, 2)
    last = await producer.lines(run_id, 5, 1)
    url = relay.run(run_id, "/events")
    options = {"headers": {"Last-Event-ID": seen}, "params": {"lastEventId": old, "after": old}}
    async with watch_stream(relay.http, url, run_id, seen, **options) as client:
        assert (await client.reached(last)).seqs == [5]


async def test_a_foreign_cursor_gets_a_new_state(relay: Served, producer: Producer, run_id: str) -> None:
    """As over the WebSocket."""
    newest = await producer.lines(run_id, 1, 2)
    url = relay.run(run_id, "/events")
    async with watch_stream(relay.http, url, run_id, "zzzzzzzzzzzz-1", params={"after": "zzzzzzzzzzzz-1"}) as client:
        story = await client.reached(newest)
        assert [frame["recovered"] for frame in story.frames] == [False]


async def test_heartbeats_are_events_without_an_id(start_relay: StartRelay, run_id: str) -> None:
    """A comment is invisible to EventSource, and an id would move its cursor."""
    relay = await start_relay(heartbeat_s=0.05)
    async with watch_stream(relay.http, relay.run(run_id, "/events"), run_id) as client:
        await client.until(lambda: sum(f["type"] == "heartbeat" for f in client.frames) >= 3, "three heartbeats")
        assert {i for i, f in zip(client.ids, client.frames, strict=True) if f["type"] == "heartbeat"} == {None}
        assert client.last_event_id == "0-0"


async def test_heartbeats_come_while_events_flow(start_relay: StartRelay, producer: Producer, run_id: str) -> None:
    """Clients tell a link's quality by the age of its last heartbeat: a busy run must not look like a dead link."""
    relay = await start_relay(heartbeat_s=0.2)
    async with watch_stream(relay.http, relay.run(run_id, "/events"), run_id) as client:
        number = 0
        while sum(frame["type"] == "heartbeat" for frame in client.frames) < 2:  # never silent for as long as that
            number += 1
            assert number < 5_000, "no heartbeat came"
            await client.reached(await producer.say(run_id, log=f"line {number}"))


async def test_the_end_is_an_event_and_then_the_stream_closes(relay: Served, producer: Producer, run_id: str) -> None:
    """EventSource takes a closed stream for a broken one, and comes back for ever."""
    await producer.say(run_id, "RENDERING", 0.5)
    url = relay.run(run_id, "/events")
    async with watch_stream(relay.http, url, run_id) as client:
        await client.frame("initial_state")
        last = await producer.say(run_id, "END")
        assert await client.frame("end") == {"type": "end", "run_id": run_id}, "the same JSON as over the WebSocket"
        await client.until(lambda: client.closed, "the stream's end")
        assert client.story.position == last
        assert client.ids[-1] is None
        assert client.last_event_id == last
    answer = await relay.http.get(url, headers={"Last-Event-ID": last})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_who_has_not_seen_the_end_gets_it_before_204(relay: Served, producer: Producer, run_id: str) -> None:
    """204 for any ended run would cut the last lines off."""
    seen = await producer.say(run_id, log="line 1")
    last = await producer.say(run_id, "END", log="line 2")
    url = relay.run(run_id, "/events")
    async with watch_stream(relay.http, url, run_id, seen, headers={"Last-Event-ID": seen}) as client:
        await client.frame("end")
        assert client.story.seqs == [2]
    await producer.commit(run_id, [Event(1, state="QUEUED", kind="queue", precondition="ended")])
    async with watch_stream(relay.http, url, run_id, last, headers={"Last-Event-ID": last}) as client:
        assert client.response.status_code == 200, "a retry is news for who has seen the end"
        await client.until(lambda: client.story.seqs == [3], "the new attempt")


async def test_a_client_that_goes_is_forgotten(relay: Served, run_id: str) -> None:
    """Else each closed tab holds a place until the relay restarts."""
    async with watch_stream(relay.http, relay.run(run_id, "/events"), run_id) as client:
        await client.frame("initial_state")
        assert relay.relay.limits.total == 1
    await eventually(lambda: relay.relay.limits.total == 0, "its place is given back")
    await eventually(lambda: relay.relay.hub.topics == 0, "its topic is gone")
    assert not relay.relay.hub.connections


async def test_over_its_bound_it_is_closed(start_relay: StartRelay, producer: Producer, run_id: str) -> None:
    """A tab that sleeps would fill the relay's memory; it comes back with its cursor."""
    relay = await start_relay(client_buffer_bytes=100_000)
    reader, writer = await asyncio.open_connection(HOST, relay.port, limit=1024)
    path = httpx.URL(relay.run(run_id, "/events")).raw_path
    writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"200" in await reader.readline()
    await eventually(lambda: relay.relay.hub.topics == 1 and relay.relay.hub.connections, "it watches")
    (connection,) = relay.relay.hub.connections
    for n in range(2000):
        await producer.say(run_id, log=f"{n} " + "x" * 16_000)
        if connection.closed is not None:
            break
    assert connection.closed is not None
    assert connection.closed[0] == 4408
    rest = await asyncio.wait_for(reader.read(-1), 20)
    assert b"event: end" not in rest, "the end of the stream is not the end of the run"
    writer.close()
    await writer.wait_closed()
    await eventually(lambda: relay.relay.metrics.too_slow == 1, "it is counted")
    await eventually(lambda: relay.relay.limits.total == 0, "its place is given back")


async def test_a_key_that_is_no_run_closes_the_stream(
    relay: Served, producer: Producer, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """EventSource comes back every few seconds, for ever, unless it is refused in HTTP's words."""
    await producer.say(run_id, log="line 1")
    key = producer.keys.run(run_id)[0]
    async with watch_stream(relay.http, relay.run(run_id, "/events"), run_id) as client:
        await client.frame("initial_state")
        await producer.runlog.redis.delete(key)
        await producer.runlog.redis.set(key, "somebody else's")
        await relay.relay.hub.check()
        await client.until(lambda: client.closed, "the stream's end")
        assert [(frame["type"], frame.get("code")) for frame in client.frames[1:]] == [("error", 4409)]
    for query in ("", f"?after={'a' * 12}-1"):
        answer = await relay.http.get(relay.run(run_id, "/events") + query)
        assert answer.status_code == 409
        assert "is no run: WRONGTYPE" in answer.json()["detail"]
    assert not [record for record in caplog.records if record.exc_info or record.name == "uvicorn.error"]
    assert "WRONGTYPE" in caplog.text


async def _cut_off(http: httpx.AsyncClient, url: str) -> str:
    """What a stream has sent before it was cut off; a body that ends well is the end of all events to many clients."""
    parts: list[str] = []

    async def read() -> None:
        async with http.stream("GET", url) as answer:
            async for part in answer.aiter_text():
                parts.append(part)  # noqa: PERF401 - what came before the error is kept

    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        await read()
    return "".join(parts)


async def test_a_stream_is_cut_off_when_its_token_expires(start_relay: StartRelay, run_id: str) -> None:
    """A client that took it for the end would see nothing more; it comes back, and renews its token at the 401."""
    secret = "x" * 32
    relay = await start_relay(jwt_secret=SecretStr(secret))
    token = jwt.encode({"exp": time.time() + 1.2}, secret, "HS256")
    text = await _cut_off(relay.http, relay.run(run_id, f"/events?token={token}"))
    assert text.count("event:") == text.count("event: initial_state") == 1


@pytest.mark.parametrize("cursor", ["nonsense", "k3x9m2p7q1za-", "7"])
async def test_a_malformed_cursor_is_a_bad_request(relay: Served, run_id: str, cursor: str) -> None:
    """A stream of a wrong catchup is worse than none."""
    answer = await relay.http.get(relay.run(run_id, "/events"), headers={"Last-Event-ID": cursor})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


async def test_who_comes_while_the_relay_goes_is_sent_away(
    relay: Served, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accepted, and then not told: shutdown would wait for it, and cut it off in the end."""
    hub, enter = relay.relay.hub, relay.relay.limits.enter

    def enter_as_it_goes(address: str) -> None:
        enter(address)
        hub.close(CloseCode.SERVICE_RESTART, lambda: "")

    monkeypatch.setattr(relay.relay.limits, "enter", enter_as_it_goes)
    async with watch(relay.ws(run_id)) as client:
        assert await client.close_code() == 1012
    hub.closing = False
    text = await _cut_off(relay.http, relay.run(run_id, "/events"))
    assert "event:" not in text
    await eventually(hub.empty.is_set, "the relay may go")


async def test_too_many_are_refused(start_relay: StartRelay, run_id: str) -> None:
    """As over the WebSocket, in HTTP's words."""
    relay = await start_relay(max_connections_per_run=1)
    url = relay.run(run_id, "/events")
    async with watch_stream(relay.http, url, run_id) as client:
        await client.frame("initial_state")
        answer = await relay.http.get(url)
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json()["status"] == 429
