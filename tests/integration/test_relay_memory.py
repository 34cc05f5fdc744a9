"""What a relay frees at once, without the garbage collector, which comes seldom so that the loop stays calm."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from runrelay.errors import RunlogUnavailable
from runrelay.fanout.shared_reads import SharedRead
from runrelay.fanout.topics import Topic
from tests.support.clients import eventually, watch
from tests.support.relay import BOTH_PROTOCOLS, Producer, Served

pytestmark = BOTH_PROTOCOLS


@contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def left() -> list[str]:
    """The kinds of objects that are still there."""
    return [type(one).__name__ for one in gc.get_objects() if isinstance(one, Topic | SharedRead | RunlogUnavailable)]


async def test_a_topic_that_nobody_watches_is_freed_at_once(relay: Served, producer: Producer, run_id: str) -> None:
    """As a reference cycle of 4 KB it waited for the collector: a flood of subscriptions cost 6 MB a minute."""
    with no_collector():
        before = len(left())
        async with watch(relay.ws()) as client:
            for number in range(10):
                other = f"{run_id} {number}"
                client.expect(other)
                await client.say(type="subscribe", run_id=other)
                await client.frame("initial_state", run_id=other)
            await client.reached(await producer.say(f"{run_id} 3", log="heard"), f"{run_id} 3")
            assert relay.relay.hub.topics == 10
            for number in range(10):  # the read of some of these is cancelled
                await client.say(type="subscribe", run_id=f"nobody {number}")
                await client.say(type="unsubscribe", run_id=f"nobody {number}")
        await eventually(lambda: not relay.relay.hub.topics, "no run is watched")
        await eventually(lambda: len(left()) == before, "all is freed")


async def test_a_run_that_fails_to_be_read_leaves_nothing(relay: Served, producer: Producer, run_id: str) -> None:
    """An error whose traceback holds the frame that holds the error is a reference cycle, too."""
    await producer.runlog.redis.set(producer.keys.run(run_id)[0], "no run")
    with no_collector():
        before = len(left())
        async with watch(relay.ws()) as client:
            for _ in range(5):
                await client.say(type="subscribe", run_id=run_id)
                await client.frame("error", run_id=run_id)
        await eventually(lambda: not relay.relay.hub.topics, "no run is watched")
        await eventually(lambda: len(left()) == before, "all is freed")
