"""The sea, and what is under it."""

from __future__ import annotations

import math
import random

from pipelines.shorts.paint.canvas import Bar, Canvas, Gradient, Oval, Poly, Shape, Stroke
from pipelines.shorts.paint.palette import mix, shade
from pipelines.shorts.paint.scenery import clouds, hills, stars, sun
from pipelines.shorts.paint.tones import HORIZON_Y, WHITE, Tones

__all__ = ["paint_depths", "paint_sea", "paint_seabed", "paint_waves"]


def paint_sea(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """The horizon, with the light on the water."""
    if tones.light == "night":
        stars(canvas, rng, 160, HORIZON_Y - 0.05)
    x, _ = sun(canvas, tones, rng, None if tones.light in ("day", "night") else 0.93)
    clouds(canvas, tones, rng, 4, 0.35, 0.8)
    water = HORIZON_Y - 0.04
    canvas.paint(
        Bar(canvas.left, water, canvas.right, canvas.bottom),
        fill=Gradient(mix(tones.far, tones.low, 0.25), tones.near, water, 1.5),
    )
    # The light's road on the water: short strokes, wider as they come nearer.
    strokes: list[Shape] = []
    for step in range(26):
        y = water + 0.008 + step * 0.013
        half = (0.012 + step * 0.006) * rng.uniform(0.5, 1.3)
        cx = x + rng.uniform(-1, 1) * (0.01 + step * 0.004)
        strokes.append(Bar(cx - half, y, cx + half, y + 0.0045, 0.002))
    canvas.paint(*strokes, fill=tones.glow, opacity=0.7)


def paint_waves(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """Four rows of waves."""
    for row, y in enumerate((1.25, 1.37, 1.5, 1.64)):
        phase, count = rng.uniform(0, 6.28), 3.4 - row * 0.5
        crest = [
            (x, y + math.sin(phase + x * count * 6.28) * 0.016)
            for x in (canvas.left + (canvas.right - canvas.left) * i / 80 for i in range(81))
        ]
        share = row / 3
        top = mix(mix(tones.far, tones.near, 0.45), shade(tones.near, 0.35), share)
        outline = [*crest, (canvas.right, canvas.bottom), (canvas.left, canvas.bottom)]
        canvas.paint(Poly(outline), fill=Gradient(top, shade(top, 0.35), y, y + 0.3), opacity=0.96)
        canvas.paint(Stroke(crest, 0.004), fill=mix(top, WHITE, 0.5), opacity=0.55)


def paint_depths(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """Light from above, rocks, a school of fish."""
    for _ in range(6):
        x, width = rng.uniform(-0.1, 1.0), rng.uniform(0.04, 0.12)
        lean = rng.uniform(-0.2, 0.2)
        canvas.paint(
            Poly(
                [
                    (x, canvas.top),
                    (x + width, canvas.top),
                    (x + width * 2.4 + lean, 1.5),
                    (x - width + lean, 1.5),
                ]
            ),
            fill=mix(tones.top, WHITE, 0.6),
            opacity=0.1,
            blur=0.02,
        )
    hills(canvas, rng, 1.1, 0.09, mix(tones.far, tones.middle, 0.6), tones.low)
    hills(canvas, rng, 1.2, 0.07, mix(tones.mid, tones.low, 0.5), shade(tones.low, 0.3))
    fish: list[Shape] = []
    cx, cy = rng.uniform(0.25, 0.75), rng.uniform(0.6, 0.85)
    for _ in range(11):
        x, y, s = cx + rng.gauss(0, 0.12), cy + rng.gauss(0, 0.06), rng.uniform(0.012, 0.02)
        fish += [
            Oval(x, y, s, s * 0.45),
            Poly([(x + s * 0.8, y), (x + s * 1.6, y - s * 0.5), (x + s * 1.6, y + s * 0.5)]),
        ]
    canvas.paint(*fish, fill=mix(tones.low, tones.ink, 0.4), opacity=0.7)


def paint_seabed(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """Sand, weeds and corals."""
    hills(canvas, rng, 1.38, 0.04, mix(tones.near, tones.mid, 0.3), shade(tones.ink, 0.2), 2)
    for _ in range(9):
        x, height = rng.uniform(canvas.left, canvas.right), rng.uniform(0.16, 0.38)
        sway = rng.uniform(0.015, 0.035)
        stem = [(x + math.sin(t * 7 + x * 9) * sway * t, 1.5 - height * t) for t in (i / 12 for i in range(13))]
        colour = rng.choice((tones.accent, tones.mid, mix(tones.accent, tones.near, 0.5)))
        canvas.paint(Stroke(stem, 0.018), fill=mix(colour, tones.ink, 0.35), opacity=0.95)
    for _ in range(7):
        x, r = rng.uniform(canvas.left, canvas.right), rng.uniform(0.03, 0.075)
        colour = mix(rng.choice((tones.accent, tones.glow)), tones.near, 0.35)
        canvas.paint(
            *(
                Oval(x + math.cos(a) * r * 0.7, 1.45 - abs(math.sin(a)) * r, r * 0.42)
                for a in (0.2, 0.9, 1.57, 2.2, 2.9)
            ),
            fill=Gradient(colour, shade(colour, 0.5), 1.45 - r * 1.5, 1.47),
        )
    hills(canvas, rng, 1.47, 0.02, shade(tones.near, 0.2), shade(tones.ink, 0.4), 2)
