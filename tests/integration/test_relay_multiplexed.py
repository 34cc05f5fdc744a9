"""`/ws`: many runs and the list of runs on one connection."""

from __future__ import annotations

import pytest

from runrelay.progress import Event
from tests.support.clients import Client, watch
from tests.support.relay import BOTH_PROTOCOLS, Producer, Served, StartRelay

pytestmark = BOTH_PROTOCOLS


async def _subscribe(client: Client, run_id: str, after: str | None = None) -> None:
    client.expect(run_id, after)
    await client.say(type="subscribe", run_id=run_id, **({} if after is None else {"after": after}))


async def test_each_run_is_told_apart(relay: Served, producer: Producer, run_id: str) -> None:
    """A page of ten runs needs ten connections else."""
    other = run_id + " 2"
    async with watch(relay.ws()) as client:
        await _subscribe(client, run_id)
        await _subscribe(client, other)
        await client.frame("initial_state", run_id=run_id)
        await client.frame("initial_state", run_id=other)
        one = await producer.lines(run_id, 1, 3)
        two = await producer.lines(other, 1, 2)
        assert (await client.reached(one, run_id)).seqs == [1, 2, 3]
        assert (await client.reached(two, other)).seqs == [1, 2]


async def test_a_subscription_resumes_by_cursor(relay: Served, producer: Producer, run_id: str) -> None:
    """A dashboard that reconnects would load every log again."""
    seen = await producer.lines(run_id, 1, 2)
    last = await producer.lines(run_id, 3, 2)
    async with watch(relay.ws()) as client:
        await _subscribe(client, run_id, after=seen)
        assert (await client.reached(last, run_id)).seqs == [3, 4]
        await _subscribe(client, run_id, after=last)  # again, on the same connection: the old one has ended
        assert await client.frame("resumed", run_id=run_id, id=last)
        more = await producer.say(run_id, log="line 5")
        assert (await client.reached(more, run_id)).seqs == [5], "once, not once for each subscription"
        await client.ping()


async def test_unsubscribed_means_silence(relay: Served, producer: Producer, run_id: str) -> None:
    """A page that was left would still be paid for."""
    async with watch(relay.ws()) as client:
        await _subscribe(client, run_id)
        await client.frame("initial_state")
        await client.say(type="unsubscribe", run_id=run_id)
        await client.say(type="unsubscribe", run_id="never subscribed")
        await client.ping()
        await producer.say(run_id, log="not heard")
        await _subscribe(client, "other")
        await client.reached(await producer.say("other", log="heard"), "other")
        assert [f["type"] for f in client.frames if f.get("run_id") == run_id] == ["initial_state"]
        assert relay.relay.hub.topics == 1


async def test_a_run_s_end_does_not_close(relay: Served, producer: Producer, run_id: str) -> None:
    """The other runs go on."""
    async with watch(relay.ws()) as client:
        await _subscribe(client, run_id)
        await client.frame("initial_state")
        last = await producer.say(run_id, "END")
        assert await client.frame("end") == {"type": "end", "run_id": run_id}
        assert client.stories[run_id].position == last
        await _subscribe(client, "other")
        await client.frame("initial_state", run_id="other")
        await producer.commit(run_id, [Event(1, state="QUEUED", kind="queue", precondition="ended")])
        await _subscribe(client, run_id, after=last)  # a retry is watched anew
        await client.until(lambda: client.stories[run_id].seqs == [2], "the new attempt")
        assert client.frames[-1]["attempt"] == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"run_id": "a/b"}, {"run_id": ""}, {"run_id": 7}, {"run_id": None}, {}, {"run_id": "x", "after": "nonsense"},
        {"run_id": "x", "after": 7}, {"run_id": "x" * 201}, {"run_id": ["x"]}, {"runs": 1},
    ],
)  # fmt: skip
async def test_an_error_about_one_run_names_it_and_closes_nothing(relay: Served, fields: dict[str, object]) -> None:
    """One bad link on a page would take all its runs down."""
    async with watch(relay.ws()) as client:
        await client.say(type="subscribe", **fields)
        error = await client.frame("error")
        assert error["code"] == 4400
        assert error["run_id"] == (fields.get("run_id") if isinstance(fields.get("run_id"), str) else None)
        await client.ping()


async def test_subscriptions_are_bounded(start_relay: StartRelay) -> None:
    """One connection could watch a million names."""
    relay = await start_relay(max_subscriptions=3)
    async with watch(relay.ws()) as client:
        for name in ("a", "b", "c", "d"):
            await _subscribe(client, name)
        assert (await client.frame("error"))["run_id"] == "d"
        assert client.frames[-1]["code"] == 4429
        await client.say(type="unsubscribe", run_id="a")
        await _subscribe(client, "e")
        await client.frame("initial_state", run_id="e")


async def test_the_list_s_changes(relay: Served, producer: Producer, run_id: str) -> None:
    """A list that is read once is wrong a second later."""
    async with watch(relay.ws()) as client:
        await client.say(type="subscribe", runs=True)
        assert await client.frame("subscribed") == {"type": "subscribed", "runs": True}
        await producer.say(run_id, "RENDERING", 0.5)
        created = await client.frame("run", run_id=run_id)
        assert (created["status"], created["state"], created["progress"]) == ("running", "RENDERING", 0.5)
        assert "logs" not in created
        for n in range(50):
            await producer.say(run_id, progress=0.5 + n / 200)
        await producer.say(run_id, "FAILED", error="renderer died")
        failed = await client.frame("run", run_id=run_id, status="failed")
        assert failed["error"] == "renderer died"
        told = [frame for frame in client.frames if frame["type"] == "run"]
        assert len(told) < 10, "at most about one a second, not one for each event"
        answer = await relay.http.delete(relay.run(run_id))
        assert answer.status_code == 204
        assert await client.frame("run_deleted") == {"type": "run_deleted", "run_id": run_id}
        await client.say(type="unsubscribe", runs=True)
        await client.ping()
        assert not relay.relay.hub.feed.watched


async def test_a_run_that_is_there_was_not_deleted(relay: Served, producer: Producer, run_id: str) -> None:
    """Deleted and begun again, or only said to be deleted: it would be missing in the list that people look at."""
    async with watch(relay.ws()) as client:
        await client.say(type="subscribe", runs=True)
        await client.frame("subscribed")
        await producer.say(run_id, "RENDERING")
        await client.frame("run", run_id=run_id)
        await relay.relay.listener.send({"deleted": run_id})
        await producer.say(run_id, "QA")
        await client.frame("run", run_id=run_id, state="QA")
        for no_run in ("x" * 201, "", "a/b", None, 7, ["x"]):
            await relay.relay.listener.send({"deleted": no_run})
        await relay.relay.listener.send({"deleted": "never seen"})
        await client.frame("run_deleted", run_id="never seen")
        assert len([frame for frame in client.frames if frame["type"] == "run_deleted"]) == 1


async def test_what_leaves_with_the_connection(relay: Served, run_id: str) -> None:
    """Subscriptions of connections that are gone would be delivered to for ever."""
    async with watch(relay.ws()) as client:
        await _subscribe(client, run_id)
        await client.say(type="subscribe", runs=True)
        await client.frame("initial_state")
        await client.frame("subscribed")
    async with watch(relay.ws()) as witness:
        await witness.ping()
        await witness.until(lambda: relay.relay.hub.topics == 0, "the topic is gone")
        assert not relay.relay.hub.feed.watched
