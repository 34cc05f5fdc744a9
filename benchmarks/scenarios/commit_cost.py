"""j) What a commit costs Redis: the whole script beside the least that it could be; and one run's events, batched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, NamedTuple

import orjson
import redis

from runrelay.progress import Event
from runrelay.runlog import Batch, Keys, Retention
from runrelay.runlog.commits import NewLog, commit_args
from runrelay.runlog.scripts import COMMIT, Script

from ..figures import Figures
from ..plan import Plan
from ..publishing import text_of
from ..servers.measured import RUNRELAY, MeasuredServer
from ..session import Stage
from .rounds import take_turns

__all__ = ["cost_of_commits"]

_KEYS: Final = Keys()
_RUN: Final = "20251105_1430_bench0"
_NEW_LOG: Final = NewLog.fresh()
_ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class _Way:
    """How events come to Redis."""

    name: str
    events: int
    """In a commit."""
    at_once: int
    """Commits that are sent before their replies are read."""


_WAYS: Final = (
    _Way("one event, one commit at a time", 1, 1),
    _Way("one event, 50 commits sent at once", 1, 50),
    _Way("a commit of 100 events", 100, 1),
)

Calls = Sequence[Sequence[str | bytes | int]]


def cost_of_commits(stage: Stage, plan: Plan, figures: Figures) -> None:
    """Microseconds of Redis' processor for an event, by both scripts in turn; events per second of one worker's run."""
    minimal = Script.of("minimal", resources.files(__package__).joinpath("minimal.lua").read_text("utf-8"))
    for way in _WAYS:
        events = plan.calls * (10 if way.events > 1 else 3)

        def measure(measured: MeasuredServer, way: _Way = way, events: int = events) -> str:
            whole = _measured(stage, COMMIT, _whole(events, way.events), way.at_once)
            least = _measured(stage, minimal, _least(events, way.events), way.at_once)
            note = f"inside the script {whole.script_us / least.script_us:.2f} ×"
            figures.add("j", measured.name, f"{way.name}, whole", "µs an event", whole.cpu_us / events)
            figures.add("j", measured.name, f"{way.name}, minimal", "µs an event", least.cpu_us / events)
            figures.add("j", measured.name, f"{way.name}, whole to minimal", "×", whole.cpu_us / least.cpu_us, note)
            return f"{way.name}: {whole.cpu_us / events:6.2f} µs an event, minimal {least.cpu_us / events:6.2f}; {note}"

        take_turns(stage, "j", _ROUNDS, (RUNRELAY,), measure)

    def one_run(measured: MeasuredServer) -> str:
        count = plan.calls * 40
        with redis.Redis.from_url(stage.valkey.url) as client:
            client.flushall()
        with stage.publisher(measured, 0, 1, core=stage.cores.server) as publisher:
            publisher.order(1, flush=True)
            publisher.order(count, flush=True)
            _, answer = publisher.finish()
        rate = count / ((answer["ended_ns"] - answer["began_ns"]) / 1e9)
        figures.add("j", measured.name, "one run, one worker process", "events/s", rate, f"{count:,} log lines")
        return f"{rate:>10,.0f} events/s of one run by one worker process"

    take_turns(stage, "j", plan.paced_rounds, (RUNRELAY,), one_run)


def _whole(events: int, size: int) -> Calls:
    """Commits as the flusher sends them."""

    def call(first: int) -> Sequence[str | bytes | int]:
        batch = Batch(_RUN, "producer0000", first, [_event(number) for number in range(first, first + size)])
        return [3, *commit_args(_KEYS, Retention(), batch, new_log=_NEW_LOG, server="benchmark")]

    return _calls(events, size, call)


def _least(events: int, size: int) -> Calls:
    """The same events in messages that are made already, but for their number."""

    def call(first: int) -> Sequence[str | bytes | int]:
        messages = [_message(_event(number)) for number in range(first, first + size)]
        return [2, *_KEYS.run(_RUN)[:2], _KEYS.channel, "RENDERING", repr(first / events), *messages]

    return _calls(events, size, call)


def _calls(events: int, size: int, call: Callable[[int], Sequence[str | bytes | int]]) -> Calls:
    return [call(first) for first in range(1, events + 1, size)]


def _event(number: int) -> Event:
    return Event(1_762_300_000_000 + number, "RENDERING", number / 1_000_000, text_of(number, number))


def _message(event: Event) -> bytes:
    """The contract's message but for its `seq`, which the script adds, and its seal."""
    fields = {
        "run_id": _RUN,
        "state": event.state,
        "progress": event.progress,
        "log": event.log,
        "status": "running",
        "epoch": "k3x9m2p7q1za",
        "ts": event.ts_ms,
        "attempt": 1,
    }
    return orjson.dumps(fields)[:-1]


class _Cost(NamedTuple):
    """What the server spent on calls, by its own count."""

    cpu_us: float
    """Of its main thread, the reading and answering of the calls and the append-only file included."""
    script_us: float
    """Inside the script."""


def _measured(stage: Stage, script: Script, calls: Calls, at_once: int) -> _Cost:
    """Run a script over an empty run."""
    with redis.Redis.from_url(stage.valkey.url) as client:
        client.flushall()
        client.script_load(script.text)
        connection: Any = client.connection_pool.get_connection()
        packets = [
            connection.pack_commands([("EVALSHA", script.sha, *call) for call in calls[at : at + at_once]])
            for at in range(0, len(calls), at_once)
        ]
        client.config_resetstat()
        before_s = _cpu_s(client)
        for at, packet in enumerate(packets):
            connection.send_packed_command(packet)
            for _ in calls[at * at_once : (at + 1) * at_once]:
                connection.read_response()
        cpu_us = (_cpu_s(client) - before_s) * 1e6
        client.connection_pool.release(connection)
        stats: dict[str, Any] = client.info("commandstats")
    return _Cost(cpu_us, float(stats["cmdstat_evalsha"]["usec"]))


def _cpu_s(client: redis.Redis) -> float:
    cpu: dict[str, Any] = client.info("cpu")
    return float(cpu["used_cpu_user_main_thread"]) + float(cpu["used_cpu_sys_main_thread"])
