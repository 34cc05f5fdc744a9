"""Rounds: measured_servers take turns, so that what changes on the machine meanwhile meets all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..generator import BenchmarkError
from ..servers.measured import MeasuredServer
from ..session import Stage

__all__ = ["take_turns"]


def take_turns(
    stage: Stage,
    scenario: str,
    rounds: int,
    measured_servers: Iterable[MeasuredServer],
    measure: Callable[[MeasuredServer], str],
) -> None:
    """Call `measure` for each measured in turn, `rounds` times; it returns what to print.

    One that fails says so and has its next turn all the same: the failure is reported with the figures.
    """
    for number in range(1, rounds + 1):
        for measured in measured_servers:
            if missing := measured.missing():
                stage.failures[f"{measured.label}"] = missing
                continue
            try:
                said = measure(measured)
            except BenchmarkError as error:
                said = f"FAILED: {error}"
                stage.failures[f"{scenario}) {measured.label}, round {number}"] = str(error)
            print(f"  {scenario}) round {number}/{rounds}  {measured.label:<20} {said}", flush=True)
