"""`/ws/{run_id}`: what a client is told."""

from __future__ import annotations

import asyncio

import orjson

from runrelay.progress import Event, make_event, step_specs
from tests.support.clients import eventually, watch
from tests.support.relay import BOTH_PROTOCOLS, Producer, Served, StartRelay

pytestmark = BOTH_PROTOCOLS

INITIAL_STATE = {
    "type", "run_id", "state", "progress", "logs", "logs_truncated", "status", "attempt", "seq", "id", "recovered",
    "title", "pipeline", "steps", "result", "error", "created_at", "started_at", "updated_at", "finished_at",
    "ended_in", "stale",
    "data",
}  # fmt: skip
PROGRESS = {
    "type", "run_id", "state", "progress", "message", "status", "level", "attempt", "seq", "id", "ts",
}  # fmt: skip


async def test_a_client_gets_the_state_and_then_every_event(relay: Served, producer: Producer, run_id: str) -> None:
    """Without it nobody sees a run."""
    first = await producer.say(run_id, "PLOT_GENERATION", 0.1, "플롯 생성 시작: 프롬프트 분석 중...")
    async with watch(relay.ws(run_id), run_id) as client:
        state = await client.frame("initial_state")
        second = await producer.say(run_id, progress=0.15, log="시나리오 CSV 생성 완료", level="warning")
        third = await producer.say(run_id, "RENDERING")
        await client.reached(third)
    assert set(state) == INITIAL_STATE
    assert state == state | {
        "run_id": run_id, "state": "PLOT_GENERATION", "progress": 0.1, "logs": ["플롯 생성 시작: 프롬프트 분석 중..."],
        "logs_truncated": 0, "status": "running", "attempt": 1, "seq": 1, "id": first, "recovered": True, "title": None,
        "pipeline": None, "steps": [], "data": None, "result": None, "error": None, "finished_at": None,
        "ended_in": None, "stale": False,
    }  # fmt: skip
    news = [frame for frame in client.frames if frame["type"] == "progress"]
    assert [set(frame) for frame in news] == [PROGRESS, PROGRESS]
    assert news[0] == news[0] | {
        "run_id": run_id, "state": "PLOT_GENERATION", "progress": 0.15, "message": "시나리오 CSV 생성 완료",
        "status": "running", "level": "warning", "attempt": 1, "seq": 2, "id": second,
    }  # fmt: skip
    # current values, not nulls; an event without a line has the message ""
    assert (news[1]["state"], news[1]["progress"], news[1]["message"]) == ("RENDERING", 0.15, "")
    assert news[1]["level"] == "info"


async def test_a_run_nobody_has_heard_of_may_begin_later(relay: Served, producer: Producer, run_id: str) -> None:
    """A page that is opened before the worker's first word would stay empty."""
    async with watch(relay.ws(run_id), run_id) as client:
        state = await client.frame("initial_state")
        assert (state["status"], state["state"], state["progress"]) == ("unknown", None, None)
        assert (state["seq"], state["id"], state["logs"], state["recovered"]) == (0, "0-0", [], True)
        cursor = await producer.lines(run_id, 1, 3)
        story = await client.reached(cursor)
    assert story.seqs == [1, 2, 3]
    assert story.states == 1


async def test_optional_fields_come_when_they_are_there(relay: Served, producer: Producer, run_id: str) -> None:
    """Steps, data, results and errors are what the page shows beside the bar."""
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        declared = Event(1, state="QUEUED", kind="queue", title="고양이", pipeline="shorts")
        await producer.commit(run_id, [declared._replace(steps=step_specs({"plan": 1, "render": 3}))])
        await producer.say(run_id, progress=0.5, step="plan", data={"scene": 3})
        last = await producer.say(run_id, "FAILED", error="renderer died")
        await client.reached(last)
        declaration, step, failed = (f for f in client.frames if f["type"] == "progress")
        async with watch(relay.ws(run_id), run_id) as late:
            state = await late.frame("initial_state")
    assert (declaration["title"], declaration["pipeline"]) == ("고양이", "shorts")
    assert declaration["steps"] == [{"name": "plan", "weight": 1.0}, {"name": "render", "weight": 3.0}]
    assert declaration["status"] == "queued"
    assert (step["step"], step["step_status"], step["step_progress"], step["step_attempt"]) == (
        "plan",
        "running",
        0.5,
        1,
    )
    assert step["data"] == {"scene": 3}
    assert step["progress"] == 0.125
    assert (failed["status"], failed["error"]) == ("failed", "renderer died")
    assert (state["title"], state["pipeline"], state["error"]) == ("고양이", "shorts", "renderer died")
    # a step that still ran when the run failed is shown as cancelled
    assert [(s["name"], s["status"]) for s in state["steps"]] == [("plan", "cancelled"), ("render", "queued")]


async def test_ping_is_answered_and_unknown_fields_do_no_harm(relay: Served, run_id: str) -> None:
    """The original client pings; newer ones may say more."""
    async with watch(relay.ws(run_id), run_id) as client:
        await client.say(type="ping", sent_at=1)
        assert await client.frame("pong") == {"type": "pong"}


async def test_a_cursor_brings_only_what_was_missed(relay: Served, producer: Producer, run_id: str) -> None:
    """A client that comes back would see lines twice, or not at all."""
    seen = await producer.lines(run_id, 1, 3)
    last = await producer.lines(run_id, 4, 4)
    async with watch(relay.ws(run_id, f"after={seen}"), run_id, after=seen) as client:
        story = await client.reached(last)
        more = await producer.say(run_id, log="line 8")
        await client.reached(more)
    assert story.seqs == [4, 5, 6, 7, 8]
    assert story.states == 0
    assert story.messages == [f"line {n}" for n in range(4, 9)]


async def test_nothing_missed_is_said_to_be_so(relay: Served, producer: Producer, run_id: str) -> None:
    """A client could not tell a complete view from one that is still to come."""
    cursor = await producer.lines(run_id, 1, 2)
    async with watch(relay.ws(run_id, f"after={cursor}"), run_id, after=cursor) as client:
        assert await client.frame("resumed") == {"type": "resumed", "run_id": run_id, "id": cursor}
        await client.reached(await producer.say(run_id, log="line 3"))
    assert client.story.seqs == [3]


async def test_the_start_of_an_unknown_run_is_a_cursor_too(relay: Served, producer: Producer, run_id: str) -> None:
    """Whoever waited for a run before the network broke must get its first events, not a second catchup."""
    async with watch(relay.ws(run_id, "after=0-0"), run_id, after="0-0") as client:
        assert await client.frame("resumed", id="0-0")
        await client.reached(await producer.lines(run_id, 1, 2))
    async with watch(relay.ws(run_id, "after=0-0"), run_id, after="0-0") as client:
        story = await client.reached(await producer.say(run_id, log="line 3"))
    assert story.seqs == [1, 2, 3]


async def _refused_cursor(relay: Served, run_id: str, cursor: str, newest: str) -> None:
    async with watch(relay.ws(run_id, f"after={cursor}"), run_id, after=cursor) as client:
        story = await client.reached(newest)
        await client.ping()
    assert [frame["type"] for frame in story.frames] == ["initial_state"], "one whole state, never a part"
    assert story.frames[0]["recovered"] is False


async def test_a_cursor_of_another_epoch_is_not_honoured(relay: Served, producer: Producer, run_id: str) -> None:
    """Numbers of another log mean nothing in this one."""
    newest = await producer.lines(run_id, 1, 3)
    await _refused_cursor(relay, run_id, "zzzzzzzzzzzz-2", newest)


async def test_a_cursor_ahead_of_the_log_is_not_honoured(relay: Served, producer: Producer, run_id: str) -> None:
    """It comes from a log that is lost."""
    newest = await producer.lines(run_id, 1, 3)
    await _refused_cursor(relay, run_id, newest.replace("-3", "-4"), newest)


async def test_a_cursor_older_than_the_log_is_not_honoured(relay: Served, producer: Producer, run_id: str) -> None:
    """A part of what was missed is a hole."""
    first = await producer.say(run_id, log="line 1")
    newest = ""
    for batch in range(25):  # the stream keeps about 1,000
        done = await producer.commit(run_id, [make_event(log=f"line {batch}.{n}") for n in range(100)])
        newest = str(done.cursor)
    await _refused_cursor(relay, run_id, first, newest)


async def test_a_cursor_half_the_bound_away_is_not_honoured(
    start_relay: StartRelay, producer: Producer, run_id: str
) -> None:
    """What is as big as the client's bound would get it cut off as it comes back, again and again."""
    relay = await start_relay(client_buffer_bytes=16_000)
    first = await producer.say(run_id, log="line 1")
    newest = ""
    for n in range(20):
        newest = await producer.say(run_id, log=f"{n} " + "x" * 500)
    await _refused_cursor(relay, run_id, first, newest)
    seen = newest.replace("-21", "-16")
    async with watch(relay.ws(run_id, f"after={seen}"), run_id, after=seen) as client:
        story = await client.reached(newest)
    assert story.states == 0, "what fits comes event by event"


async def test_the_first_frame_is_bounded(relay: Served, producer: Producer, run_id: str) -> None:
    """A log full of characters that JSON writes with six would make a frame of megabytes."""
    for n in range(40):
        await producer.commit(run_id, [make_event(log=f"{n:02} " + "\x01" * 8000 + f" {n:02}")])
    async with watch(relay.ws(run_id), run_id) as client:
        state = await client.frame("initial_state")
    total = sum(len(line.replace("\x01", "123456")) for line in state["logs"])
    assert total <= 512 * 1024
    assert state["logs_truncated"] + len(state["logs"]) == 40
    assert state["logs_truncated"] > 0
    assert state["logs"][-1].endswith(" 39"), "the oldest lines go first"


async def test_errors_of_many_steps_fit_into_the_first_frame(relay: Served, producer: Producer, run_id: str) -> None:
    """Clients and proxies have limits on messages: a run whose every step has failed is the one to look at."""
    await producer.say(run_id, log="line 1")
    for n in range(20):
        await producer.say(run_id, "FAILED", step=f"step {n}", error=f"cause {n} " + "\x01x" * 30_000)
    async with watch(relay.ws(run_id), run_id) as client:
        state = await client.frame("initial_state")
    assert len(orjson.dumps(state)) <= 512 * 1024
    assert state["logs"] == ["line 1"]
    assert [step["error"][:8].split()[1] for step in state["steps"]] == [str(n) for n in range(20)]
    assert state["steps"][0]["error"].endswith("bytes cut")


async def test_the_end_closes_its_watchers(relay: Served, producer: Producer, run_id: str) -> None:
    """1000 is what tells a client to stop; the last event must be there before."""
    await producer.say(run_id, "RENDERING", 0.5)
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        last = await producer.say(run_id, "END", log="영상 생성 완료! 🎉", result={"video": "film.mp4"})
        assert await client.close_code() == 1000
    assert client.story.position == last
    assert client.frames[-1]["status"] == "succeeded"
    assert client.frames[-1]["progress"] == 1.0
    assert client.frames[-1]["result"] == {"video": "film.mp4"}


async def test_who_comes_after_the_end_gets_it_all_and_is_closed(
    relay: Served, producer: Producer, run_id: str
) -> None:
    """A link that is opened a day later shows the film, and holds no connection."""
    last = await producer.say(run_id, "END", result={"video": "film.mp4"})
    async with watch(relay.ws(run_id), run_id) as client:
        assert await client.close_code() == 1000
    assert client.story.last["result"] == {"video": "film.mp4"}
    async with watch(relay.ws(run_id, f"after={last}"), run_id, after=last) as client:
        assert await client.close_code() == 1000
    assert [frame["type"] for frame in client.frames] == ["resumed"]


async def test_a_new_attempt_cancels_the_close(start_relay: StartRelay, producer: Producer, run_id: str) -> None:
    """Who watches a failed run being retried would be sent away in the middle of its second attempt."""
    relay = await start_relay(end_after_s=0.3)
    await producer.say(run_id, "RENDERING", 0.5)
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        await client.reached(await producer.say(run_id, "FAILED", error="renderer died"))
        again = Event(1, state="QUEUED", kind="queue", precondition="ended")
        await client.reached(str((await producer.commit(run_id, [again])).cursor))
        assert client.frames[-1]["attempt"] == 2
        assert client.frames[-1]["progress"] is None
        await producer.say("another", "FAILED")
        async with watch(relay.ws("another")) as witness:  # its end comes later than the one that was cancelled
            assert await witness.close_code() == 1000
        await client.ping()
        await client.reached(await producer.say(run_id, "RENDERING", 0.2))
        assert client.story.last["progress"] == 0.2
        await client.reached(await producer.say(run_id, "END"))
        assert await client.close_code() == 1000


async def test_a_client_that_goes_is_forgotten(relay: Served, producer: Producer, run_id: str) -> None:
    """A relay that keeps what nobody watches runs full."""
    await producer.say(run_id, "RENDERING", 0.5)
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        assert relay.relay.limits.total == 1
        assert relay.relay.hub.topics == 1
        client.connection.transport.abort()
        await eventually(lambda: not relay.relay.hub.connections, "the connection is forgotten")
    await eventually(lambda: relay.relay.limits.total == 0, "the limit is given back")
    assert relay.relay.hub.topics == 0


async def test_many_clients_see_the_same(relay: Served, producer: Producer, run_id: str) -> None:
    """One event reaches everybody, whenever they joined."""
    clients = 30
    last: str | None = None
    joining = asyncio.Semaphore(0)

    async def one() -> list[int]:
        async with watch(relay.ws(run_id), run_id) as client:
            joining.release()
            await client.until(lambda: last is not None and client.story.position == last, "the last event")
            return [client.frames[0]["seq"], *client.story.seqs]

    async with asyncio.TaskGroup() as tasks:
        watching = [tasks.create_task(one()) for _ in range(clients)]
        for n in range(clients):
            await joining.acquire()
            await producer.say(run_id, log=f"line {n}")
        last = await producer.say(run_id, log="last")
    for seen in (task.result() for task in watching):
        assert seen == list(range(seen[0], clients + 2))
