"""f) Everybody is cut off at once and comes back with a cursor while messages flow."""

from __future__ import annotations

import time
from typing import Final

from ..figures import Figures
from ..generator import BenchmarkError
from ..machine import cpu_s
from ..plan import Plan
from ..servers.measured import NCHAN, RUNRELAY, MeasuredServer
from ..session import Stage
from .rounds import take_turns

__all__ = ["come_back"]

_RUNS: Final = 10
_RATE: Final = 100.0
_BEFORE_S: Final = 1.5
_FOR_S: Final = 8.0
_AT_ONCE: Final = 2_000
"""Connections on their way: the relay's listen backlog holds 2,048, and what it drops comes back a second later."""


def come_back(stage: Stage, plan: Plan, figures: Figures) -> None:
    """Time until the last client has everything again; what was lost, what came twice."""

    def measure(measured: MeasuredServer) -> str:
        with stage.session(measured, plan.crowd, _RUNS) as session:
            clients, publisher = session.clients, session.publisher
            messages = int(_RATE * _FOR_S)
            clients.reset(publisher.number, each=True)
            publisher.order(messages, _RATE)
            clients.poll(_BEFORE_S)
            before = clients.counts.messages
            clients.cut()
            began_s, before_cpu_s = time.monotonic(), cpu_s(session.server.pids)
            clients.connect(at_once=_AT_ONCE, resume=True)
            accepted_s, cpu = time.monotonic() - began_s, cpu_s(session.server.pids) - before_cpu_s
            clients.poll_until(lambda: clients.behind == 0, 30.0, "the last client")
            took_s = time.monotonic() - began_s
            expected = session.expected(messages)
            clients.poll(_FOR_S + 5.0, expected)
            publisher.finish()
            clients.poll(0.3)  # anything that comes now came twice
            counts = clients.counts
            missing = expected - counts.messages + counts.doubled
            lost, doubled, renewed = max(counts.lost, missing), counts.doubled, counts.states
            if not before or counts.open != clients.count:
                raise BenchmarkError(f"no stream to be cut off from: {clients.describe()}")
        add_acceptance(figures, measured, clients.count, accepted_s, cpu)
        figures.add("f", measured.name, "last client has everything", "s", took_s, f"{clients.count:,} clients")
        figures.add("f", measured.name, "lost", "messages", lost)
        figures.add("f", measured.name, "double", "messages", doubled)
        figures.add("f", measured.name, "not resumed but started anew", "clients", renewed)
        return f"{accepted_s:.2f} s, {took_s:.2f} s, {lost} lost, {doubled} double, {renewed} started anew"

    def accept_again(measured: MeasuredServer) -> str:
        with stage.session(measured, plan.crowd, _RUNS) as session:
            clients, publisher = session.clients, session.publisher
            publisher.order(int(_RATE * _FOR_S), _RATE)
            clients.poll(_BEFORE_S)
            clients.cut()
            began_s, before_cpu_s = time.monotonic(), cpu_s(session.server.pids)
            clients.connect(at_once=_AT_ONCE)
            accepted_s, cpu = time.monotonic() - began_s, cpu_s(session.server.pids) - before_cpu_s
            clients.poll(0.3)
            publisher.finish()
        add_acceptance(figures, measured, clients.count, accepted_s, cpu)
        return f"{accepted_s:.2f} s until all are accepted"

    for _ in range(plan.paced_rounds):
        take_turns(stage, "f", 1, (RUNRELAY,), measure)
        take_turns(stage, "f", 1, (NCHAN,), accept_again)


def add_acceptance(figures: Figures, measured: MeasuredServer, count: int, took_s: float, cpu: float) -> None:
    """Add how long it took until everybody was accepted again, and what that cost the server."""
    figures.add("f", measured.name, "all are accepted again", "s", took_s, f"{count:,} clients")
    figures.add("f", measured.name, "processor time meanwhile, a client", "µs", cpu / count * 1e6)
