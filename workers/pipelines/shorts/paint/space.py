"""Space, and the ground of a moon."""

from __future__ import annotations

import math
import random

from pipelines.shorts.paint.canvas import Bar, Canvas, Cut, Gradient, Oval, Stroke
from pipelines.shorts.paint.palette import mix, shade
from pipelines.shorts.paint.scenery import hills, stars
from pipelines.shorts.paint.tones import WHITE, Tones

__all__ = ["paint_moon", "paint_space"]


def paint_space(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """Nebulae, stars and two planets."""
    for _ in range(5):
        colour = rng.choice((tones.accent, tones.mid, tones.middle, tones.far))
        canvas.glow(rng.uniform(0, 1), rng.uniform(0.1, 1.5), rng.uniform(0.4, 0.9), colour, 0.34)
    stars(canvas, rng, 380, canvas.bottom)
    for _ in range(5):
        x, y = rng.uniform(0, 1), rng.uniform(0, 1.5)
        canvas.glow(x, y, 0.035, WHITE, 0.9)
    _planet(canvas, rng, rng.uniform(0.16, 0.84), rng.uniform(0.3, 0.5), rng.uniform(0.12, 0.2), tones, True)
    _planet(canvas, rng, rng.uniform(0.1, 0.9), rng.uniform(0.72, 0.9), rng.uniform(0.035, 0.06), tones, False)


def _planet(canvas: Canvas, rng: random.Random, x: float, y: float, r: float, tones: Tones, ringed: bool) -> None:
    body = tones.accent if ringed else tones.far
    canvas.glow(x, y, r * 2.4, body, 0.5)
    ring = [
        (x + math.cos(a) * r * 1.75, y + math.sin(a) * r * 0.42 - math.cos(a) * r * 0.5)
        for a in (i / 60 * 2 * math.pi for i in range(61))
    ]
    ring_colour = mix(body, WHITE, 0.55)
    if ringed:
        canvas.paint(Stroke(ring[30:], r * 0.13), fill=ring_colour, opacity=0.75)
    canvas.paint(Oval(x, y, r), fill=Gradient(mix(body, WHITE, 0.3), shade(body, 0.45), y - r, y + r))
    for _ in range(3):
        band_y = y + rng.uniform(-0.6, 0.6) * r
        half = math.sqrt(max(0.0, r**2 - (band_y - y) ** 2)) * 0.96
        thick = r * rng.uniform(0.05, 0.1)
        canvas.paint(Bar(x - half, band_y - thick, x + half, band_y + thick, thick), fill=WHITE, opacity=0.16)
    # The side away from the light.
    canvas.paint(Oval(x, y, r), Cut(Oval(x - r * 0.32, y - r * 0.3, r * 1.1)), fill=(4, 5, 20), opacity=0.5)
    if ringed:
        canvas.paint(Stroke(ring[:31], r * 0.13), fill=ring_colour, opacity=0.9)


def paint_moon(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """Hills with craters."""
    hills(canvas, rng, 1.25, 0.05, mix(tones.mid, tones.low, 0.35), tones.ink, 2)
    hills(canvas, rng, 1.36, 0.04, mix(tones.near, tones.mid, 0.35), shade(tones.ink, 0.3), 2)
    for _ in range(9):
        x, y = rng.uniform(canvas.left, canvas.right), rng.uniform(1.38, 1.8)
        r = rng.uniform(0.03, 0.08) * (y - 0.7)
        canvas.paint(Oval(x, y, r, r * 0.3), fill=shade(tones.ink, 0.35), opacity=0.7)
        canvas.paint(Oval(x, y + r * 0.06, r, r * 0.3), Cut(Oval(x, y, r * 1.02, r * 0.3)), fill=tones.mid, opacity=0.6)
