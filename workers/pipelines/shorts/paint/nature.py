"""Forest, mountains, desert and meadow."""

from __future__ import annotations

import math
import random

from pipelines.shorts.paint.canvas import Bar, Canvas, Gradient, Oval, Poly, Shape, Stroke
from pipelines.shorts.paint.palette import Colour, mix, shade
from pipelines.shorts.paint.scenery import hills, open_sky, stars, sun, tufts
from pipelines.shorts.paint.tones import HORIZON_Y, WHITE, Tones

__all__ = [
    "paint_clearing",
    "paint_desert",
    "paint_dunes",
    "paint_flowers",
    "paint_forest",
    "paint_meadow",
    "paint_pass",
    "paint_peaks",
]


def paint_forest(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """Three rows of pines, paler with distance."""
    open_sky(canvas, tones, rng)
    for y, size, colour in (
        (0.98, 0.16, mix(tones.far, tones.low, 0.3)),
        (1.07, 0.23, mix(tones.far, tones.mid, 0.5)),
        (1.18, 0.33, mix(tones.mid, tones.near, 0.35)),
    ):
        outline = hills(canvas, rng, y, 0.04, colour, mix(colour, tones.low, 0.3), 2)
        trees: list[Shape] = []
        x = canvas.left
        while x < canvas.right:
            base = min(outline, key=lambda point: abs(point[0] - x))[1] + 0.02
            trees += _pine(x, base, size * rng.uniform(0.7, 1.25))
            x += size * rng.uniform(0.28, 0.6)
        canvas.paint(*trees, fill=Gradient(colour, mix(colour, tones.low, 0.18), y - size, y + 0.05))
        canvas.glow(rng.uniform(0, 1), y, 0.5, tones.low, 0.22)


def _pine(x: float, base: float, height: float) -> list[Shape]:
    tiers: list[Shape] = [Bar(x - height * 0.03, base - height * 0.2, x + height * 0.03, base + 0.03)]
    for tier in range(4):
        y0 = base - height * (0.12 + tier * 0.2)
        half = height * (0.27 - tier * 0.052)
        tiers.append(Poly([(x - half, y0), (x, y0 - height * 0.34), (x + half, y0)]))
    return tiers


def paint_clearing(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """Grass between two near trees."""
    hills(canvas, rng, 1.26, 0.02, mix(tones.near, tones.mid, 0.3), shade(tones.ink, 0.2), 2)
    tufts(canvas, rng, 1.28, tones.near)
    dark = shade(tones.ink, 0.25)
    for x in (canvas.left + rng.uniform(0.0, 0.05), canvas.right - rng.uniform(0.0, 0.05)):
        canvas.paint(*_pine(x, 1.5, rng.uniform(0.85, 1.05)), fill=Gradient(tones.near, dark, 0.5, 1.5))


def paint_peaks(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """Three rows of snowy peaks."""
    open_sky(canvas, tones, rng)
    for y, spread, colour in (
        (0.6, 0.34, mix(tones.far, tones.low, 0.35)),
        (0.74, 0.3, mix(tones.far, tones.mid, 0.45)),
        (0.92, 0.26, mix(tones.mid, tones.near, 0.3)),
    ):
        x = canvas.left - rng.uniform(0, 0.2)
        while x < canvas.right + 0.1:
            peak_y = y + rng.uniform(-0.06, 0.08)
            half = spread * rng.uniform(0.85, 1.3)
            _peak(canvas, rng, x, peak_y, half, colour, tones)
            x += half * rng.uniform(1.0, 1.4)
        canvas.glow(rng.uniform(0.2, 0.8), 1.1, 0.6, tones.low, 0.25)
    hills(canvas, rng, 1.17, 0.04, mix(tones.mid, tones.near, 0.6), tones.near)


def _peak(canvas: Canvas, rng: random.Random, x: float, y: float, half: float, colour: Colour, tones: Tones) -> None:
    base = 1.25
    left = [(x - half * t, y + (base - y) * t + rng.uniform(-0.012, 0.012)) for t in (0.25, 0.5, 0.75, 1.0)]
    right = [(x + half * t, y + (base - y) * t + rng.uniform(-0.012, 0.012)) for t in (0.25, 0.5, 0.75, 1.0)]
    canvas.paint(Poly([*reversed(left), (x, y), *right]), fill=Gradient(colour, mix(colour, tones.low, 0.4), y, base))
    shadow = [(x, y), *right, (x + half * 0.25, base), (x + half * 0.1, y + (base - y) * 0.5)]
    canvas.paint(Poly(shadow), fill=tones.ink, opacity=0.16)
    depth = (base - y) * 0.24
    snow = [
        (x, y),
        (x + half * 0.2, y + depth * 0.86),
        (x + half * 0.09, y + depth * 0.7),
        (x + half * 0.02, y + depth * 1.1),
        (x - half * 0.07, y + depth * 0.66),
        (x - half * 0.2, y + depth * 0.9),
    ]
    canvas.paint(Poly(snow), fill=mix(WHITE, tones.low, 0.22), opacity=0.92)


def paint_pass(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """A ridge with rocks."""
    hills(canvas, rng, 1.27, 0.03, mix(tones.near, tones.mid, 0.35), shade(tones.ink, 0.1), 3)
    rocks: list[Shape] = []
    for _ in range(12):
        x, y, s = rng.uniform(canvas.left, canvas.right), rng.uniform(1.3, 1.7), rng.uniform(0.015, 0.05)
        rocks.append(Poly([(x - s, y), (x - s * 0.5, y - s * 0.8), (x + s * 0.3, y - s), (x + s, y)]))
    canvas.paint(*rocks, fill=tones.ink, opacity=0.55)


def paint_desert(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """Pyramids and dunes."""
    if tones.light == "night":
        stars(canvas, rng, 200, HORIZON_Y)
    sun(canvas, tones, rng)
    for _ in range(2):
        x, s = rng.uniform(0.05, 0.95), rng.uniform(0.1, 0.17)
        canvas.paint(Poly([(x - s, 1.06), (x, 1.06 - s * 0.95), (x + s, 1.06)]), fill=mix(tones.far, tones.low, 0.4))
        canvas.paint(Poly([(x, 1.06 - s * 0.95), (x + s, 1.06), (x + s * 0.3, 1.06)]), fill=tones.ink, opacity=0.14)
    for y, height, share in ((1.05, 0.05, 0.3), (1.13, 0.06, 0.65)):
        _dune(canvas, rng, y, height, mix(tones.far, tones.mid, share), tones)


def _dune(canvas: Canvas, rng: random.Random, y: float, height: float, colour: Colour, tones: Tones) -> None:
    crest = hills(canvas, rng, y, height, mix(colour, tones.glow, 0.25), shade(colour, 0.2), 2)
    canvas.paint(Stroke(crest, 0.003), fill=tones.glow, opacity=0.35)


def paint_dunes(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """Near dunes with cacti."""
    _dune(canvas, rng, 1.26, 0.03, mix(tones.near, tones.mid, 0.4), tones)
    for _ in range(3):
        x, h = rng.choice((rng.uniform(-0.02, 0.18), rng.uniform(0.82, 1.02))), rng.uniform(0.12, 0.2)
        arm = h * 0.28
        canvas.paint(
            Stroke([(x, 1.36), (x, 1.36 - h)], 0.03),
            Stroke([(x, 1.36 - h * 0.4), (x + arm, 1.36 - h * 0.45), (x + arm, 1.36 - h * 0.75)], 0.02),
            Stroke([(x, 1.36 - h * 0.25), (x - arm, 1.36 - h * 0.3), (x - arm, 1.36 - h * 0.6)], 0.02),
            fill=mix(tones.ink, (40, 110, 70), 0.45),
        )
    _dune(canvas, rng, 1.4, 0.03, shade(tones.near, 0.15), tones)


def paint_meadow(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """Hills with a few trees."""
    open_sky(canvas, tones, rng)
    for y, height, share in ((0.98, 0.06, 0.0), (1.07, 0.06, 0.45), (1.17, 0.05, 0.9)):
        colour = mix(tones.far, tones.mid, share)
        outline = hills(canvas, rng, y, height, mix(colour, tones.glow, 0.18), colour)
        crowns: list[Shape] = []
        for _ in range(4):
            x, base = rng.choice(outline)
            r = rng.uniform(0.014, 0.03) * (0.6 + share)
            crowns += [
                Bar(x - r * 0.15, base - r, x + r * 0.15, base + 0.01),
                Oval(x, base - r * 1.6, r, r * 1.15),
            ]
        canvas.paint(*crowns, fill=shade(colour, 0.25))


def paint_flowers(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """Grass with flowers."""
    hills(canvas, rng, 1.25, 0.02, mix(tones.near, tones.mid, 0.55), shade(tones.ink, 0.1), 2)
    tufts(canvas, rng, 1.27, mix(tones.near, tones.glow, 0.2))
    colours = (tones.accent, tones.glow, WHITE, mix(tones.accent, WHITE, 0.4))
    for colour in colours:
        heads: list[Shape] = []
        for _ in range(9):
            x, y = rng.uniform(canvas.left, canvas.right), rng.uniform(1.3, 1.75)
            r = 0.011 * (y - 0.6)
            heads += [
                Oval(x + math.cos(a) * r, y + math.sin(a) * r * 0.8, r * 0.75)
                for a in (k / 5 * 2 * math.pi for k in range(5))
            ]
        canvas.paint(*heads, fill=mix(colour, tones.near, 0.15), opacity=0.9)
