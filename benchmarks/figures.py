"""Figures: what was measured, over rounds, and what was asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

__all__ = ["Figure", "Figures", "Goal", "percentile"]


def percentile(values: Sequence[int], share: float) -> float:
    """The value that `share` (0..1) of sorted `values` do not exceed; NaN of none."""
    if not values:
        return float("nan")
    return float(values[min(len(values) - 1, max(0, round(share * len(values)) - 1))])


@dataclass(slots=True)
class Figure:
    """One quantity of one contestant in one scenario, a value per round."""

    scenario: str
    contestant: str
    name: str
    unit: str
    values: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """From the lowest round to the highest, as a share of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Goal:
    """What was asked for, and what was reached."""

    scenario: str
    text: str
    reached: float
    wanted: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.reached >= self.wanted if self.at_least else self.reached <= self.wanted


class Figures:
    """All figures of a run of the benchmarks, in the order in which they came."""

    def __init__(self, figures: Iterable[Figure] = ()) -> None:
        self._figures = {(f.scenario, f.contestant, f.name): f for f in figures}

    def add(self, scenario: str, contestant: str, name: str, unit: str, value: float, note: str = "") -> None:
        """Add a round's value. A note of a later round replaces that of an earlier one."""
        key = scenario, contestant, name
        figure = self._figures.setdefault(key, Figure(scenario, contestant, name, unit))
        figure.values.append(value)
        figure.note = note or figure.note

    def find(self, scenario: str, contestant: str, name: str) -> Figure | None:
        """A figure, if it was measured."""
        return self._figures.get((scenario, contestant, name))

    def median(self, scenario: str, contestant: str, name: str) -> float | None:
        """A figure's median, if it was measured."""
        figure = self.find(scenario, contestant, name)
        return None if figure is None else figure.median

    def of(self, scenario: str) -> list[Figure]:
        """A scenario's figures, those of one name together, in the order of the names' first."""
        found = [figure for figure in self._figures.values() if figure.scenario == scenario]
        names = list(dict.fromkeys(figure.name for figure in found))
        return sorted(found, key=lambda figure: names.index(figure.name))

    def to_json(self) -> list[dict[str, Any]]:
        """All figures."""
        return [asdict(figure) for figure in self._figures.values()]

    @staticmethod
    def from_json(rows: Iterable[dict[str, Any]]) -> Figures:
        """What `to_json` gave."""
        return Figures(Figure(**row) for row in rows)
