"""The places: a far picture behind the hero and near ground under it, for each backdrop of the vocabulary."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pipelines.shorts.canvas import Bar, Canvas, Cut, Gradient, Oval, Point, Poly, Shape, Stroke, smooth
from pipelines.shorts.palette import Colour, Palette, from_hex, mix, shade
from pipelines.shorts.vocabulary import Backdrop, Light

__all__ = ["GROUND_Y", "Tones", "paint_backdrop", "paint_ground"]

HORIZON_Y: Final = 1.06
GROUND_Y: Final = 1.27
"""Where a hero that walks has its feet."""

WHITE: Final[Colour] = (255, 255, 255)


@dataclass(frozen=True)
class Tones:
    """A palette as the painter mixes it: numbers instead of hex, and the light that it is for."""

    top: Colour
    middle: Colour
    low: Colour
    glow: Colour
    far: Colour
    mid: Colour
    near: Colour
    accent: Colour
    ink: Colour
    light: Light

    @classmethod
    def of(cls, palette: Palette, light: Light) -> Tones:
        """Read the hex colours of `palette`."""
        return cls(
            top=from_hex(palette.sky_top),
            middle=from_hex(palette.sky_mid),
            low=from_hex(palette.sky_low),
            glow=from_hex(palette.glow),
            far=from_hex(palette.far),
            mid=from_hex(palette.mid),
            near=from_hex(palette.near),
            accent=from_hex(palette.accent),
            ink=from_hex(palette.ink),
            light=light,
        )


_Painter = Callable[[Canvas, Tones, random.Random], None]


def paint_backdrop(canvas: Canvas, backdrop: Backdrop, tones: Tones, rng: random.Random) -> None:
    """Paint all that lies behind the hero."""
    canvas.sky([(canvas.top, tones.top), (0.62, tones.middle), (HORIZON_Y + 0.06, tones.low)])
    _FAR[backdrop](canvas, tones, rng)
    canvas.shade_edges(shade(tones.top, 0.6), 0.38)


def paint_ground(canvas: Canvas, backdrop: Backdrop, tones: Tones, rng: random.Random) -> None:
    """Paint what lies before the horizon, on a transparent canvas: what moves faster under a moving camera."""
    _NEAR[backdrop](canvas, tones, rng)


def _stars(canvas: Canvas, rng: random.Random, count: int, below_y: float) -> None:
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


def _sun(canvas: Canvas, tones: Tones, rng: random.Random, y: float | None = None) -> Point:
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


def _clouds(canvas: Canvas, tones: Tones, rng: random.Random, count: int, y0: float, y1: float) -> None:
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


def _hills(
    canvas: Canvas,
    rng: random.Random,
    y: float,
    height: float,
    top: Colour,
    bottom: Colour,
    roughness: int = 3,
) -> list[Point]:
    outline = _ridge(canvas, rng, y, height, roughness)
    canvas.paint(Poly(outline), fill=Gradient(top, bottom, y - height, y + 0.4))
    return outline[:-2]


def _open_sky(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    if tones.light == "night":
        _stars(canvas, rng, 150, HORIZON_Y - 0.1)
    _sun(canvas, tones, rng)
    _clouds(canvas, tones, rng, 5 if tones.light != "night" else 2, 0.3, 0.85)


def _space(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    for _ in range(5):
        colour = rng.choice((tones.accent, tones.mid, tones.middle, tones.far))
        canvas.glow(rng.uniform(0, 1), rng.uniform(0.1, 1.5), rng.uniform(0.4, 0.9), colour, 0.34)
    _stars(canvas, rng, 380, canvas.bottom)
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


def _moonscape(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    _hills(canvas, rng, 1.25, 0.05, mix(tones.mid, tones.low, 0.35), tones.ink, 2)
    _hills(canvas, rng, 1.36, 0.04, mix(tones.near, tones.mid, 0.35), shade(tones.ink, 0.3), 2)
    for _ in range(9):
        x, y = rng.uniform(canvas.left, canvas.right), rng.uniform(1.38, 1.8)
        r = rng.uniform(0.03, 0.08) * (y - 0.7)
        canvas.paint(Oval(x, y, r, r * 0.3), fill=shade(tones.ink, 0.35), opacity=0.7)
        canvas.paint(Oval(x, y + r * 0.06, r, r * 0.3), Cut(Oval(x, y, r * 1.02, r * 0.3)), fill=tones.mid, opacity=0.6)


def _sea(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    if tones.light == "night":
        _stars(canvas, rng, 160, HORIZON_Y - 0.05)
    x, _ = _sun(canvas, tones, rng, None if tones.light in ("day", "night") else 0.93)
    _clouds(canvas, tones, rng, 4, 0.35, 0.8)
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


def _waves(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
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


def _underwater(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
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
    _hills(canvas, rng, 1.1, 0.09, mix(tones.far, tones.middle, 0.6), tones.low)
    _hills(canvas, rng, 1.2, 0.07, mix(tones.mid, tones.low, 0.5), shade(tones.low, 0.3))
    fish: list[Shape] = []
    cx, cy = rng.uniform(0.25, 0.75), rng.uniform(0.6, 0.85)
    for _ in range(11):
        x, y, s = cx + rng.gauss(0, 0.12), cy + rng.gauss(0, 0.06), rng.uniform(0.012, 0.02)
        fish += [
            Oval(x, y, s, s * 0.45),
            Poly([(x + s * 0.8, y), (x + s * 1.6, y - s * 0.5), (x + s * 1.6, y + s * 0.5)]),
        ]
    canvas.paint(*fish, fill=mix(tones.low, tones.ink, 0.4), opacity=0.7)


def _seabed(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    _hills(canvas, rng, 1.38, 0.04, mix(tones.near, tones.mid, 0.3), shade(tones.ink, 0.2), 2)
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
    _hills(canvas, rng, 1.47, 0.02, shade(tones.near, 0.2), shade(tones.ink, 0.4), 2)


def _city(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    _open_sky(canvas, tones, rng)
    _skyline(canvas, tones, rng, (0.62, 0.95), mix(tones.far, tones.low, 0.25), tones.low, 0.09, lit=0.0)
    _skyline(
        canvas,
        tones,
        rng,
        (0.76, 1.06),
        mix(tones.mid, tones.far, 0.35),
        mix(tones.mid, tones.low, 0.3),
        0.12,
        lit=0.3,
    )
    _skyline(canvas, tones, rng, (0.92, 1.16), tones.mid, tones.near, 0.15, lit=0.5)


def _skyline(
    canvas: Canvas,
    tones: Tones,
    rng: random.Random,
    heights: tuple[float, float],
    top: Colour,
    bottom: Colour,
    width: float,
    lit: float,
) -> None:
    houses: list[Shape] = []
    windows: list[Shape] = []
    x = canvas.left
    while x < canvas.right:
        w, y = width * rng.uniform(0.6, 1.3), rng.uniform(*heights)
        houses.append(Bar(x, y, x + w * 0.97, canvas.bottom))
        if rng.random() < 0.3:
            houses.append(Bar(x + w * 0.46, y - rng.uniform(0.03, 0.08), x + w * 0.5, y))
        elif rng.random() < 0.3:
            houses.append(Poly([(x, y), (x + w * 0.48, y - w * 0.4), (x + w * 0.97, y)]))
        cell = 0.022
        for row in range(1, 16):
            for column in range(1, int(w / cell)):
                if rng.random() < lit:
                    wx, wy = x + column * cell, y + row * cell * 1.35
                    windows.append(Bar(wx, wy, wx + cell * 0.42, wy + cell * 0.62))
        x += w
    canvas.paint(*houses, fill=Gradient(top, bottom, heights[0], 1.3))
    if windows:
        bright = 0.9 if tones.light == "night" else 0.75 if tones.light in ("sunset", "dawn") else 0.28
        canvas.paint(*windows, fill=mix(tones.glow, (255, 205, 110), 0.5), opacity=bright)


def _street(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    road = Gradient(mix(tones.near, tones.mid, 0.3), shade(tones.ink, 0.3), 1.2, 1.7)
    canvas.paint(Bar(canvas.left, 1.215, canvas.right, canvas.bottom), fill=road)
    canvas.paint(Bar(canvas.left, 1.215, canvas.right, 1.23), fill=mix(tones.near, tones.glow, 0.35))
    lamps = (rng.uniform(0.0, 0.16), rng.uniform(0.84, 1.0))
    for x in lamps:
        canvas.glow(x, 0.92, 0.26, (255, 220, 150), 0.65 if tones.light != "day" else 0.1)
        canvas.paint(
            Bar(x - 0.006, 0.94, x + 0.006, 1.24),
            Bar(x - 0.018, 1.21, x + 0.018, 1.24, 0.004),
            fill=tones.ink,
        )
        canvas.paint(Oval(x, 0.925, 0.026), fill=(255, 236, 190))
    dashes = [Bar(start, 1.4, start + 0.12, 1.412, 0.005) for start in (-0.1, 0.16, 0.42, 0.68, 0.94)]
    canvas.paint(*dashes, fill=mix(tones.glow, tones.near, 0.35), opacity=0.6)


def _forest(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    _open_sky(canvas, tones, rng)
    for y, size, colour in (
        (0.98, 0.16, mix(tones.far, tones.low, 0.3)),
        (1.07, 0.23, mix(tones.far, tones.mid, 0.5)),
        (1.18, 0.33, mix(tones.mid, tones.near, 0.35)),
    ):
        outline = _hills(canvas, rng, y, 0.04, colour, mix(colour, tones.low, 0.3), 2)
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


def _clearing(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    _hills(canvas, rng, 1.26, 0.02, mix(tones.near, tones.mid, 0.3), shade(tones.ink, 0.2), 2)
    _tufts(canvas, rng, 1.28, tones.near)
    dark = shade(tones.ink, 0.25)
    for x in (canvas.left + rng.uniform(0.0, 0.05), canvas.right - rng.uniform(0.0, 0.05)):
        canvas.paint(*_pine(x, 1.5, rng.uniform(0.85, 1.05)), fill=Gradient(tones.near, dark, 0.5, 1.5))


def _tufts(canvas: Canvas, rng: random.Random, y: float, colour: Colour) -> None:
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


def _mountain(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    _open_sky(canvas, tones, rng)
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
    _hills(canvas, rng, 1.17, 0.04, mix(tones.mid, tones.near, 0.6), tones.near)


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


def _pass(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    _hills(canvas, rng, 1.27, 0.03, mix(tones.near, tones.mid, 0.35), shade(tones.ink, 0.1), 3)
    rocks: list[Shape] = []
    for _ in range(12):
        x, y, s = rng.uniform(canvas.left, canvas.right), rng.uniform(1.3, 1.7), rng.uniform(0.015, 0.05)
        rocks.append(Poly([(x - s, y), (x - s * 0.5, y - s * 0.8), (x + s * 0.3, y - s), (x + s, y)]))
    canvas.paint(*rocks, fill=tones.ink, opacity=0.55)


def _desert(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    if tones.light == "night":
        _stars(canvas, rng, 200, HORIZON_Y)
    _sun(canvas, tones, rng)
    for _ in range(2):
        x, s = rng.uniform(0.05, 0.95), rng.uniform(0.1, 0.17)
        canvas.paint(Poly([(x - s, 1.06), (x, 1.06 - s * 0.95), (x + s, 1.06)]), fill=mix(tones.far, tones.low, 0.4))
        canvas.paint(Poly([(x, 1.06 - s * 0.95), (x + s, 1.06), (x + s * 0.3, 1.06)]), fill=tones.ink, opacity=0.14)
    for y, height, share in ((1.05, 0.05, 0.3), (1.13, 0.06, 0.65)):
        _dune(canvas, rng, y, height, mix(tones.far, tones.mid, share), tones)


def _dune(canvas: Canvas, rng: random.Random, y: float, height: float, colour: Colour, tones: Tones) -> None:
    crest = _hills(canvas, rng, y, height, mix(colour, tones.glow, 0.25), shade(colour, 0.2), 2)
    canvas.paint(Stroke(crest, 0.003), fill=tones.glow, opacity=0.35)


def _dunes(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
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


def _meadow(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    _open_sky(canvas, tones, rng)
    for y, height, share in ((0.98, 0.06, 0.0), (1.07, 0.06, 0.45), (1.17, 0.05, 0.9)):
        colour = mix(tones.far, tones.mid, share)
        outline = _hills(canvas, rng, y, height, mix(colour, tones.glow, 0.18), colour)
        crowns: list[Shape] = []
        for _ in range(4):
            x, base = rng.choice(outline)
            r = rng.uniform(0.014, 0.03) * (0.6 + share)
            crowns += [
                Bar(x - r * 0.15, base - r, x + r * 0.15, base + 0.01),
                Oval(x, base - r * 1.6, r, r * 1.15),
            ]
        canvas.paint(*crowns, fill=shade(colour, 0.25))


def _flowers(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    _hills(canvas, rng, 1.25, 0.02, mix(tones.near, tones.mid, 0.55), shade(tones.ink, 0.1), 2)
    _tufts(canvas, rng, 1.27, mix(tones.near, tones.glow, 0.2))
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


def _room(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    wall = mix(shade(tones.near, 0.1), (96, 62, 58), 0.45)
    x0, y0, x1, y1 = 0.12, 0.16, 0.88, 1.12
    if tones.light == "night":
        _stars(canvas, rng, 90, 0.9)
    _sun(canvas, tones, rng, 0.5)
    _skyline(canvas, tones, rng, (0.78, 0.98), mix(tones.far, tones.low, 0.2), tones.low, 0.13, lit=0.35)
    everything = Bar(canvas.left, canvas.top, canvas.right, canvas.bottom)
    canvas.paint(everything, Cut(Bar(x0, y0, x1, y1, 0.03)), fill=Gradient(shade(wall, 0.25), wall, canvas.top, 1.3))
    frame = mix(wall, (255, 240, 220), 0.55)
    canvas.paint(
        Bar(x0 - 0.03, y0 - 0.03, x1 + 0.03, y1 + 0.03, 0.045),
        Cut(Bar(x0, y0, x1, y1, 0.03)),
        Bar(0.492, y0, 0.508, y1),
        Bar(x0, 0.58, x1, 0.596),
        fill=frame,
    )
    for side in (-1, 1):
        edge = 0.5 + side * 0.44
        folds = [
            (edge + side * 0.1, canvas.top),
            (edge - side * 0.05, canvas.top),
            (edge - side * 0.1, 0.5),
            (edge - side * 0.02, 1.2),
            (edge + side * 0.12, 1.22),
        ]
        cloth = mix(tones.accent, wall, 0.45)
        canvas.paint(Poly(smooth(folds)), fill=Gradient(cloth, shade(cloth, 0.3), 0, 1.2), opacity=0.95)
    canvas.glow(0.5, 0.7, 0.9, tones.glow, 0.16)


def _table(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    wood = mix((150, 96, 62), tones.near, 0.35)
    canvas.paint(Bar(canvas.left, 1.2, canvas.right, canvas.bottom), fill=Gradient(wood, shade(wood, 0.6), 1.2, 1.6))
    canvas.paint(Bar(canvas.left, 1.2, canvas.right, 1.216), fill=mix(wood, tones.glow, 0.45))
    grain = [
        Bar(x, y, x + rng.uniform(0.1, 0.4), y + 0.003)
        for x, y in ((rng.uniform(canvas.left, 1), rng.uniform(1.25, 1.85)) for _ in range(16))
    ]
    canvas.paint(*grain, fill=shade(wood, 0.5), opacity=0.5)
    x = rng.choice((0.12, 0.88))
    canvas.paint(Poly([(x - 0.06, 1.14), (x + 0.06, 1.14), (x + 0.045, 1.25), (x - 0.045, 1.25)]), fill=tones.accent)
    leaf = mix((70, 140, 90), tones.near, 0.25)
    for lean in (-0.09, -0.045, 0.0, 0.05, 0.09):
        canvas.paint(
            Poly(
                smooth(
                    [
                        (x, 1.15),
                        (x + lean * 0.8 - 0.02, 1.05),
                        (x + lean, 0.96),
                        (x + lean * 0.8 + 0.02, 1.06),
                    ]
                )
            ),
            fill=leaf,
        )


_FAR: Final[Mapping[Backdrop, _Painter]] = {
    "space": _space,
    "sea": _sea,
    "underwater": _underwater,
    "city": _city,
    "forest": _forest,
    "mountain": _mountain,
    "desert": _desert,
    "meadow": _meadow,
    "room": _room,
}
_NEAR: Final[Mapping[Backdrop, _Painter]] = {
    "space": _moonscape,
    "sea": _waves,
    "underwater": _seabed,
    "city": _street,
    "forest": _clearing,
    "mountain": _pass,
    "desert": _dunes,
    "meadow": _flowers,
    "room": _table,
}
