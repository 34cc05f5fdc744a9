"""a) and h): as fast as messages come, 1,000 clients on one run."""

from __future__ import annotations

import socket
import subprocess
import sys
from functools import partial
from itertools import product
from time import monotonic_ns
from typing import Final

from ..figures import Figures
from ..generator import BenchmarkError, Clients, Target
from ..measures import sized_burst
from ..paths import ROOT
from ..plan import Plan
from ..publishing import run_names, text_of
from ..servers.measured import CONTESTANTS, RUNRELAY, MeasuredServer
from ..session import Stage, free_port
from .rounds import take_turns

__all__ = ["burst_on_one_run", "relay_processes"]

_CLIENTS: Final = 1_000
_FLOODS: Final = {"C, writes joined": 500, "C, a write per message": 1}
"""Senders that do nothing but write frames made before: how many frames a write joins."""


def burst_on_one_run(stage: Stage, plan: Plan, figures: Figures) -> None:
    """Deliveries per second, and what the generator could take."""

    def measure(measured: MeasuredServer) -> str:
        with stage.session(measured, _CLIENTS, 1) as session:
            done = sized_burst(session, plan.burst_s)
        note = f"{done.messages:,} messages in {done.took_s:.1f} s"
        figures.add("a", measured.name, "deliveries", "/s", done.deliveries_per_s, note)
        if measured is RUNRELAY:
            figures.add("a", measured.name, "deliveries per CPU second", "/s", done.deliveries / done.server_cpu_s)
        return f"{done.deliveries_per_s:>12,.0f} deliveries/s"

    for name, joined in _FLOODS.items():
        for _ in range(plan.rounds):
            rate = _flood(stage, joined, plan.burst_s)
            figures.add("a", name, "deliveries", "/s", rate, "no server: what machine and generator allow")
            print(f"  a) {name:<31} {rate:>12,.0f} deliveries/s", flush=True)
    take_turns(stage, "a", plan.rounds, CONTESTANTS, measure)


def relay_processes(stage: Stage, plan: Plan, figures: Figures) -> None:
    """Deliveries per second of relay CPU time, with one process and with two: on one core, next to nothing else."""

    def measure(measured: MeasuredServer, clients: int, processes: int) -> str:
        with stage.session(measured, clients, 1, processes=processes) as session:
            done = sized_burst(session, plan.burst_s)
        rate = done.deliveries / done.server_cpu_s
        name = f"per CPU second, {clients:,} clients, {processes} process{'es' if processes > 1 else ''}"
        figures.add("h", measured.name, name, "deliveries", rate)
        return f"{clients:>6,} clients  --workers {processes} {rate:>12,.0f} deliveries per CPU second"

    for _ in range(plan.rate_rounds):
        for clients, processes in product(sorted({_CLIENTS, plan.crowd}), (1, 2)):
            take_turns(stage, "h", 1, (RUNRELAY,), partial(measure, clients=clients, processes=processes))


def _flood(stage: Stage, joined: int, about_s: float) -> float:
    """What the trivial sender delivers per second; see native/flood.c."""
    payload = b'{"type":"progress","run_id":"20251105_1430_bench0","state":"RENDERING","progress":0.5,"message":"%s"}'
    body = payload % text_of(1, monotonic_ns()).encode()
    frame = (bytes((0x81, len(body))) if len(body) < 126 else b"\x81\x7e" + len(body).to_bytes(2, "big")) + body
    per_second = 5_000_000 if joined > 1 else 250_000
    writes = max(1, round(per_second * about_s / _CLIENTS / joined))
    expected = writes * joined * _CLIENTS
    with socket.create_server(("127.0.0.1", free_port()), backlog=4096) as listener:
        listener.set_inheritable(True)
        port, number = listener.getsockname()[1], listener.fileno()
        command = [
            sys.executable,
            "-m",
            "benchmarks.flood",
            str(number),
            str(_CLIENTS),
            frame.hex(),
            str(joined),
            str(writes),
        ]
        with (
            subprocess.Popen(
                ["taskset", "--cpu-list", str(stage.cores.server), *command],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                pass_fds=[number],
            ) as process,
            Clients(Target(port, lambda run, cursor: "/"), run_names(1), _CLIENTS) as clients,
        ):
            clients.connect()
            clients.reset(0, each=False)
            assert process.stdin is not None
            began_ns = monotonic_ns()
            process.stdin.write(b"!")
            process.stdin.close()
            received = clients.poll(60.0, expected)
            if received != expected:
                raise BenchmarkError(f"the trivial sender brought {received} of {expected}")
            return expected / ((clients.counts.last_receive_ns - began_ns) / 1e9)
