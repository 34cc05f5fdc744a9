"""A plot of the burst and of the growth, as SVG. Pure: a report in, text out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from .figures import Figures
from .report import number
from .servers.measured import CONTESTANTS, NCHAN, RUNRELAY

__all__ = ["plot"]

_WIDTH: Final = 760
_BAR: Final = 30
_LEFT: Final = 190
_RIGHT: Final = 90
_OURS: Final = "#2563eb"
_NCHANS: Final = "#d97706"
_PEERS: Final = "#9aa4b2"
_REFERENCE: Final = "#d9dee5"
_TEXT: Final = "#1f2937"
_FAINT: Final = "#6b7280"


def plot(figures: Figures) -> str:
    """Two pictures below each other: deliveries per second of everybody; the age of messages with more clients."""
    bars, height = _bars(figures)
    lines, more = _lines(figures, height + 40)
    whole = height + 40 + more
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {whole}" width="{_WIDTH}" height="{whole}"'
            ' font-family="system-ui, sans-serif" font-size="13" role="img">',
            "<title>Deliveries per second beside the peers, and p99 with more clients</title>",
            f'<rect width="{_WIDTH}" height="{whole}" fill="white"/>',
            *bars,
            *lines,
            "</svg>",
            "",
        ]
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", fill: str = _TEXT, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"{weight}>{escape(text)}</text>'


def _bars(figures: Figures) -> tuple[list[str], int]:
    found = sorted(((f.measured, f.median) for f in figures.of("a") if f.name == "deliveries"), key=lambda row: -row[1])
    parts = [_text(16, 28, "Burst: deliveries per second, 1,000 clients on one run (logarithmic)", bold=True)]
    if not found:
        return parts, 40
    labels = {measured.name: measured.label for measured in CONTESTANTS}
    low, high = 3.0, math.log10(max(value for _, value in found))
    for index, (name, value) in enumerate(found):
        y = 44 + index * _BAR
        width = max(2.0, (_WIDTH - _LEFT - _RIGHT) * (math.log10(max(value, 1.0)) - low) / (high - low))
        fill = {RUNRELAY.name: _OURS, NCHAN.name: _NCHANS}.get(name, _PEERS if name in labels else _REFERENCE)
        parts += [
            _text(_LEFT - 10, y + 16, labels.get(name, name), anchor="end", bold=name == RUNRELAY.name),
            f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 8}" rx="3" fill="{fill}"/>',
            _text(_LEFT + width + 8, y + 16, number(value)),
        ]
    return parts, 44 + len(found) * _BAR


def _lines(figures: Figures, top: int) -> tuple[list[str], int]:
    parts = [_text(16, top, "p99 from publish to receipt at 10 messages/s, ms (both axes logarithmic)", bold=True)]
    series = {name: _points(figures, name) for name in (RUNRELAY.name, NCHAN.name) if len(_points(figures, name)) > 1}
    if not series:
        return parts, 20
    height, left, right = 190, 70, 150
    sizes = sorted({size for points in series.values() for size, _ in points})
    ages = [age for points in series.values() for _, age in points]
    low, high = math.floor(math.log10(min(ages))), math.ceil(math.log10(max(ages)))

    def x_of(size: float) -> float:
        share = math.log10(size / sizes[0]) / math.log10(sizes[-1] / sizes[0])
        return left + share * (_WIDTH - left - right)

    def y_of(age: float) -> float:
        return top + 20 + height * (1 - (math.log10(age) - low) / max(1, high - low))

    for power in range(low, high + 1):
        y = y_of(10.0**power)
        parts.append(f'<path d="M{left} {y:.1f}H{_WIDTH - right}" stroke="#e5e7eb"/>')
        parts.append(_text(left - 8, y + 4, f"{10.0**power:g}", anchor="end", fill=_FAINT))
    for size in sizes:
        label = f"{size:,} clients" if size == sizes[-1] else f"{size:,}"
        parts.append(_text(x_of(size), top + height + 42, label, anchor="middle", fill=_FAINT))
    drawn = [(RUNRELAY.name, RUNRELAY.label, _OURS), (NCHAN.name, NCHAN.label, _NCHANS)]
    drawn.sort(key=lambda line: -series[line[0]][-1][1] if line[0] in series else 0.0)  # from the top
    lowest = -math.inf
    for name, label, color in drawn:
        points = [(x_of(size), y_of(age)) for size, age in series.get(name, [])]
        if points:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            parts.append(f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="2.5"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>' for x, y in points]
            lowest = max(points[-1][1], lowest + 15)  # names of lines that end close together stand below each other
            parts.append(_text(points[-1][0] + 10, lowest + 4, label, fill=color, bold=True))
    return parts, height + 60


def _points(figures: Figures, measured: str) -> Sequence[tuple[int, float]]:
    return [
        (int(f.name.split()[1].replace(",", "")), f.median)
        for f in figures.of("i")
        if f.measured == measured and f.name.startswith("p99")
    ]
