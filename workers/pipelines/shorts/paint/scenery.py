"""What several places share: stars, sun and moon, clouds, hills and grass."""

from __future__ import annotations

import math
import random

from pipelines.shorts.paint.canvas import Bar, Canvas, Cut, Gradient, Oval, Point, Poly, Shape
from pipelines.shorts.paint.palette import Colour, mix
from pipelines.shorts.paint.tones import HORIZON_Y, WHITE, Tones

__all__ = ["clouds", "hills", "open_sky", "stars", "sun", "tufts"]


def stars(canvas: Canvas, rng: random.Random, count: int, below_y: float) -> None:
    """Paint `count` stars above `below_y`."""
    for opacity, share in ((0.35, 0.55), (0.65, 0.3), (1.0, 0.15)):
        canvas.paint(
            *(
                Oval(
                    rng.uniform(canvas.left, canvas.right),
                    canvas.top + (below_y - canvas.top) * rng.random() ** 1.15,
                    rng.uniform(0.0012, 0.0024) * (0.8 + opacity),
                )
                for _ in range(round(count * share))
            ),
            fill=WHITE,
            opacity=opacity,
        )


def sun(canvas: Canvas, tones: Tones, rng: random.Random, y: float | None = None) -> Point:
    """The sun or the moon with its light; returns where it stands."""
    x = rng.uniform(0.24, 0.76)
    if tones.light == "night":
        y = 0.42 if y is None else min(y, 0.5)
        canvas.glow(x, y, 0.5, mix(tones.glow, tones.middle, 0.3), 0.5)
        moon: list[Shape] = [Oval(x, y, 0.085)]
        if rng.random() < 0.5:
            moon.append(Cut(Oval(x + 0.04, y - 0.02, 0.078)))
        canvas.paint(*moon, fill=tones.glow)
        return x, y
    y = {"dawn": 0.84, "day": 0.36, "sunset": 0.86, "night": 0.4}[tones.light] if y is None else y
    canvas.glow(x, y, 0.85, tones.glow, 0.55)
    canvas.glow(x, y, 0.36, tones.glow, 0.7)
    canvas.paint(Oval(x, y, 0.1 if tones.light == "day" else 0.13), fill=mix(tones.glow, WHITE, 0.35))
    return x, y


def clouds(canvas: Canvas, tones: Tones, rng: random.Random, count: int, y0: float, y1: float) -> None:
    """Paint `count` clouds between two heights."""
    colour = mix(tones.low, WHITE, 0.55 if tones.light == "day" else 0.18)
    for _ in range(count):
        x, y = rng.uniform(canvas.left, canvas.right), rng.uniform(y0, y1)
        size = rng.uniform(0.05, 0.1) * (0.7 + y)
        puffs: list[Shape] = [Bar(x - size * 2, y - size * 0.1, x + size * 2, y + size * 0.42, size * 0.25)]
        puffs += [
            Oval(x + size * dx, y - size * dy, size * r)
            for dx, dy, r in ((-0.9, 0.1, 0.55), (0.0, 0.35, 0.8), (0.95, 0.12, 0.6))
        ]
        canvas.paint(
            *puffs,
            fill=Gradient(colour, mix(colour, tones.middle, 0.45), y - size, y + size * 0.5),
            opacity=0.62,
        )


def _ridge(canvas: Canvas, rng: random.Random, y: float, height: float, roughness: int) -> list[Point]:
    """The outline of hills at `y`, closed at the bottom: midpoint noise over three octaves."""
    phases = [(rng.uniform(0, 6.28), 1.6 * 2.1**octave, 0.5**octave) for octave in range(roughness)]
    total = sum(weight for *_, weight in phases)
    outline: list[Point] = []
    steps = 90
    for step in range(steps + 1):
        x = canvas.left + (canvas.right - canvas.left) * step / steps
        lift = sum(math.sin(phase + x * rate * 2.2) * weight for phase, rate, weight in phases) / total
        outline.append((x, y - lift * height))
    return [*outline, (canvas.right, canvas.bottom), (canvas.left, canvas.bottom)]


def hills(
    canvas: Canvas,
    rng: random.Random,
    y: float,
    height: float,
    top: Colour,
    bottom: Colour,
    roughness: int = 3,
) -> list[Point]:
    """Paint hills at `y`, and return their outline."""
    outline = _ridge(canvas, rng, y, height, roughness)
    canvas.paint(Poly(outline), fill=Gradient(top, bottom, y - height, y + 0.4))
    return outline[:-2]


def open_sky(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """Paint what the light has in the sky: stars, sun or moon, clouds."""
    if tones.light == "night":
        stars(canvas, rng, 150, HORIZON_Y - 0.1)
    sun(canvas, tones, rng)
    clouds(canvas, tones, rng, 5 if tones.light != "night" else 2, 0.3, 0.85)


def tufts(canvas: Canvas, rng: random.Random, y: float, colour: Colour) -> None:
    """Paint blades of grass below `y`."""
    blades: list[Shape] = []
    for _ in range(70):
        x, base, h = (
            rng.uniform(canvas.left, canvas.right),
            y + rng.uniform(-0.01, 0.3),
            rng.uniform(0.02, 0.045),
        )
        lean = rng.uniform(-0.015, 0.015)
        blades.append(Poly([(x - 0.005, base), (x + lean, base - h), (x + 0.005, base)]))
    canvas.paint(*blades, fill=mix(colour, WHITE, 0.12), opacity=0.5)
