"""Streets and rooms."""

from __future__ import annotations

import random

from pipelines.shorts.paint.canvas import Bar, Canvas, Cut, Gradient, Oval, Poly, Shape, smooth
from pipelines.shorts.paint.palette import Colour, mix, shade
from pipelines.shorts.paint.scenery import open_sky, stars, sun
from pipelines.shorts.paint.tones import Tones

__all__ = ["paint_city", "paint_room", "paint_street", "paint_table", "skyline"]


def paint_city(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """Three rows of houses."""
    open_sky(canvas, tones, rng)
    skyline(canvas, tones, rng, (0.62, 0.95), mix(tones.far, tones.low, 0.25), tones.low, 0.09, lit=0.0)
    skyline(
        canvas,
        tones,
        rng,
        (0.76, 1.06),
        mix(tones.mid, tones.far, 0.35),
        mix(tones.mid, tones.low, 0.3),
        0.12,
        lit=0.3,
    )
    skyline(canvas, tones, rng, (0.92, 1.16), tones.mid, tones.near, 0.15, lit=0.5)


def skyline(
    canvas: Canvas,
    tones: Tones,
    rng: random.Random,
    heights: tuple[float, float],
    top: Colour,
    bottom: Colour,
    width: float,
    lit: float,
) -> None:
    """Paint a row of houses across the picture; `lit` (0..1) of the windows are lit."""
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


def paint_street(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """A road and its lamps."""
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


def paint_room(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """A wall with a window on the city."""
    wall = mix(shade(tones.near, 0.1), (96, 62, 58), 0.45)
    x0, y0, x1, y1 = 0.12, 0.16, 0.88, 1.12
    if tones.light == "night":
        stars(canvas, rng, 90, 0.9)
    sun(canvas, tones, rng, 0.5)
    skyline(canvas, tones, rng, (0.78, 0.98), mix(tones.far, tones.low, 0.2), tones.low, 0.13, lit=0.35)
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


def paint_table(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    """A table with a plant."""
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
