"""k) Thousands of clients subscribe to dozens of runs each, all at once, and no two to the same run."""

from __future__ import annotations

import time
from typing import Final

import orjson

from runrelay.progress import make_event
from runrelay.runlog import Batch, Committed, ProducerSequence, RunLog

from ..figures import Figures
from ..generator import BenchmarkError, Clients, Target
from ..machine import cpu_s, memory_bytes
from ..plan import Plan
from ..publishing import run_names
from ..servers.measured import RUNRELAY, MeasuredServer
from ..session import Stage
from .rounds import take_turns

__all__ = ["join_storm", "subscriptions"]

_RUNS_EACH: Final = 40
_LINES: Final = 5
_CHUNK: Final = 500
_WITHIN_S: Final = 120.0


def join_storm(stage: Stage, plan: Plan, figures: Figures) -> None:
    """Time until the last subscription has its initial_state; who was told that Redis is down, or refused."""
    clients_count = plan.crowd * 2 // 5
    runs = run_names(clients_count * _RUNS_EACH)

    def measure(measured: MeasuredServer) -> str:
        with stage.server(measured) as server:
            _commit(stage.valkey.url, runs)
            target = Target(server.port, lambda run, cursor: "/ws")
            with Clients(target, ["all"], clients_count) as clients:
                before_s, before_bytes = cpu_s(server.pids), memory_bytes(server.pids)
                began_s = time.monotonic()
                clients.connect(at_once=2_000, hello_of=lambda i: subscriptions(runs[i * _RUNS_EACH :][:_RUNS_EACH]))
                counts = clients.counts
                clients.poll_until(lambda: counts.states >= len(runs), _WITHIN_S, "the last initial_state")
                took_s, cpu = time.monotonic() - began_s, cpu_s(server.pids) - before_s
                each_bytes = (memory_bytes(server.pids) - before_bytes) / len(runs)
                told, joined = counts.greetings, counts.states
        if joined != len(runs):
            raise BenchmarkError(f"{joined:,} initial states for {len(runs):,} subscriptions")
        who = measured.name
        figures.add("k", who, "last subscription has joined", "s", took_s, f"{len(runs):,} subscriptions")
        figures.add("k", who, "processor time of a join", "µs", cpu / len(runs) * 1e6)
        figures.add("k", who, "memory of a subscription", "KB", each_bytes / 1000)
        figures.add("k", who, "told that Redis is down, or refused", "frames", told)
        return (
            f"{took_s:.2f} s, {cpu / len(runs) * 1e6:.0f} µs and {each_bytes / 1000:.1f} KB each, {told} told otherwise"
        )

    take_turns(stage, "k", plan.paced_rounds, (RUNRELAY,), measure)


def subscriptions(runs: list[str]) -> bytes:
    """Frames that subscribe to these runs, masked with zeros."""
    frames = []
    for run in runs:
        body = orjson.dumps({"type": "subscribe", "run_id": run})
        frames.append(bytes((0x81, 0x80 | len(body), 0, 0, 0, 0)) + body)
    return b"".join(frames)


def _commit(redis_url: str, runs: list[str]) -> None:
    """Begin the runs: each has a few log lines."""
    runlog = RunLog(redis_url)
    events = [make_event("RENDERING", 0.1, f"image {number} of 40 rendered in 1.2 s") for number in range(_LINES)]
    for at in range(0, len(runs), _CHUNK):
        batches = [Batch(run, ProducerSequence.fresh().producer, 1, events) for run in runs[at : at + _CHUNK]]
        for result in runlog.commit_many(batches):
            if not isinstance(result, Committed):
                raise BenchmarkError(f"the runs cannot be begun: {result}")
    runlog.close()
