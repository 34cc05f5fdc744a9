"""The table, and the page made of it. Pure: figures in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from .figures import Figure, Figures
from .goals import goals
from .servers.measured import CONTESTANTS

__all__ = ["Report", "number"]

_LABELS: Final = {measured.name: measured.label for measured in CONTESTANTS}
_REFERENCES: Final = ("plain", "nchan")
"""Beside these every other measured's figure is put."""


def number(value: float) -> str:
    """A value with as many digits as mean something."""
    if value >= 1000:
        digits = max(0, len(str(int(value))) - 3)
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


@dataclass(slots=True)
class Report:
    """A whole run of the benchmarks."""

    figures: Figures
    titles: Mapping[str, str]
    """The scenarios, by letter."""
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    when: str
    took_s: float
    quick: bool
    failures: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Everything, to be kept."""
        return {
            "when": self.when,
            "took_s": round(self.took_s),
            "quick": self.quick,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "titles": dict(self.titles),
            "failures": dict(self.failures),
            "figures": self.figures.to_json(),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Report:
        """What `to_json` gave."""
        fields = {name: data[name] for name in ("titles", "machine", "versions", "when", "took_s", "quick", "failures")}
        return Report(Figures.from_json(data["figures"]), **fields)

    def table(self) -> list[str]:
        """Markdown: medians, spreads, ratios."""
        lines = [
            "| | who | what | median | lowest–highest | × plain loop | × Nchan | |",
            "|---|---|---|---:|---:|---:|---:|---|",
        ]
        for letter, title in self.titles.items():
            figures = self.figures.of(letter)
            if figures:
                lines.append(f"| **{letter}** | **{title}** | | | | | | |")
                lines += map(self._row, figures)
        return lines

    def _row(self, figure: Figure) -> str:
        spread = f"{number(min(figure.values))}–{number(max(figure.values))}" if len(figure.values) > 1 else "one round"
        cells = [
            "",
            _LABELS.get(figure.measured, figure.measured),
            figure.name,
            f"{number(figure.median)} {figure.unit}",
            spread,
            *(self._ratio(figure, reference) for reference in _REFERENCES),
            figure.note,
        ]
        return f"| {' | '.join(cells)} |"

    def _ratio(self, figure: Figure, reference: str) -> str:
        if figure.measured == reference:
            return ""
        name = figure.name
        ratios = self.figures.ratios(figure.scenario, (figure.measured, name), (reference, name))
        return number(median(ratios)) if ratios else ""

    def goals(self) -> list[str]:
        """Markdown: what was asked for, what was reached."""
        lines = ["| | goal | reached | wanted | |", "|---|---|---:|---:|---|"]
        for goal in goals(self.figures):
            sign = "≥" if goal.at_least else "≤"
            met = "met" if goal.met else "**missed**"
            between = "" if goal.interval is None else " ({}–{})".format(*map(number, goal.interval))
            reached = f"{number(goal.reached)}{between}"
            cells = (goal.scenario, goal.text, reached, f"{sign} {number(goal.wanted)}", met)
            lines.append(f"| {' | '.join(cells)} |")
        return lines

    def surroundings(self) -> list[str]:
        """Markdown: machine and versions."""
        return [
            *(f"- {name}: {value}" for name, value in self.machine.items()),
            *(f"- {name}: {value}" for name, value in self.versions.items()),
        ]

    def text(self) -> str:
        """What is printed."""
        parts = ["\n".join(self.surroundings()), aligned(self.table()), aligned(self.goals())]
        if self.quick:
            parts.append("one round, fewer clients: the goals are set for the full run")
        if self.failures:
            parts.append("\n".join(f"not measured: {what}: {why}" for what, why in self.failures.items()))
        return "\n\n".join(parts) + f"\n\n{self.when}, {self.took_s:.0f} s\n"


def aligned(table: list[str]) -> str:
    """A Markdown table with its columns filled up, for a terminal."""
    rows = [[cell.strip().replace("**", "") for cell in line.strip("|").split("|")] for line in table]
    rows = [row for row in rows if not row[0].startswith("---")]
    whole = [row for row in rows if any(row[2:])]
    widths = [max(len(row[column]) for row in whole) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        if any(row[2:]):
            cells = (
                cell.rjust(width) if "0" <= cell[:1] <= "9" else cell.ljust(width)
                for cell, width in zip(row, widths, strict=True)
            )
            lines.append("  ".join(cells).rstrip())
        else:
            lines.append(f"{row[0]}) {row[1]}")
    return "\n".join(lines)
