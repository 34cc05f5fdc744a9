"""The commit script against a model of it: lost replies, flushed scripts, lost keys, servers that come back older.

The model is the contract in some lines: what passes, what is announced, which number it has, when a new epoch begins.
Steps have tests of their own.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

import runrelay.runlog.sync
from runrelay.progress import START, TERMINAL_STATES, Event, Status
from runrelay.runlog import Batch, RunLog
from runrelay.runlog.scripts import COMMIT
from tests.support.runlog import (
    Witness,
    contradictions,
    ended,
    fields_of,
    fresh_keys,
    holes,
    look_at,
    queued,
    read,
    said,
    started,
    weakened,
)
from tests.support.servers import Server


@dataclass
class Model:
    """The model of a run's log."""

    log: int = 0
    """The number of the log: 0 for none, and a new number for each new epoch."""
    seq: int = 0
    server: str = ""
    has_stream: bool = False
    attempt: int = 0
    begun: int = 0
    queued: int = 0
    status: Status = "unknown"
    state: str | None = None
    progress: float | None = None
    marks: dict[str, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def commit(
        self, producer: str, first: int, events: Sequence[Event], server: str, name: Callable[[], int]
    ) -> list[Any]:
        """Fold events; returns what is published: (log, seq, attempt, state, progress, line, status)."""
        mark = self.marks.get(producer, 0)
        lost = first > mark + 1
        anew = not self.log or lost or not self.has_stream or self.server != server
        told = [
            (self.attempt, self.state, self.progress, event.log, self.status)
            for number, event in enumerate(events, first)
            if (number > mark or lost) and self._admit(event) and self._fold(event)
        ]
        if told:
            if anew:
                self.log, self.seq, self.server, self.has_stream = name(), 0, server, True
            self.lines += [line for _, _, _, line, _ in told if line]
        if self.log:
            self.marks[producer] = max(mark, first + len(events) - 1)
        self.seq += len(told)
        return [(self.log, self.seq - len(told) + index, *rest) for index, rest in enumerate(told, 1)]

    def _begin(self, attempt: int) -> None:
        self.attempt, self.progress = attempt, None

    def _admit(self, event: Event) -> bool:
        over = self.status in TERMINAL_STATES.values()
        if event.kind == "queue":
            self._begin(self.attempt + 1)
            self.begun, self.queued = 0, self.attempt
            return True
        if event.kind == "start":
            sent_for = event.base_attempt or 0
            if event.base_attempt and sent_for < self.queued:
                return False
            if over and self.status != "failed" and not event.reopen and sent_for <= self.attempt:
                return False
            if self.attempt == 0 or over or self.begun == self.attempt:
                self._begin(max(self.attempt + 1, sent_for))
            elif sent_for > self.attempt:
                self._begin(sent_for)
            self.begun = self.attempt
            return True
        fence = event.attempt or self.attempt
        if fence < self.attempt or (over and fence == self.attempt):
            return False
        if fence > self.attempt:
            self._begin(fence)
            self.begun = fence
        self.attempt = self.attempt or 1
        return True

    def _fold(self, event: Event) -> bool:
        """Whether anything changes."""
        before = (self.progress, self.state, self.status)
        progress = 1.0 if event.state == "END" else event.progress
        if progress is not None and (self.progress is None or progress > self.progress):
            self.progress = progress
        self.state = event.state or self.state
        ended_as = TERMINAL_STATES.get(event.state or "")
        self.status = ended_as or ("queued" if event.kind == "queue" else "running")
        return bool(event.log) or event.kind != "event" or before != (self.progress, self.state, self.status)


class Acquainted(RunLog):
    """A client that reads the server's identity from the test."""

    identity = "server 1"

    def _connected(self) -> Any:
        connection = super()._connected()
        self._server = self.identity
        return connection


@dataclass
class Producer:
    """Keeps events that are not known to be committed, and sends them again with the same numbers."""

    name: str
    next: int = 1
    pending: list[Event] = field(default_factory=list)


PROGRESS = (0.0, 0.1, 0.25, 0.5, 0.9, 1.0)
producers = st.integers(0, 2)
events = st.one_of(
    st.builds(
        said,
        st.none() | st.just("a line"),
        progress=st.none() | st.sampled_from(PROGRESS),
        state=st.none() | st.sampled_from(["A", "B"]),
        attempt=st.none() | st.integers(1, 3),
    ),
    st.builds(started, base_attempt=st.none() | st.integers(1, 3), reopen=st.booleans()),
    st.builds(queued),
    st.builds(ended, st.sampled_from(list(TERMINAL_STATES)), attempt=st.none() | st.integers(1, 3)),
)


class RunLogMachine(RuleBasedStateMachine):
    """One run, some producers, one server after another."""

    server: ClassVar[Server]
    knows_servers: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.log = Acquainted(self.server.url, fresh_keys())
        self.stack.callback(self.log.close)
        self.look = self.stack.enter_context(look_at(self.server))
        self.witness = self.stack.enter_context(Witness.of(self.server, self.log.keys))
        self.keys = self.log.keys.run("우주 r")
        self.producers = [Producer(name) for name in "pqr"]
        self.model = Model()
        self.told: list[Any] = []
        self.logs: dict[int, str] = {}
        self.backup: tuple[Model, dict[str, bytes | None]] = (Model(), dict.fromkeys(self.keys))
        self.identities = 1
        self.lines = 0
        self.names = 0

    def teardown(self) -> None:
        heard = self.witness.heard()
        self.stack.close()
        assert not contradictions(heard)
        assert not holes(heard)

    def _name(self) -> int:
        self.logs[len(self.logs) + 1] = ""
        return len(self.logs)

    @rule(index=producers, batch=st.lists(events, max_size=4), reply_lost=st.booleans())
    def commit(self, index: int, batch: list[Event], reply_lost: bool) -> None:
        """Send the pending events and more."""
        producer = self.producers[index]
        for event in batch:
            self.lines += 1
            producer.pending.append(event._replace(log=event.log and f"line {self.lines}"))
        if not producer.pending:
            return
        done = self.log.commit(Batch("우주 r", producer.name, producer.next, producer.pending))
        expected = self.model.commit(producer.name, producer.next, producer.pending, self.log.identity, self._name)
        self.told += expected
        if not reply_lost:
            assert done.after - done.before == len(expected)
            if self.model.log:
                assert (done.status, done.attempt) == (self.model.status, self.model.attempt)
            producer.next += len(producer.pending)
            producer.pending = []

    @rule(index=producers, progress=st.sampled_from(PROGRESS))
    def progress(self, index: int, progress: float) -> None:
        """The most frequent events."""
        self.commit(index, [said("a line", progress=progress)], reply_lost=False)

    @rule(index=producers)
    def leave(self, index: int) -> None:
        """A producer whose events are all known to be committed ends, and deletes its mark."""
        producer = self.producers[index]
        if not producer.pending:
            self.log.delete_marks([("우주 r", producer.name)])
            self.model.marks.pop(producer.name, None)
            self.names += 1
            self.producers[index] = Producer(f"{producer.name[0]}{self.names}")

    @rule(harm=st.sampled_from(["hash", "stream", "lines", "index", "scripts", "nothing", "nothing"]))
    def lose(self, harm: str) -> None:
        """Lose one of the keys, or the scripts, or only a little time."""
        if harm == "hash":
            self.look.delete(self.keys[0])
            self.model = Model(has_stream=self.model.has_stream)
        elif harm == "stream":
            self.look.delete(self.keys[1])
            self.model.has_stream = False
        elif harm == "index":
            self.look.hdel(self.keys[0], "step_names", "prune_at", "begun_at")  # as an older version leaves it
        elif harm == "lines":
            self.look.delete(self.keys[2])
            self.model.lines = []
        elif harm == "scripts":
            self.look.script_flush()
        (status,) = self.log.heartbeat(["우주 r"]).values()
        assert status == (self.model.status if self.model.log else None)

    @rule()
    def take_backup(self) -> None:
        self.backup = copy.deepcopy(self.model), {key: self.look.dump(key) for key in self.keys}

    @rule()
    def come_back_older(self) -> None:
        """The server restarts from its backup, or a replica that lagged replaces it."""
        model, dumps = self.backup
        self.model = copy.deepcopy(model)
        for key, dump in dumps.items():
            self.look.delete(key)
            if dump is not None:
                self.look.restore(key, 3600_000, dump)
        if self.knows_servers:
            self.identities += 1
            self.log.identity = f"server {self.identities}"

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        messages = self.witness.heard()
        heard = [fields_of(message) for message in messages]
        for fields, (log, *_) in zip(heard, self.told, strict=True):
            self.logs[log] = self.logs[log] or fields["epoch"]
            assert fields["epoch"] == self.logs[log]
        assert len(set(self.logs.values())) == len(self.logs), "two logs have one name"
        announced = [(f["seq"], f["attempt"], f["state"], f["progress"], f["log"], f["status"]) for f in heard]
        assert announced == [tuple(rest) for _, *rest in self.told]

        view = read(self.look, self.log.keys, "우주 r", START)
        snapshot, model = view.snapshot, self.model
        assert snapshot.exists == bool(model.log)
        if model.log:
            assert (snapshot.cursor.seq, snapshot.cursor.epoch) == (model.seq, self.logs[model.log])
            assert (snapshot.status, snapshot.state, snapshot.progress, snapshot.attempt) == (
                model.status,
                model.state,
                model.progress,
                model.attempt,
            )
            assert [line.message for line in snapshot.logs] == model.lines
            of_this_log = [m for m, (log, *_) in zip(messages, self.told, strict=True) if log == model.log]
            assert view.events == (of_this_log[: model.seq] if model.has_stream else None)
        marks = {name[2:].decode() for name in self.look.hkeys(self.keys[0]) if name.startswith(b"p:")}
        assert marks == set(model.marks)
        assert all(self.look.ttl(key) != -1 for key in self.keys)


QUICK = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.fixture
def machine(store: Server) -> type[RunLogMachine]:
    """A machine for one of the servers."""

    class Machine(RunLogMachine):
        server = store

    return Machine


def test_whatever_happens_the_log_is_as_the_model_says(machine: type[RunLogMachine]) -> None:
    """Numbers are contiguous, progress is monotonic, each event is there once, and no number is used twice."""
    run_state_machine_as_test(machine, settings=QUICK)


CONTROLS = {
    "marks": ("local pass = number > mark", "local pass = true"),
    "fences": ("if fence < attempt or over and fence == attempt then return false end", ""),
    "stream": ("redis.call('XLEN', stream) == 0", "false"),
    "progress": ("value > tonumber(progress)", "value ~= tonumber(progress)"),
}
HUNT = settings(
    QUICK,
    max_examples=200,
    stateful_step_count=40,
    derandomize=True,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


@pytest.mark.parametrize("protection", CONTROLS)
@pytest.mark.parametrize("store", ["valkey"], indirect=True)
def test_without_a_protection_the_model_objects(
    machine: type[RunLogMachine], monkeypatch: pytest.MonkeyPatch, protection: str
) -> None:
    """Negative control: without each protection of the script the machine fails."""
    monkeypatch.setattr(runrelay.runlog.sync, "COMMIT", weakened(COMMIT, *CONTROLS[protection]))
    with pytest.raises(Exception, match=r"assert|RunlogError|refused|shorter|longer"):
        run_state_machine_as_test(machine, settings=HUNT)


@pytest.mark.parametrize("store", ["valkey"], indirect=True)
def test_without_an_identity_of_servers_the_model_objects(machine: type[RunLogMachine]) -> None:
    """Negative control: a server comes back with older data, and is taken for the same server."""

    class Trusting(machine):  # type: ignore[misc,valid-type]  # a class made by a fixture
        knows_servers = False

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Trusting, settings=HUNT)
