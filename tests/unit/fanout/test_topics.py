"""A topic under any interleaving of messages, losses, doubles, forgeries, reads, epochs, joins and slow turns.

No server: the log, the channel and every read are scripted, so that Hypothesis decides what happens in between. What is
held against each viewer is the contract: every seq once and in order, or a new initial_state; and in the end all of it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from runrelay.fanout import shared_reads, subscribers, topics
from runrelay.fanout.messages import CommittedMessage, parse_message
from runrelay.fanout.repairs import Repairs
from runrelay.fanout.shared_reads import Join
from runrelay.fanout.topics import Topic
from runrelay.metrics import RelayMetrics
from runrelay.progress import Cursor, Snapshot
from runrelay.runlog import RunView, Signer
from tests.support.topic_world import RUN, Log, Viewer, World
from tests.support.weakened_topics import NoAhead, NoPosition, NoRecent, NoRepair, NoSecondRead, NoStaleness


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery takes several turns of the loop, as it does with thousands of viewers."""
    monkeypatch.setattr(subscribers, "_SUBSCRIBERS_PER_TURN", 1)


def test_every_viewer_sees_every_event_once_and_in_order() -> None:
    """An interleaving could make a hole, a double or a forged event, on every transport."""
    run_state_machine_as_test(
        World,
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[*HealthCheck],
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes: add Phase.shrink then
        ),
    )


def _wander(topic_class: type[Topic], seed: int) -> None:
    """The same rules in random order: many more steps in the same time."""
    chance = random.Random(seed)
    world = World()
    world.topic_class = topic_class
    world.topic = world._made()
    pick = partial(chance.randrange, 1000)
    turns = partial(chance.randint, 0, 3)
    steps: list[tuple[int, Callable[[], object], Callable[[], None]]] = [
        (6, lambda: True, lambda: world.commit(count=chance.randint(1, 3), turns=turns())),
        (8, lambda: world.channel, lambda: world.hear(count=chance.randint(1, 4), turns=turns())),
        (2, lambda: world.said, lambda: world.hear_again(pick=pick(), turns=turns())),
        (1, lambda: world.channel, lambda: world.lose()),
        (
            2,
            lambda: True,
            lambda: world.forge(ahead=chance.choice([0, 1, 1]), epoch=chance.choice([None, "0"]), turns=1),
        ),
        (4, lambda: world.reads, lambda: world.carry_out(pick=pick())),
        (8, lambda: world.reads, lambda: world.answer(pick=pick(), turns=turns())),
        (1, lambda: world.reads, lambda: world.fail(pick=pick(), turns=turns())),
        (4, lambda: True, lambda: world.join(pick=pick(), turns=turns())),
        (1, lambda: world.viewers, lambda: world.go(pick=pick(), turns=turns())),
        (1, lambda: True, lambda: world.check(turns=turns())),
        (1, lambda: world.log, lambda: world.expire()),
        (1, lambda: world.log, lambda: world.trim()),
    ]
    try:
        for _ in range(60):
            possible = [step for step in steps if step[1]()]
            chance.choices(possible, [step[0] for step in possible])[0][2]()
    finally:
        world.teardown()


def _wander_about(topic_class: type[Topic], times: int = 500) -> None:
    for seed in range(times):
        _wander(topic_class, seed)


def test_a_topic_with_a_tiny_backlog_shows_every_event_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backlog is bounded: a message that is dropped from it would be lost, if it were not read again."""
    monkeypatch.setattr(topics, "_MAX_BACKLOG", 2)
    monkeypatch.setattr(shared_reads, "_MAX_RECENT", 2)
    _wander_about(Topic, 200)


@pytest.mark.long
def test_a_long_random_walk_shows_every_event_once_and_in_order() -> None:
    """Hypothesis has no time for so many steps."""
    _wander_about(Topic, 1500)


def _controlled(topic_class: type[Topic]) -> None:
    with pytest.raises(AssertionError, match=r"came after|run began at|not told all|never committed|waits for ever"):
        _wander_about(topic_class)


@pytest.mark.parametrize("broken", [NoRecent, NoAhead, NoPosition, NoRepair, NoSecondRead, NoStaleness])
def test_a_topic_without_one_of_its_protections_fails(broken: type[Topic]) -> None:
    """The negative control: the model notices each protection that is switched off."""
    _controlled(broken)


def test_without_macs_a_forged_event_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the MAC."""
    monkeypatch.setattr(Signer, "verify", lambda seal, message: message.rpartition(b',"seal":')[0])
    _controlled(Topic)


async def test_a_run_s_end_during_a_delivery_waits_for_it() -> None:
    """The delivery may be a new attempt's first event: its subscribers would be closed though the run goes on."""
    log = Log("epoch0000001", b"key")
    log.events.append(log.message(1, "failed", log.key, status="failed"))
    contents = {"epoch0000001-2": "again"}

    async def read(run_id: str, after: Cursor | None, most_bytes: int, later: bool) -> RunView:
        return RunView(Snapshot(RUN, log.cursor, status="failed"), None, log.key)

    topic = Topic(
        RUN,
        read,
        RelayMetrics(),
        resume_bytes=4_000,
        end_after_s=1e6,
        ask_repair=Repairs(lambda work, name, run_id: asyncio.ensure_future(work)).add,
    )
    viewers = [Viewer(None, contents) for _ in range(4)]
    for viewer in viewers:
        topic.join(Join(RUN, viewer, None, lambda join, error: None))
    async with asyncio.timeout(5):
        while not all(viewer.story.frames for viewer in viewers):  # noqa: ASYNC110 - a few turns of the loop
            await asyncio.sleep(0)
    again = parse_message(log.message(2, "again", log.key))
    assert isinstance(again, CommittedMessage)
    topic.receive([again])
    told = [viewer for viewer in viewers if viewer.story.seqs == [2]]
    assert 0 < len(told) < 4, "the delivery is under way"
    topic._end()  # its time has come in this moment; a viewer would raise
    async with asyncio.timeout(5):
        while any(viewer.story.seqs != [2] for viewer in viewers):  # noqa: ASYNC110 - a few turns of the loop
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not topic.statistics().ends_soon, "the new attempt has called the end off"
    topic.discard()
