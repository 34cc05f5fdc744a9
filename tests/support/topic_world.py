"""A topic's world for property tests: the log, the channel, every read and the viewers are scripted.

Hypothesis, or a random walk, decides what happens in between. Each viewer is held against the contract.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from runrelay.codes import CloseCode
from runrelay.errors import RunlogUnavailable
from runrelay.fanout.connections import Connection
from runrelay.fanout.frames import Batch
from runrelay.fanout.messages import RawMessage, parse_message
from runrelay.fanout.repairs import Repairs
from runrelay.fanout.shared_reads import Join
from runrelay.fanout.topics import Topic
from runrelay.metrics import RelayMetrics
from runrelay.progress import START, Cursor, Snapshot
from runrelay.runlog import RunView, Signer
from tests.support.clients import Story

__all__ = ["RUN", "Log", "Viewer", "World"]

RUN = "20251105_1430_우주여행고양이"


@dataclass
class Log:
    """The run's log in Redis."""

    epoch: str
    key: bytes
    events: list[bytes] = field(default_factory=list)
    trimmed: int = 0
    """How many events are no longer kept."""

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, len(self.events))

    def message(self, seq: int, text: str, key: bytes, status: str = "running") -> bytes:
        fields = {
            "run_id": RUN, "state": "RENDERING", "progress": None, "log": text, "status": status, "seq": seq,
            "epoch": self.epoch, "ts": 1, "attempt": 1,
        }  # fmt: skip
        body = orjson.dumps(fields)[:-1]
        return body + b',"seal":"' + Signer(key).sign(body) + b'"}'

    def view(self, after: Cursor | None, most_bytes: int) -> RunView:
        """What the read script answers (runlog/read.lua)."""
        events = None
        if after is not None and after.epoch in (self.epoch, "0") and self.trimmed <= after.seq <= len(self.events):
            events = self.events[after.seq :]
            if sum(map(len, events)) > most_bytes:
                events = None
        return RunView(Snapshot(RUN, self.cursor, status="running"), events, self.key)


@dataclass(eq=False)
class Read:
    """A read under way: the server carries it out at one moment, its answer arrives at a later one."""

    after: Cursor | None
    most_bytes: int
    answer: asyncio.Future[RunView] = field(repr=False)
    view: RunView | None = field(default=None, repr=False)


def bodies(wire: bytes) -> Iterator[bytes]:
    """The bodies of short WebSocket frames."""
    while wire:
        start, size = (4, int.from_bytes(wire[2:4], "big")) if wire[1] == 126 else (2, wire[1])
        yield wire[start : start + size]
        wire = wire[start + size :]


class Viewer:
    """A client that reads everything at once, until it is cut off."""

    resume_bytes = 2_000
    closed: tuple[CloseCode, str] | None = None

    def __init__(self, after: str | None, contents: dict[str, str], *, direct: bool = False) -> None:
        self.connection: Connection = self
        self.send_now: Callable[[bytes], int] | None = self._take if direct else None
        self.story = Story(after)
        self.broken: AssertionError | None = None
        self._contents = contents

    def send(self, batch: Batch, *, exempt: bool = False) -> bool:
        if self.closed is not None:
            return False
        self._receive(batch.wire)
        return True

    def _take(self, wire: bytes) -> int:
        self._receive(wire)
        return len(wire)

    def _receive(self, wire: bytes) -> None:
        try:
            for body in bodies(wire):
                fields = orjson.loads(body)
                self.story.add(fields)
                if fields["type"] == "progress":
                    assert self._contents.get(fields["id"]) == fields["message"], "this was never committed"
        except AssertionError as error:  # the topic may not notice, so that the failure is this and not what follows
            self.broken = self.broken or error

    def close(self, code: CloseCode, reason: str = "") -> None:
        self.closed, self.send_now = (code, reason), None

    def when_drained(self, callback: Callable[[], None]) -> bool:
        return True

    def tick(self) -> None:
        pass

    stays_after_end = False

    def run_ended(self) -> None:
        raise AssertionError("the run has not ended")

    def run_failed(self, error: Exception) -> None:
        raise AssertionError("nothing has failed") from error


PICK = st.integers(0, 999)
TURNS = st.integers(0, 3)


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
        self.viewers: dict[Viewer, Join] = {}
        self.gone: list[Viewer] = []
        self.repairs: list[asyncio.Task[None]] = []
        self.line = Repairs(self._spawn)
        self.topic = self._made()

    def _made(self) -> Topic:
        return self.topic_class(
            RUN, self._read, RelayMetrics(), resume_bytes=4_000, end_after_s=1e6, ask_repair=self.line.add
        )

    async def _read(self, run_id: str, after: Cursor | None, most_bytes: int, later: bool) -> RunView:
        read = Read(after, most_bytes, self.loop.create_future())
        self.reads.append(read)
        return await read.answer

    def _spawn(self, work: Coroutine[Any, Any, None], name: str, run_id: str) -> asyncio.Task[None]:
        task = self.loop.create_task(work, name=name)
        self.repairs.append(task)
        return task

    def _turn(self, turns: int) -> None:
        async def some() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.loop.run_until_complete(some())

    # The log and the channel

    @rule(count=st.integers(1, 4), turns=TURNS)
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
    @rule(count=st.integers(1, 5), turns=TURNS)
    def hear(self, count: int, turns: int) -> None:
        heard = [self.channel.popleft() for _ in range(min(count, len(self.channel)))]
        self._receive(heard, turns)

    def _receive(self, raws: list[bytes], turns: int) -> None:
        """As the hub does: what is sealed is made a frame at once, what is not is judged later."""
        messages = [self.topic.cutter.cut(raw) or parse_message(raw) for raw in raws]

        async def receive() -> None:
            self.topic.receive([message for message in messages if not isinstance(message, RawMessage)])

        if self.topic.in_use:  # the hub keeps no other
            self.loop.run_until_complete(receive())
        self._turn(turns)

    @precondition(lambda self: self.channel)
    @rule()
    def lose(self) -> None:
        self.channel.popleft()

    @precondition(lambda self: self.said)
    @rule(pick=PICK, turns=TURNS)
    def hear_again(self, pick: int, turns: int) -> None:
        self._receive([self.said[pick % len(self.said)]], turns)

    @rule(
        ahead=st.sampled_from([1, 1, 1, 0, 2, 3]),
        epoch=st.sampled_from([None, None, "forgedepoch0", "0"]),
        turns=TURNS,
    )
    def forge(self, ahead: int, epoch: str | None, turns: int) -> None:
        """Somebody publishes a made-up message, with an epoch that they saw or made, and a seal of their own."""
        log = self.log if self.log is not None and epoch is None else Log(epoch or "0", b"")
        self._receive([log.message(len(log.events) + ahead, "forged", b"")], turns)

    # Reads

    @precondition(lambda self: self.reads)
    @rule(pick=PICK)
    def carry_out(self, pick: int) -> None:
        self._carry_out(self.reads[pick % len(self.reads)])

    def _carry_out(self, read: Read) -> None:
        if self.log is None:
            read.view = RunView(Snapshot(RUN), None)
        else:
            read.view = self.log.view(read.after, read.most_bytes)

    @precondition(lambda self: self.reads)
    @rule(pick=PICK, turns=TURNS)
    def answer(self, pick: int, turns: int) -> None:
        self._answer(self.reads[pick % len(self.reads)])
        self._turn(turns)

    def _answer(self, read: Read) -> None:
        if read.view is None:
            self._carry_out(read)
        assert read.view is not None
        self.reads.remove(read)
        if not read.answer.done():
            read.answer.set_result(read.view)

    @precondition(lambda self: self.reads)
    @rule(pick=PICK, turns=TURNS)
    def fail(self, pick: int, turns: int) -> None:
        read = self.reads.pop(pick % len(self.reads))
        if not read.answer.done():
            read.answer.set_exception(RunlogUnavailable("scripted"))
        self._turn(turns)

    # Viewers

    @rule(pick=PICK, turns=TURNS)
    def join(self, pick: int, turns: int) -> None:
        cursors = [None, str(START), *self.contents]
        after = cursors[pick % len(cursors)]
        if not self.topic.in_use and not self.reads:
            self.topic.discard()
            self.topic = self._made()  # the hub has forgotten the last one
        viewer = Viewer(after, self.contents, direct=pick % 2 == 0)
        cursor = None
        if after is not None:
            epoch, _, seq = after.partition("-")
            cursor = Cursor(epoch, int(seq))
        self.loop.run_until_complete(_in_loop(partial(self._join, viewer, cursor)))
        self._turn(turns)

    def _join(self, viewer: Viewer, cursor: Cursor | None) -> None:
        join = self.viewers[viewer] = Join(RUN, viewer, cursor, self._joined)
        self.topic.join(join)

    def _joined(self, join: Join, error: Exception | None) -> None:
        """As the hub does."""
        viewer = join.subscriber
        assert isinstance(viewer, Viewer)
        if isinstance(error, RunlogUnavailable):
            self._join(viewer, join.after)
        elif error is not None:
            viewer.broken = viewer.broken or AssertionError(f"it could not join: {error!r}")

    @precondition(lambda self: self.viewers)
    @rule(pick=PICK, turns=TURNS)
    def go(self, pick: int, turns: int) -> None:
        viewer = [*self.viewers][pick % len(self.viewers)]
        join = self.viewers.pop(viewer)
        if turns or not join.over:
            join.cancel()
            self.topic.leave(viewer)
        viewer.close(CloseCode.TOO_SLOW)  # else: the next send finds it gone
        self._turn(1)
        self.gone.append(viewer)

    @rule(turns=TURNS)
    def turn(self, turns: int) -> None:
        self._turn(turns)

    @rule(turns=TURNS)
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
            self.topic.discard()
            for join in self.viewers.values():
                join.cancel()
            for task in self.repairs:
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
        for viewer in (*self.viewers, *self.gone):
            if viewer.broken is not None:
                raise viewer.broken
        for task in self.repairs:
            assert task.done(), "a repair waits for ever"
            if not task.cancelled():
                task.result()
        assert all(join.over for join in self.viewers.values()), "a join waits for ever"
        for viewer in self.viewers:
            assert viewer.story.frames, "the viewer was told nothing"
            if self.log is not None:
                assert viewer.story.position == str(self.log.cursor), "the viewer was not told all"


async def _in_loop(call: Any) -> None:
    call()
