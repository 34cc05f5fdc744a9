"""How much is measured: the full run, and the quick one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["FULL", "QUICK", "Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds, durations and sizes."""

    rounds: int
    """Of the bursts, which are short."""
    paced_rounds: int
    """Of what takes long: many clients."""
    rate_rounds: int
    """Of what is compared closely: given rates, what is delivered of what is committed, two processes beside one."""
    level_rounds: int
    """Of what is about level: b."""
    burst_s: float
    paced_s: float
    crowd: int
    """Clients where many share few runs."""
    idle: int
    growth: tuple[int, ...]
    messages_per_run: int
    """Where every client has a run of its own."""
    calls: int
    """Of a paced loop; a tight one has 20 times as many."""
    all_peers: bool
    """Measure those that cannot keep up with a given rate beside those that can, too."""


FULL: Final = Plan(
    rounds=5,
    paced_rounds=3,
    rate_rounds=9,
    level_rounds=21,
    burst_s=2.0,
    paced_s=5.0,
    crowd=5_000,
    idle=10_000,
    growth=(100, 1_000, 10_000),
    messages_per_run=100,
    calls=3_000,
    all_peers=True,
)
QUICK: Final = Plan(
    rounds=1,
    paced_rounds=1,
    rate_rounds=1,
    level_rounds=1,
    burst_s=0.5,
    paced_s=1.0,
    crowd=1_000,
    idle=2_000,
    growth=(100, 1_000),
    messages_per_run=20,
    calls=300,
    all_peers=False,
)
