"""Polling: the snapshot, what follows a cursor, held requests, and what is answered without Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from runrelay.fanout import Hub
from runrelay.runlog import Keys
from tests.support.clients import eventually, watch
from tests.support.relay import Producer, Served, StartRelay
from tests.support.servers import Server

SNAPSHOT = {
    "run_id", "state", "progress", "status", "attempt", "seq", "id", "epoch", "title", "pipeline", "error", "stale",
    "created_at", "started_at", "updated_at", "finished_at", "ended_in", "logs", "log_lines", "logs_truncated", "steps",
    "result",
    "fenced", "data",
}  # fmt: skip


async def test_the_snapshot_and_its_etag(relay: Served, producer: Producer, run_id: str) -> None:
    """The original client polls every two seconds: an unchanged run should cost nothing."""
    cursor = await producer.say(run_id, "PLOT_GENERATION", 0.15, "시나리오 CSV 생성 완료", level="warning")
    answer = await relay.http.get(relay.run(run_id))
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == SNAPSHOT
    assert answer.headers["etag"] == f'"{cursor}"'
    assert (body["state"], body["progress"], body["logs"]) == ("PLOT_GENERATION", 0.15, ["시나리오 CSV 생성 완료"])
    assert body["id"] == cursor == f"{body['epoch']}-{body['seq']}"
    (line,) = body["log_lines"]
    assert line == line | {"seq": 1, "level": "warning", "step": None, "message": "시나리오 CSV 생성 완료"}
    for etag in (f'"{cursor}"', f'W/"{cursor}"', f'"other-1", "{cursor}"'):
        unchanged = await relay.http.get(relay.run(run_id), headers={"If-None-Match": etag})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["etag"] == f'"{cursor}"'
    await producer.say(run_id, progress=0.2)
    changed = await relay.http.get(relay.run(run_id), headers={"If-None-Match": f'"{cursor}"'})
    assert (changed.status_code, changed.json()["progress"]) == (200, 0.2)


async def test_any_tag_and_one_of_many(relay: Served, producer: Producer, run_id: str) -> None:
    """RFC 9110, section 13.1.2; held, too, where the request may wait."""
    cursor = await producer.say(run_id, "RENDERING")
    for tags in ("*", 'W/"other-1", W/"{}"'):
        given = tags.format(cursor)
        answer = await relay.http.get(relay.run(run_id), headers={"If-None-Match": given})
        assert answer.status_code == 304
        assert (await relay.http.get(relay.run("never seen"), headers={"If-None-Match": given})).status_code == 404
        asking = asyncio.create_task(
            relay.http.get(relay.run(run_id), params={"wait": "30"}, headers={"If-None-Match": given})
        )
        await _held(relay)
        cursor = await producer.say(run_id, log="line")
        answer = await asking
        assert answer.headers["etag"] == f'"{cursor}"'
        assert answer.status_code == (304 if tags == "*" else 200)


async def test_a_held_request_of_a_client_that_has_gone_is_let_go(
    relay: Served, producer: Producer, run_id: str
) -> None:
    """Each would stay for a minute: a page that is reloaded again and again holds hundreds."""
    await producer.say(run_id, "RENDERING")
    asking = asyncio.create_task(relay.http.get(relay.run(run_id), params={"wait": "60"}))
    await _held(relay)
    asking.cancel()
    await asyncio.wait([asking])
    await eventually(lambda: relay.relay.hub.topics == 0, "nothing is left of it")


async def test_a_held_request_is_answered_when_the_relay_goes_away(
    start_relay: StartRelay, producer: Producer, run_id: str
) -> None:
    """The server would cut it off in the middle, and the client count an error."""
    relay = await start_relay()
    cursor = await producer.say(run_id, "RENDERING")
    asking = asyncio.create_task(relay.http.get(relay.run(run_id), params={"wait": "60", "after": cursor}))
    await _held(relay)
    (topic,) = relay.relay.hub._topics.values()
    (news,) = topic.waiters
    await eventually(lambda: news._waiters, "it has read, and waits")
    await relay.relay.drain()
    answer = await asyncio.wait_for(asking, 5)
    assert (answer.status_code, answer.json()["id"]) == (200, cursor)


async def test_a_longer_cursor_is_another(relay: Served, producer: Producer, run_id: str) -> None:
    """`"…-1"` lies in `"…-11"` as text; a run at 1 must not pass for one at 11."""
    first = await producer.say(run_id, log="line 1")
    answer = await relay.http.get(relay.run(run_id), headers={"If-None-Match": f'"{first}1"'})
    assert answer.status_code == 200


async def test_what_follows_a_cursor(relay: Served, producer: Producer, run_id: str) -> None:
    """A client that falls back to polling goes on with the same cursor."""
    seen = await producer.lines(run_id, 1, 2)
    await producer.lines(run_id, 3, 2)
    body = (await relay.http.get(relay.run(run_id), params={"after": seen})).json()
    assert body["recovered"] is True
    assert [(event["type"], event["seq"], event["message"]) for event in body["events"]] == [
        ("progress", 3, "line 3"),
        ("progress", 4, "line 4"),
    ]
    again = (await relay.http.get(relay.run(run_id), params={"after": body["id"]})).json()
    assert (again["recovered"], again["events"]) == (True, [])
    catchup = (await relay.http.get(relay.run(run_id), params={"after": "0-0"})).json()
    assert [event["seq"] for event in catchup["events"]] == [1, 2, 3, 4]
    for cursor in ("zzzzzzzzzzzz-1", body["id"] + "0"):
        lost = (await relay.http.get(relay.run(run_id), params={"after": cursor})).json()
        assert (lost["recovered"], lost["events"]) == (False, [])
        assert lost["seq"] == 4


async def test_an_unknown_run_is_404(relay: Served, run_id: str) -> None:
    """The original client polls before the worker has begun."""
    for params in ({}, {"after": "0-0"}, {"wait": "0.05"}):
        answer = await relay.http.get(relay.run(run_id), params=params)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert run_id in answer.json()["detail"]
        assert answer.headers["cache-control"] == "no-store", "a cache would answer for it when it has begun"


@pytest.mark.parametrize("params", [{"after": "x"}, {"wait": "-1"}, {"wait": "61"}, {"wait": "nan"}, {"wait": "soon"}])
async def test_wrong_parameters(relay: Served, run_id: str, params: dict[str, str]) -> None:
    """Said, not guessed."""
    answer = await relay.http.get(relay.run(run_id), params=params)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def _held(relay: Served) -> None:
    await eventually(
        lambda: any(t.waiters for t in relay.relay.hub.statistics().topics.values()), "the request is held"
    )


@pytest.mark.parametrize("by", ["after", "etag", "nothing"])
async def test_a_held_request_answers_on_change(relay: Served, producer: Producer, run_id: str, by: str) -> None:
    """Long polling: the news at once, without asking again and again."""
    cursor = await producer.say(run_id, "RENDERING", 0.5)
    params: dict[str, str] = {"wait": "30", **({"after": cursor} if by == "after" else {})}
    headers = {"If-None-Match": f'"{cursor}"'} if by == "etag" else {}
    asking = asyncio.create_task(relay.http.get(relay.run(run_id), params=params, headers=headers))
    await _held(relay)
    assert not asking.done()
    await producer.say(run_id, progress=0.6)
    answer = await asking
    assert (answer.status_code, answer.json()["progress"]) == (200, 0.6)
    if by == "after":
        assert [event["seq"] for event in answer.json()["events"]] == [2]
    assert relay.relay.hub.topics == 0, "nothing is left of it"


async def test_a_held_request_answers_when_its_time_is_over(relay: Served, producer: Producer, run_id: str) -> None:
    """A proxy would cut it off else."""
    cursor = await producer.say(run_id, "RENDERING", 0.5)
    answer = await relay.http.get(relay.run(run_id), params={"wait": "0.2"}, headers={"If-None-Match": f'"{cursor}"'})
    assert answer.status_code == 304
    answer = await relay.http.get(relay.run(run_id), params={"wait": "0.2", "after": cursor})
    assert (answer.status_code, answer.json()["events"]) == (200, [])


async def test_old_news_is_not_waited_for(relay: Served, producer: Producer, run_id: str) -> None:
    """Who is behind already has something to be told."""
    seen = await producer.lines(run_id, 1, 1)
    await producer.lines(run_id, 2, 1)
    answer = await asyncio.wait_for(relay.http.get(relay.run(run_id), params={"wait": "30", "after": seen}), 5)
    assert [event["seq"] for event in answer.json()["events"]] == [2]


async def test_a_run_that_begins_wakes_who_waits_for_it(relay: Served, producer: Producer, run_id: str) -> None:
    """404 after 25 seconds, although it began after one."""
    asking = asyncio.create_task(relay.http.get(relay.run(run_id), params={"wait": "30"}))
    await _held(relay)
    await producer.say(run_id, "RENDERING")
    assert (await asking).status_code == 200


async def test_no_wake_up_is_lost(relay: Served, producer: Producer, run_id: str) -> None:
    """Each event must end a held request, whatever the moment between two of them it comes in.

    Safe because the request is registered before it reads: what came before is in the read, what comes later wakes it.
    """
    cursor = await producer.say(run_id, log="line 1")
    seen: list[int] = []

    async def poll() -> None:
        nonlocal cursor
        while not seen or seen[-1] < 101:
            answer = await relay.http.get(relay.run(run_id), params={"wait": "30", "after": cursor})
            seen.extend(event["seq"] for event in answer.json()["events"])
            cursor = answer.json()["id"]

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(poll())
        await producer.lines(run_id, 2, 100)
    assert seen == list(range(2, 102))


async def test_registered_after_the_read_a_wake_up_is_lost(
    start_relay: StartRelay, producer: Producer, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: an event between the read and the waiting is slept through."""
    relay = await start_relay()
    cursor = await producer.say(run_id, log="line 1")
    changes = Hub.changes

    def late(self: Hub, run_id: str) -> object:
        context = changes(self, run_id)
        enter = type(context).__aenter__

        class Late:
            async def __aenter__(self) -> asyncio.Event:
                event: asyncio.Event = await enter(context)
                event.set = lambda: None  # type: ignore[method-assign]  # nobody hears of it
                return event

            async def __aexit__(self, *error: object) -> None:
                await context.__aexit__(None, None, None)

        return Late()

    monkeypatch.setattr(Hub, "changes", late)
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        asking = asyncio.create_task(relay.http.get(relay.run(run_id), params={"wait": "3", "after": cursor}))
        await _held(relay)
        await client.reached(await producer.say(run_id, log="line 2"))
        await client.ping()
        assert not asking.done()
    await asking


async def test_without_redis_the_last_that_was_known(
    start_relay: StartRelay, start_valkey: Callable[..., Server], keys: Keys, run_id: str
) -> None:
    """A page that goes blank because Redis restarts; or one that takes old news for new."""
    server = start_valkey()
    producer = Producer(server.url, keys)
    cursor = await producer.say(run_id, "RENDERING", 0.5, "line 1")
    relay = await start_relay(redis_url=server.url)
    assert (await relay.http.get(relay.run(run_id))).json()["stale"] is False
    server.kill()
    await eventually(lambda: not relay.relay.ready, "the relay knows")
    answer = await relay.http.get(relay.run(run_id))
    body = answer.json()
    assert (answer.status_code, body["stale"], body["id"], body["logs"]) == (200, True, cursor, ["line 1"])
    assert "etag" not in answer.headers
    conditional = await relay.http.get(relay.run(run_id), headers={"If-None-Match": f'"{cursor}"'})
    assert conditional.status_code == 200, "what may be old is never `not modified`"
    for path in ("/api/runs/never%20seen", "/api/runs", "/readyz"):
        unknown = await relay.http.get(path)
        assert unknown.status_code == 503
        assert int(unknown.headers["Retry-After"]) > 0
        assert unknown.headers["content-type"] == "application/problem+json"
    assert (await relay.http.get("/healthz")).status_code == 200
    await producer.runlog.close()
