"""What a soak measured: samples of each process, and the report as a table and as JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression, mean
from typing import Any

from tests.soak.crowd import Tally

__all__ = ["Samples", "as_json", "judge", "table", "tracebacks"]

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGESIZE") / (1 << 20)
FLAT_FROM_MINUTES = 10
"""A soak that is shorter only shows its memory."""
FLAT_GROWTH = 0.10
"""The fitted line of the second half may rise by so much of its mean, and by FLAT_MB, until the end."""
FLAT_MB = 8.0


@dataclass
class Samples:
    """One process name's samples: (minutes since the start, MB resident), and its seconds of CPU, all lives added."""

    memory: list[tuple[float, float]] = field(default_factory=list)
    cpu_s: float = 0.0
    _pid: int = 0
    _last_cpu_s: float = 0.0

    def take(self, pid: int, minutes: float) -> None:
        """Sample a process; one that has just ended is left out."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError):
            return
        cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS
        self.cpu_s += cpu_s - (self._last_cpu_s if pid == self._pid else 0.0)
        self._pid, self._last_cpu_s = pid, cpu_s
        self.memory.append((minutes, pages * _PAGE_MB))

    def per_minute(self) -> list[float]:
        """The least of each minute: what was there between storms."""
        minutes: dict[int, float] = {}
        for at, size in self.memory:
            minutes[int(at)] = min(size, minutes.get(int(at), size))
        return [round(minutes[at], 1) for at in sorted(minutes)]

    def second_half(self) -> dict[str, float]:
        """The fitted slope and the extremes of the second half."""
        # a process that was being killed or started has a size of nothing
        half = [(at, size) for at, size in self.memory[len(self.memory) // 2 :] if size > 0]
        if len(half) < 4:
            return {}
        at, size = [x for x, _ in half], [y for _, y in half]
        slope = linear_regression(at, size).slope
        return {
            "slope_mb_per_minute": round(slope, 3),
            "growth_mb": round(slope * (at[-1] - at[0]), 1),
            "mean_mb": round(mean(size), 1),
            "max_to_min": round(max(size) / min(size), 3),
        }


def tracebacks(log: str) -> list[str]:
    """The lines under which a relay has logged a traceback, without those of what it has contained."""
    found, said = [], ""
    for line in log.splitlines():
        if line.startswith(("ERROR", "CRITICAL", "WARNING", "INFO")):
            said = line
        elif line.startswith("Traceback") and "contained: " not in said:
            found.append(said[:300])
            said = "contained: the rest of it"
    return found


def judge(tally: Tally, deaths: Iterable[str], elder: Samples, left_behind: Iterable[str], minutes: float) -> list[str]:
    """What is not as promised; empty when all is."""
    faults = [f"{count} × {kind}" for kind, count in tally.wrong.items() if count]
    faults += [f"a relay has died: {death.splitlines()[0]}" for death in deaths]
    faults += [f"left behind: {what}" for what in left_behind]
    if not tally.lines:
        faults.append("nothing was compared")
    half = elder.second_half()
    if minutes >= FLAT_FROM_MINUTES and half and half["growth_mb"] > FLAT_GROWTH * half["mean_mb"] + FLAT_MB:
        faults.append(f"memory grows: {half}")
    return faults


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    tally = report["honest"]
    rows = [
        ("minutes", report["minutes"]),
        ("lines published / in the logs", f"{tally['published']:,} / {tally['committed']:,}"),
        ("honest clients, connections", f"{tally['clients']:,}, {sum(tally['connects'].values()):,}"),
        ("deliveries checked, lines compared", f"{tally['checked']:,}, {tally['lines']:,}"),
        ("lost / double / out of order / other", " / ".join(
            str(tally["wrong"].get(kind, 0)) for kind in ("lost", "double", "order", "other"))),
        ("new initial_states in place of events", f"{tally['unrecovered']:,}"),
        ("workers killed", tally["workers_killed"]),
        *((what, count) for what, count in sorted(report["happened"].items())),
        *((f"hostile: {what}", count) for what, count in sorted(report["hostile"].items())),
        ("relays dead that nobody killed", len(report["deaths"])),
    ]  # fmt: skip
    for name, one in report["processes"].items():
        rows.append((f"{name}: CPU", f"{one['cpu_percent']} %"))
        rows.append((f"{name}: MB per minute", " ".join(f"{size:.0f}" for size in one["mb_per_minute"])))
        if one["second_half"]:
            rows.append((f"{name}: second half", ", ".join(f"{k} {v}" for k, v in one["second_half"].items())))
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    lines += [f"wrong: {what}" for what in tally["examples"][:10]]
    lines += [f"death: {death[:3000]}" for death in report["deaths"][:3]]
    lines.append("FAILED: " + "; ".join(report["faults"]) if report["faults"] else "passed")
    return "\n".join(lines)


def as_json(tally: Tally) -> dict[str, Any]:
    """A tally for the report."""
    return {**vars(tally), "connects": dict(tally.connects), "wrong": dict(tally.wrong)}
