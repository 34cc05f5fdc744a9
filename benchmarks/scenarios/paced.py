"""b) and c): a given rate, and how old messages are when they come."""

from __future__ import annotations

from typing import Final

from ..figures import Figures
from ..measures import Paced, paced
from ..plan import Plan
from ..servers.measured import CHANNELS, NCHAN, NCHAN_OVER_REDIS, PLAIN, RUNRELAY, SOCKETIO, MeasuredServer
from ..session import Stage
from .rounds import take_turns

__all__ = ["crowd_at_a_rate", "thousand_at_a_rate"]

_RUNS: Final = 10
_CLOSE: Final = (RUNRELAY, NCHAN)
_FAST: Final = (NCHAN_OVER_REDIS, PLAIN)
_SLOW: Final = (SOCKETIO, CHANNELS)
"""Both scenarios ask for 50,000 deliveries per second."""


def thousand_at_a_rate(stage: Stage, plan: Plan, figures: Figures) -> None:
    """1,000 clients on 10 runs, 500 messages per second; and one client, whose messages tell the way to the fan-out."""
    _at_a_rate(stage, plan, figures, "b", clients=1_000, rate=500.0, rounds=plan.level_rounds)

    def alone(measured: MeasuredServer) -> str:
        with stage.session(measured, 1, 1) as session:
            paced(session, 500.0, 0.5)
            done = paced(session, 500.0, plan.paced_s)
        note = "what is not the fan-out's: commit and announcement, or POST"
        for name, value_us in (("p50, one client", done.p50_us), ("p99, one client", done.p99_us)):
            figures.add("b", measured.name, name, "ms", value_us / 1000, note)
        return f"one client: p50 {done.p50_us / 1000:8.2f}  p99 {done.p99_us / 1000:8.2f} ms"

    take_turns(stage, "b", plan.rate_rounds, _CLOSE, alone)
    take_turns(stage, "b", plan.paced_rounds, (NCHAN_OVER_REDIS,), alone)


def crowd_at_a_rate(stage: Stage, plan: Plan, figures: Figures) -> None:
    """5,000 clients on 10 runs, 100 messages per second."""
    _at_a_rate(stage, plan, figures, "c", clients=plan.crowd, rate=100.0, rounds=plan.rate_rounds)


def _at_a_rate(
    stage: Stage, plan: Plan, figures: Figures, scenario: str, *, clients: int, rate: float, rounds: int
) -> None:
    def measure(measured: MeasuredServer) -> str:
        with stage.session(measured, clients, _RUNS) as session:
            paced(session, rate, 0.5)  # warm
            evenly = paced(session, rate, plan.paced_s)
            at_random = paced(session, rate, plan.paced_s, at_random=True)
        for done, how in ((evenly, ""), (at_random, " at random")):
            for name, value_us in (("p50", done.p50_us), ("p99", done.p99_us), ("max", done.max_us)):
                figures.add(scenario, measured.name, f"{name}{how}", "ms", value_us / 1000, done.note)
        return f"{_text(evenly)}; at random {_text(at_random)}"

    take_turns(stage, scenario, rounds, _CLOSE, measure)
    take_turns(stage, scenario, plan.paced_rounds, _FAST, measure)
    if plan.all_peers:
        take_turns(stage, scenario, 1, _SLOW, measure)


def _text(done: Paced) -> str:
    ages = f"p50 {done.p50_us / 1000:.2f} p99 {done.p99_us / 1000:.2f} max {done.max_us / 1000:.2f} ms"
    return f"{ages} {done.note}".rstrip()
