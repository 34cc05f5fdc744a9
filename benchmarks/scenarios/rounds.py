"""Rounds: contestants take turns, so that what changes on the machine meanwhile meets all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..generator import BenchmarkError
from ..servers.measured import Contestant
from ..session import Stage

__all__ = ["take_turns"]


def take_turns(
    stage: Stage, scenario: str, rounds: int, contestants: Iterable[Contestant], measure: Callable[[Contestant], str]
) -> None:
    """Call `measure` for each contestant in turn, `rounds` times; it returns what to print.

    One that fails says so and has its next turn all the same: the failure is reported with the figures.
    """
    for number in range(1, rounds + 1):
        for contestant in contestants:
            if missing := contestant.missing():
                stage.failures[f"{contestant.label}"] = missing
                continue
            try:
                said = measure(contestant)
            except BenchmarkError as error:
                said = f"FAILED: {error}"
                stage.failures[f"{scenario}) {contestant.label}, round {number}"] = str(error)
            print(f"  {scenario}) round {number}/{rounds}  {contestant.label:<20} {said}", flush=True)
