"""A topic under any interleaving of messages, losses, doubles, forgeries, reads, epochs, joins and slow turns.

No server: the log, the channel and every read are scripted, so that Hypothesis decides what happens in between. What is
held against each viewer is the contract: every seq once and in order, or a new initial_state; and in the end all of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from runrelay.codes import CloseCode
from runrelay.errors import RunlogUnavailable
from runrelay.fanout import topics
from runrelay.fanout.connections import Connection
from runrelay.fanout.frames import Batch
from runrelay.fanout.messages import Committed, parse_message
from runrelay.fanout.topics import Topic, Watcher
from runrelay.metrics import RelayMetrics
from runrelay.progress import START, Cursor, Snapshot
from runrelay.runlog import View
from runrelay.runlog.seals import seal
from tests.watching import Story

RUN = "20251105_1430_우주여행고양이"


@dataclass
class Log:
    """What Redis has of the run."""

    epoch: str
    key: bytes
    events: list[bytes] = field(default_factory=list)
    trimmed: int = 0
    """Events that are no longer kept."""

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, len(self.events))

    def message(self, seq: int, text: str, key: bytes) -> bytes:
        fields = {
            "run_id": RUN, "state": "RENDERING", "progress": None, "log": text, "status": "running", "seq": seq,
            "epoch": self.epoch, "ts": 1, "attempt": 1,
        }  # fmt: skip
        body = orjson.dumps(fields)[:-1]
        return body + b',"seal":"' + seal(body, key) + b'"}'

    def view(self, after: Cursor | None, most_bytes: int) -> View:
        """What the read script answers (runlog/read.lua)."""
        events = None
        if after is not None and after.epoch in (self.epoch, "0") and self.trimmed <= after.seq <= len(self.events):
            events = self.events[after.seq :]
            if sum(map(len, events)) > most_bytes:
                events = None
        return View(Snapshot(RUN, self.cursor, status="running"), events, self.key)


@dataclass(eq=False)
class Read:
    """A read on its way: the server carries it out at some moment, the answer arrives at a later one."""

    after: Cursor | None
    most_bytes: int
    answer: asyncio.Future[View] = field(repr=False)
    view: View | None = field(default=None, repr=False)


class Viewer:
    """A client that is quick, until it is cut off."""

    resume_bytes = 2_000
    closed: tuple[CloseCode, str] | None = None

    def __init__(self, after: str | None, contents: dict[str, str]) -> None:
        self.connection: Connection = self
        self.story = Story(after)
        self._contents = contents

    def send(self, batch: Batch, *, exempt: bool = False) -> bool:
        if self.closed is not None:
            return False
        for frame in batch.frames:
            fields = orjson.loads(frame.body)
            self.story.add(fields)
            if fields["type"] == "progress":
                assert self._contents[fields["id"]] == fields["message"], "this was never committed"
        return True

    def close(self, code: CloseCode, reason: str = "") -> None:
        self.closed = code, reason

    def end(self) -> None:
        raise AssertionError("the run has not ended")


class World(RuleBasedStateMachine):
    """Everything around one topic."""

    topic_class: type[Topic] = Topic

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.contents: dict[str, str] = {}
        """What was ever committed, by cursor."""
        self.log: Log | None = None
        self.logs = 0
        self.channel: deque[bytes] = deque()
        self.said: list[bytes] = []
        self.reads: list[Read] = []
        self.viewers: dict[Viewer, asyncio.Task[None]] = {}
        self.repairs: list[asyncio.Task[None]] = []
        self.topic = self._made()

    def _made(self) -> Topic:
        return self.topic_class(RUN, self._read, RelayMetrics(), resume_bytes=4_000, end_after_s=1e6, spawn=self._spawn)

    async def _read(self, run_id: str, after: Cursor | None, most_bytes: int) -> View:
        read = Read(after, most_bytes, self.loop.create_future())
        self.reads.append(read)
        return await read.answer

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self.loop.create_task(work, name=name)
        self.repairs.append(task)
        return task

    def _turn(self, turns: int) -> None:
        async def some() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.loop.run_until_complete(some())

    # The log and the channel

    @rule(count=st.integers(1, 4), turns=st.integers(0, 3))
    def commit(self, count: int, turns: int) -> None:
        for _ in range(count):
            if self.log is None:
                self.logs += 1
                self.log = Log(f"epoch{self.logs:07}", b"key %d" % self.logs)
            seq, text = len(self.log.events) + 1, f"line {len(self.contents)}"
            message = self.log.message(seq, text, self.log.key)
            self.contents[f"{self.log.epoch}-{seq}"] = text
            self.log.events.append(message)
            self.channel.append(message)
            self.said.append(message)
        self._turn(turns)

    @precondition(lambda self: self.log is not None)
    @rule()
    def expire(self) -> None:
        """The log is gone, by expiry or because Redis lost it; the next commit begins another."""
        self.log = None

    @precondition(lambda self: self.log is not None)
    @rule()
    def trim(self) -> None:
        assert self.log is not None
        self.log.trimmed = max(0, len(self.log.events) - 1)

    @precondition(lambda self: self.channel)
    @rule(count=st.integers(1, 5), turns=st.integers(0, 3))
    def hear(self, count: int, turns: int) -> None:
        heard = [self.channel.popleft() for _ in range(min(count, len(self.channel)))]
        self._receive(heard, turns)

    def _receive(self, raws: list[bytes], turns: int) -> None:
        messages = [parse_message(raw) for raw in raws]

        async def receive() -> None:
            self.topic.receive([message for message in messages if isinstance(message, Committed)])

        if self.topic.in_use:  # the hub keeps no other
            self.loop.run_until_complete(receive())
        self._turn(turns)

    @precondition(lambda self: self.channel)
    @rule()
    def lose(self) -> None:
        self.channel.popleft()

    @precondition(lambda self: self.said)
    @rule(data=st.data(), turns=st.integers(0, 3))
    def hear_again(self, data: st.DataObject, turns: int) -> None:
        self._receive([data.draw(st.sampled_from(self.said))], turns)

    @rule(ahead=st.integers(0, 3), epoch=st.sampled_from([None, "forgedepoch0", "0"]), turns=st.integers(0, 3))
    def forge(self, ahead: int, epoch: str | None, turns: int) -> None:
        """Somebody publishes a made-up message, with an epoch that they saw or made, and a seal of their own."""
        log = self.log if self.log is not None and epoch is None else Log(epoch or "0", b"")
        self._receive([log.message(len(log.events) + ahead, "forged", b"")], turns)

    # Reads

    @precondition(lambda self: self.reads)
    @rule(data=st.data())
    def carry_out(self, data: st.DataObject) -> None:
        self._carry_out(data.draw(st.sampled_from(self.reads), label="read"))

    def _carry_out(self, read: Read) -> None:
        if self.log is None:
            read.view = View(Snapshot(RUN), None)
        else:
            read.view = self.log.view(read.after, read.most_bytes)

    @precondition(lambda self: self.reads)
    @rule(data=st.data(), turns=st.integers(0, 4))
    def answer(self, data: st.DataObject, turns: int) -> None:
        self._answer(data.draw(st.sampled_from(self.reads), label="read"))
        self._turn(turns)

    def _answer(self, read: Read) -> None:
        if read.view is None:
            self._carry_out(read)
        assert read.view is not None
        self.reads.remove(read)
        if not read.answer.done():
            read.answer.set_result(read.view)

    @precondition(lambda self: self.reads)
    @rule(data=st.data(), turns=st.integers(0, 4))
    def fail(self, data: st.DataObject, turns: int) -> None:
        read = data.draw(st.sampled_from(self.reads), label="read")
        self.reads.remove(read)
        if not read.answer.done():
            read.answer.set_exception(RunlogUnavailable("scripted"))
        self._turn(turns)

    # Viewers

    @rule(data=st.data(), turns=st.integers(0, 3))
    def join(self, data: st.DataObject, turns: int) -> None:
        cursors = [None, str(START), *self.contents]
        after = data.draw(st.sampled_from(cursors), label="after")
        if not self.topic.in_use and not self.reads:
            self.topic.close()
            self.topic = self._made()  # the hub has forgotten the last one
        viewer = Viewer(after, self.contents)
        self.viewers[viewer] = self.loop.create_task(self._join(viewer, after))
        self._turn(turns)

    async def _join(self, viewer: Viewer, after: str | None) -> None:
        cursor = None
        if after is not None:
            epoch, _, seq = after.partition("-")
            cursor = Cursor(epoch, int(seq))
        while True:  # as the hub does
            try:
                await self.topic.join(viewer, cursor)
            except RunlogUnavailable:
                continue
            return

    @precondition(lambda self: self.viewers)
    @rule(data=st.data(), politely=st.booleans())
    def go(self, data: st.DataObject, politely: bool) -> None:
        viewer = data.draw(st.sampled_from([*self.viewers]), label="viewer")
        if politely or not self.viewers[viewer].done():
            self.viewers[viewer].cancel()
            self.topic.leave(viewer)
        viewer.close(CloseCode.TOO_SLOW)  # else: the next send finds it gone
        self._turn(1)
        task = self.viewers.pop(viewer)
        if task.done() and not task.cancelled():
            task.result()

    @rule(turns=st.integers(1, 5))
    def turn(self, turns: int) -> None:
        self._turn(turns)

    @rule(turns=st.integers(0, 3))
    def check(self, turns: int) -> None:
        """The hub's periodic check."""
        here, there = self.topic.position, self.log.cursor if self.log is not None else None
        if here is not None and (there != here if there is not None else here.seq and not self.topic.stale):
            self.loop.run_until_complete(_in_loop(self.topic.repair))
        self._turn(turns)

    def teardown(self) -> None:
        try:
            self._finish()
        finally:
            self.topic.close()
            for task in (*self.viewers.values(), *self.repairs):
                task.cancel()
            self._turn(3)
            self.loop.close()

    def _finish(self) -> None:
        """Everything arrives and nothing more happens: all are told all."""
        for _ in range(100):
            self._receive([self.channel.popleft() for _ in range(len(self.channel))], 50)
            self.check(50)
            if not self.reads:
                break
            for read in [*self.reads]:
                self._answer(read)
        self._turn(50)
        for task in (*self.repairs, *self.viewers.values()):
            assert task.done(), "something waits for ever"
            if not task.cancelled():
                task.result()
        for viewer in self.viewers:
            assert viewer.story.frames, "the viewer was told nothing"
            if self.log is not None:
                assert viewer.story.position == str(self.log.cursor), "the viewer was not told all"


async def _in_loop(call: Any) -> None:
    call()


SETTINGS = settings(
    max_examples=400,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink a failure takes minutes: add Phase.shrink then
)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery takes several turns of the loop, as it does with thousands of viewers."""
    monkeypatch.setattr(topics, "_WATCHERS_PER_TURN", 1)


def test_every_viewer_sees_every_event_once_and_in_order() -> None:
    """What all transports stand on: no interleaving makes a hole, a double, or a forged event."""
    run_state_machine_as_test(World, settings=SETTINGS)


class _NoRecent(Topic):
    """Forgets what was delivered while a joiner read."""

    def _admit(self, watcher: Watcher, view: View, after: Cursor | None) -> bool:
        if self.position is not None and self.position.epoch == view.snapshot.cursor.epoch:
            if watcher.connection.send(Batch(self._first_frames(view, after)), exempt=True):
                self._make_live(watcher)
            return True
        return super()._admit(watcher, view, after)


class _NoAhead(Topic):
    """Takes a joiner whose read is ahead of the channel for one that is at the position."""

    @property
    def ahead(self) -> dict[Watcher, Cursor]:
        for watcher in [*self._ahead]:
            del self._ahead[watcher]
            self._make_live(watcher)
        return self._ahead

    @ahead.setter
    def ahead(self, value: dict[Watcher, Cursor]) -> None:
        self._ahead = value


class _NoPosition(Topic):
    """Passes on whatever the channel brings."""

    def _work_off(self) -> bool:
        if self.position is not None and self._delivery is None and self._backlog:
            self.position = self._backlog[0].cursor._replace(seq=self._backlog[0].cursor.seq - 1)
        return super()._work_off()


class _NoRepair(Topic):
    """Never reads what it missed."""

    def repair(self) -> None:
        self._backlog.clear()
        self._repaired.set()


class _NoSecondRead(Topic):
    """Believes a read of another epoch."""

    def _admit(self, watcher: Watcher, view: View, after: Cursor | None) -> bool:
        if self.position is not None and self.position.epoch != view.snapshot.cursor.epoch:
            if watcher.connection.send(Batch(self._first_frames(view, after)), exempt=True):
                self._make_live(watcher)
            return True
        return super()._admit(watcher, view, after)


@pytest.mark.parametrize("broken", [_NoRecent, _NoAhead, _NoPosition, _NoRepair, _NoSecondRead])
def test_without_a_protection_it_fails(broken: type[Topic]) -> None:
    """The negative control: each protection switched off is noticed."""
    world = type("Broken", (World,), {"topic_class": broken})
    found_by_generating = settings(SETTINGS, derandomize=True, database=None)
    with pytest.raises(AssertionError) as e:
        run_state_machine_as_test(world, settings=found_by_generating)
    print(repr(e.value)[:300], e.value.__notes__[:1] if hasattr(e.value, "__notes__") else "")


def test_without_seals_a_forged_event_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the seal."""
    monkeypatch.setattr(topics, "is_sealed", lambda message, key: True)
    found_by_generating = settings(SETTINGS, derandomize=True, database=None)
    with pytest.raises((AssertionError, KeyError)):
        run_state_machine_as_test(World, settings=found_by_generating)
