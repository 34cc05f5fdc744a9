"""e) What a client that only waits costs in memory."""

from __future__ import annotations

from typing import Final

from ..figures import Figures
from ..generator import Clients
from ..machine import memory_bytes, slab_bytes
from ..plan import Plan
from ..publishing import run_names
from ..servers.measured import NCHAN, PLAIN, PLAIN_DEFLATE, RUNRELAY, MeasuredServer
from ..session import Stage
from .rounds import take_turns

__all__ = ["idle_memory"]

_RUNS: Final = 10
_WARM: Final = 100
"""Clients that come and go before the server is weighed empty: what the first ones make is not theirs."""


def idle_memory(stage: Stage, plan: Plan, figures: Figures) -> None:
    """Memory per client: the server's process, less the server without clients; and the kernel's beside it."""

    def measure(measured: MeasuredServer) -> str:
        runs = run_names(_RUNS)
        with stage.server(measured) as server:
            target = measured.target(server.port)
            with Clients(target, runs, _WARM) as warm:
                _greet(warm, measured)
            pids = server.pids
            empty_bytes, slab_before_bytes = memory_bytes(pids), slab_bytes()
            with Clients(target, runs, plan.idle) as clients:
                _greet(clients, measured)
                clients.poll(2.0)  # what joining needed is let go of
                each_bytes = (memory_bytes(pids) - empty_bytes) / plan.idle
                kernel_bytes = (slab_bytes() - slab_before_bytes) / plan.idle
        figures.add("e", measured.name, "memory per client", "KB", each_bytes / 1000, f"{plan.idle:,} clients")
        note = "slab, both ends of the connection"
        figures.add("e", measured.name, "kernel memory per connection", "KB", kernel_bytes / 1000, note)
        return f"{each_bytes / 1000:6.1f} KB a client, the kernel {kernel_bytes / 1000:.1f} KB for both ends"

    take_turns(stage, "e", min(2, plan.paced_rounds), (RUNRELAY, NCHAN, PLAIN, PLAIN_DEFLATE), measure)


def _greet(clients: Clients, measured: MeasuredServer) -> None:
    clients.connect(timeout_s=120.0)
    expected = clients.count * measured.greetings
    clients.poll_until(lambda: clients.counts.greetings + clients.counts.states >= expected, 60.0, "the greetings")
