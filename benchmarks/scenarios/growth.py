"""i) How cost grows with the number of clients on one run."""

from __future__ import annotations

import contextlib
from typing import Final

from ..figures import Figures
from ..measures import paced, sized_burst
from ..plan import Plan
from ..servers.measured import NCHAN, RUNRELAY, MeasuredServer
from ..session import Stage
from ..stalls import Prober
from .rounds import take_turns

__all__ = ["RATE", "more_clients"]

RATE: Final = 10.0
"""Messages per second: 100,000 deliveries per second for 10,000 clients."""
_LONGER: Final = 4
"""Times as long as other rates: of a few dozen messages to all clients, p99 would be the slowest one's."""


def more_clients(stage: Stage, plan: Plan, figures: Figures) -> None:
    """Deliveries per second of a burst, and the age of messages at a rate."""
    for clients in plan.growth:

        def measure(measured: MeasuredServer, clients: int = clients) -> str:
            with stage.session(measured, clients, 1) as session:
                paced(session, RATE, 0.5)
                aged = paced(session, RATE, plan.paced_s * _LONGER)
                with contextlib.ExitStack() as probing:
                    prober = None
                    if measured is RUNRELAY:
                        prober = probing.enter_context(Prober(session.server.port))
                    rate = sized_burst(session, plan.burst_s).deliveries_per_s
            figures.add("i", measured.name, f"deliveries, {clients:,} clients", "/s", rate)
            figures.add("i", measured.name, f"p99, {clients:,} clients", "ms", aged.p99_us / 1000, aged.note)
            if prober is not None:
                note = "GET /healthz during the burst: an upper bound"
                stall_ms = prober.longest_s * 1000
                figures.add("i", measured.name, f"longest stall, {clients:,} clients", "ms", stall_ms, note)
            return f"{clients:>6,} clients  {rate:>12,.0f} deliveries/s  p99 {aged.p99_us / 1000:8.2f} ms"

        take_turns(stage, "i", plan.paced_rounds, (RUNRELAY, NCHAN), measure)
