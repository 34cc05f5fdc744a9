"""g) What publishing costs the task that does it: call after call, and paced, with Redis up and down."""

from __future__ import annotations

import json
import subprocess
import sys

from ..figures import Figures
from ..generator import BenchmarkError
from ..paths import ROOT
from ..plan import Plan
from ..servers.measured import RUNRELAY, MeasuredServer
from ..session import Stage
from .rounds import take_turns

__all__ = ["cost_of_publishing"]


def cost_of_publishing(stage: Stage, plan: Plan, figures: Figures) -> None:
    """Microseconds of one call, in a process on the core that Redis does not have."""

    def measure(measured: MeasuredServer) -> str:
        core = str(stage.cores.server)
        task = [sys.executable, "-m", "benchmarks.call_cost", stage.valkey.url, str(plan.calls)]
        done = subprocess.run(
            ["taskset", "--cpu-list", core, *task], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            raise BenchmarkError(f"the publishing task ended with {done.returncode}: {done.stderr[-500:]}")
        rows = json.loads(done.stdout)
        for row in rows:
            where = f"{row['loop']}, Redis {row['redis']}"
            note = f"an empty function: p99 {row['empty_p99_us']:.1f} µs"
            for name in ("p50", "p99"):
                figures.add("g", measured.name, f"{where}, {name}", "µs", row[f"{name}_us"], note)
        return "  ".join(f"{row['loop']}/{row['redis']} {row['p50_us']:.1f}/{row['p99_us']:.1f} µs" for row in rows)

    take_turns(stage, "g", min(2, plan.paced_rounds), (RUNRELAY,), measure)
