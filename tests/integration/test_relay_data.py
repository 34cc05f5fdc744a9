"""A run's data, as its clients see it: the same by events, by a late join, after a reload, and by polling."""

from __future__ import annotations

from typing import Any

import orjson

from tests.integration.test_runlog_data import merge_patch
from tests.support.clients import eventually, watch
from tests.support.relay import BOTH_PROTOCOLS, Producer, Served, StartRelay

pytestmark = BOTH_PROTOCOLS

PATCHES: list[dict[str, Any]] = [
    {"model": "small", "tags": ["a"], "limits": {"s": 5, "frames": 9007199254740993}},
    {"limits": {"s": None}, "tags": []},
    {"note": "x" * 4000},
    {"other": "y" * 4000, "limits": {"s": 1}},
    {"note": None, "model": "large"},
]


def folded(data: Any, frames: list[dict[str, Any]]) -> Any:
    """What a client has after these frames: see frontend/src/core/reducer.ts."""
    for frame in frames:
        if frame["type"] == "initial_state":
            data = frame["data"]
        elif "data" in frame and not frame.get("data_ignored"):
            data = merge_patch(data, frame["data"])
    return data


async def test_all_clients_see_the_same_data(relay: Served, producer: Producer, run_id: str) -> None:
    """A page that is reloaded would show other data than the one beside it."""
    async with watch(relay.ws(run_id), run_id) as first:
        await first.frame("initial_state")
        cursor = ""
        for patch in PATCHES:
            cursor = await producer.say(run_id, "WORK", log="line", data=patch)
            async with watch(relay.ws(run_id), run_id) as late:
                await late.frame("initial_state")  # it may be shared with an earlier client: then events follow
                await late.reached(cursor)
            await first.reached(cursor)
            assert orjson.dumps(folded(None, first.frames)) == orjson.dumps(folded(None, late.frames))
        polled = (await relay.http.get(relay.run(run_id), params={"after": first.frames[0]["id"]})).json()
    assert (
        polled["data"]
        == folded(None, late.frames)
        == {"model": "large", "tags": [], "limits": {"frames": 9007199254740993}}
    )
    assert folded(None, polled["events"]) == polled["data"]
    assert [event.get("data") for event in polled["events"]] == PATCHES, "each event has its own"
    assert [event.get("data_ignored") for event in polled["events"]] == [None, None, None, True, None]


async def test_data_by_hand_is_adopted(relay: Served, producer: Producer, run_id: str) -> None:
    """A message without `seq` may carry data, too."""
    await eventually(lambda: relay.relay.adopter.statistics().after_marker, "the relay adopts")
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        await producer.publish(orjson.dumps({"run_id": run_id, "progress": 0.5, "data": {"by": "hand"}}))
        await client.frame("progress", progress=0.5, data={"by": "hand"})
        assert (await relay.http.get(relay.run(run_id))).json()["data"] == {"by": "hand"}


async def test_the_list_and_its_feed_show_data_by_setting(
    start_relay: StartRelay, producer: Producer, run_id: str
) -> None:
    """A table of runs with a column of their data."""
    for list_data in (False, True):
        relay = await start_relay(list_data=list_data)
        async with watch(relay.ws()) as client:
            await client.say(type="subscribe", runs=True)
            await client.frame("subscribed")
            await producer.say(run_id, f"S{list_data}", data={"a": 1})
            row = await client.frame("run", state=f"S{list_data}")
        (listed,) = (await relay.http.get(relay.http.base_url.join("/api/runs"))).json()["runs"]
        assert row.get("data") == listed.get("data") == ({"a": 1} if list_data else None)
