"""Figures: what was measured, over rounds, and what was asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from math import comb
from statistics import median
from typing import Any, Final

__all__ = ["Figure", "Figures", "Goal", "median_interval", "percentile"]

_CONFIDENCE: Final = 0.95


def percentile(values: Sequence[int], share: float) -> float:
    """The value that `share` (0..1) of sorted `values` do not exceed; NaN of none."""
    if not values:
        return float("nan")
    return float(values[min(len(values) - 1, max(0, round(share * len(values)) - 1))])


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Between which the median of what `values` are drawn from lies with 95 % confidence; None: there are too few.

    Of n values, as many lie below it as heads come of n coins, whatever the distribution: so it is between the k-th
    lowest and the k-th highest unless fewer than k heads, or tails, have come.
    """
    ordered, count = sorted(values), len(values)
    beyond, interval = 0.0, None
    for k in range(count // 2):
        beyond += 2 * comb(count, k) / 2**count
        if beyond > 1 - _CONFIDENCE:
            break
        interval = ordered[k], ordered[-1 - k]
    return interval


@dataclass(slots=True)
class Figure:
    """One quantity of one measured in one scenario, a value per round."""

    scenario: str
    measured: str
    name: str
    unit: str
    values: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return median(self.values)


@dataclass(frozen=True, slots=True)
class Goal:
    """What was asked for, and what was reached."""

    scenario: str
    text: str
    reached: float
    wanted: float
    at_least: bool = True
    interval: tuple[float, float] | None = None
    """What `reached` is the middle of, with 95 % confidence; None: it is not known."""

    @staticmethod
    def of(scenario: str, text: str, ratios: Sequence[float], wanted: float, *, at_least: bool = True) -> Goal:
        """A goal for the median of rounds' ratios."""
        return Goal(scenario, text, median(ratios), wanted, at_least, median_interval(ratios))

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.reached >= self.wanted if self.at_least else self.reached <= self.wanted


class Figures:
    """All figures of a run of the benchmarks, in the order in which they came."""

    def __init__(self, figures: Iterable[Figure] = ()) -> None:
        self._figures = {(f.scenario, f.measured, f.name): f for f in figures}

    def add(self, scenario: str, measured: str, name: str, unit: str, value: float, note: str = "") -> None:
        """Add a round's value. A note of a later round replaces that of an earlier one."""
        key = scenario, measured, name
        figure = self._figures.setdefault(key, Figure(scenario, measured, name, unit))
        figure.values.append(value)
        figure.note = note or figure.note

    def find(self, scenario: str, measured: str, name: str) -> Figure | None:
        """A figure, if it was measured."""
        return self._figures.get((scenario, measured, name))

    def median(self, scenario: str, measured: str, name: str) -> float | None:
        """A figure's median, if it was measured."""
        figure = self.find(scenario, measured, name)
        return None if figure is None else figure.median

    def ratios(self, scenario: str, of: tuple[str, str], to: tuple[str, str]) -> list[float]:
        """One figure divided by another, each a measured and a name; empty if one of them was not measured.

        Round by round: what changes on the machine from one round to the next changes both. If one of them has fewer
        rounds, it is not known whose belongs to whose, and only the medians are divided.
        """
        over, under = (self.find(scenario, *figure) for figure in (of, to))
        if over is None or under is None:
            return []
        if len(over.values) != len(under.values):
            return [over.median / under.median]
        return [a / b for a, b in zip(over.values, under.values, strict=True)]

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
