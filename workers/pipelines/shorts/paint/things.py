"""What a film can be about beside the living: things that fly, float, roll, steam and bloom."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Final

from pipelines.shorts.paint.canvas import Bar, Canvas, Cut, Gradient, Oval, Poly, Shape, Stroke, smooth
from pipelines.shorts.paint.characters import in_light
from pipelines.shorts.paint.palette import Colour, mix, shade
from pipelines.shorts.paint.tones import WHITE, Tones
from pipelines.shorts.vocabulary import Hero

__all__ = ["THINGS", "paint_hull"]

_GLASS: Final[Colour] = (150, 214, 240)


def _rocket(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    shell = in_light((242, 244, 250), tones)
    trim = in_light(tones.accent, tones)
    canvas.glow(0.5, 0.9, 0.28, (255, 180, 90), 0.9)
    canvas.paint(Poly(smooth([(0.43, 0.76), (0.57, 0.76), (0.55, 0.9), (0.5, 1.0), (0.45, 0.9)])), fill=(255, 140, 60))
    canvas.paint(
        Poly(smooth([(0.46, 0.76), (0.54, 0.76), (0.53, 0.85), (0.5, 0.92), (0.47, 0.85)])),
        fill=(255, 228, 140),
    )
    for side in (-1, 1):
        fin = [
            (0.5 + side * 0.12, 0.52),
            (0.5 + side * 0.27, 0.68),
            (0.5 + side * 0.26, 0.82),
            (0.5 + side * 0.1, 0.74),
        ]
        canvas.paint(Poly(smooth(fin)), fill=shade(trim, 0.12))
    hull = smooth(
        [
            (0.5, 0.03),
            (0.6, 0.18),
            (0.655, 0.4),
            (0.63, 0.64),
            (0.58, 0.77),
            (0.42, 0.77),
            (0.37, 0.64),
            (0.345, 0.4),
            (0.4, 0.18),
        ]
    )
    canvas.paint(Poly(hull), fill=shell)
    canvas.paint(
        Poly(
            smooth(
                [
                    (0.52, 0.05),
                    (0.6, 0.18),
                    (0.655, 0.4),
                    (0.63, 0.64),
                    (0.58, 0.77),
                    (0.54, 0.77),
                    (0.585, 0.5),
                    (0.57, 0.25),
                ]
            )
        ),
        fill=shade(shell, 0.16),
    )
    canvas.paint(
        Poly(smooth([(0.5, 0.03), (0.575, 0.14), (0.6, 0.215), (0.5, 0.235), (0.4, 0.215), (0.425, 0.14)])),
        fill=trim,
    )
    canvas.paint(Oval(0.5, 0.4, 0.093), fill=trim)
    canvas.paint(Oval(0.5, 0.4, 0.068), fill=Gradient((220, 245, 255), (80, 150, 210), 0.33, 0.47))
    canvas.paint(Oval(0.478, 0.376, 0.02), fill=WHITE, opacity=0.9)
    canvas.paint(Bar(0.41, 0.755, 0.59, 0.79, 0.012), fill=shade(trim, 0.35))


def _balloon(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    cloth = in_light(tones.accent, tones)
    pale = in_light(mix(tones.glow, WHITE, 0.4), tones)
    envelope = smooth(
        [
            (0.5, 0.02),
            (0.72, 0.1),
            (0.8, 0.3),
            (0.71, 0.5),
            (0.56, 0.68),
            (0.44, 0.68),
            (0.29, 0.5),
            (0.2, 0.3),
            (0.28, 0.1),
        ]
    )
    canvas.paint(Poly(envelope), fill=Gradient(mix(cloth, WHITE, 0.2), shade(cloth, 0.25), 0.02, 0.68))
    for left, right in ((-0.62, -0.3), (-0.1, 0.1), (0.3, 0.62)):
        gore = [
            (0.5, 0.025),
            (0.5 + right * 0.31, 0.16),
            (0.5 + right * 0.3, 0.36),
            (0.5 + right * 0.09, 0.66),
            (0.5 + left * 0.09, 0.66),
            (0.5 + left * 0.3, 0.36),
            (0.5 + left * 0.31, 0.16),
        ]
        canvas.paint(Poly(smooth(gore)), fill=Gradient(pale, mix(pale, cloth, 0.45), 0.05, 0.66), opacity=0.92)
    ropes: list[Shape] = [
        Stroke([(0.5 + dx, 0.67), (0.5 + dx * 0.8, 0.83)], 0.007) for dx in (-0.06, -0.02, 0.02, 0.06)
    ]
    canvas.paint(*ropes, fill=tones.ink)
    basket = in_light((170, 112, 66), tones)
    canvas.paint(Bar(0.435, 0.82, 0.565, 0.93, 0.02), fill=Gradient(basket, shade(basket, 0.35), 0.82, 0.93))
    canvas.paint(Bar(0.425, 0.815, 0.575, 0.84, 0.012), fill=shade(basket, 0.25))


def paint_hull(canvas: Canvas, tones: Tones) -> None:
    """A wooden boat at the foot of the square, for whoever would otherwise walk on water."""
    wood = in_light((178, 108, 66), tones)
    hull = smooth([(0.06, 0.76), (0.5, 0.8), (0.94, 0.76), (0.82, 0.94), (0.66, 1.0), (0.34, 1.0), (0.18, 0.94)])
    canvas.paint(Poly(hull), fill=Gradient(wood, shade(wood, 0.4), 0.76, 1.0))
    canvas.paint(
        Stroke(smooth([(0.06, 0.765), (0.5, 0.805), (0.94, 0.765)], closed=False), 0.028),
        fill=mix(wood, WHITE, 0.35),
    )


def _boat(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    sail = in_light((252, 248, 238), tones)
    second = in_light(tones.accent, tones)
    canvas.paint(Bar(0.485, 0.06, 0.505, 0.8), fill=in_light((120, 80, 56), tones))
    canvas.paint(
        Poly(smooth([(0.52, 0.08), (0.66, 0.34), (0.8, 0.68), (0.66, 0.72), (0.52, 0.72), (0.53, 0.4)])),
        fill=Gradient(sail, shade(sail, 0.16), 0.08, 0.72),
    )
    canvas.paint(
        Poly(smooth([(0.47, 0.16), (0.36, 0.4), (0.22, 0.66), (0.34, 0.71), (0.47, 0.71), (0.46, 0.44)])),
        fill=Gradient(mix(second, WHITE, 0.15), shade(second, 0.18), 0.16, 0.7),
    )
    canvas.paint(Poly([(0.495, 0.06), (0.6, 0.085), (0.495, 0.115)]), fill=second)
    paint_hull(canvas, tones)


def _train(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    coach = in_light(tones.accent, tones)
    cream = in_light((250, 240, 220), tones)
    dark = in_light((52, 50, 70), tones)
    canvas.paint(Bar(0.0, 0.9, 1.0, 0.915), fill=dark)
    for puff, (x, y) in enumerate(((0.8, 0.3), (0.7, 0.2), (0.56, 0.12))):
        canvas.paint(Oval(x, y, 0.05 + puff * 0.02), fill=WHITE, opacity=0.5 - puff * 0.1)
    canvas.paint(Bar(0.78, 0.38, 0.85, 0.56, 0.01), Bar(0.765, 0.36, 0.865, 0.4, 0.012), fill=dark)
    canvas.paint(Bar(0.52, 0.52, 0.96, 0.8, 0.07), fill=Gradient(mix(coach, WHITE, 0.2), shade(coach, 0.2), 0.52, 0.8))
    canvas.paint(Bar(0.44, 0.38, 0.66, 0.8, 0.03), Bar(0.42, 0.35, 0.68, 0.4, 0.02), fill=coach)
    canvas.paint(Bar(0.485, 0.44, 0.615, 0.58, 0.02), fill=mix(_GLASS, (255, 230, 160), 0.5))
    canvas.paint(Bar(0.02, 0.42, 0.39, 0.8, 0.04), fill=Gradient(cream, shade(cream, 0.2), 0.42, 0.8))
    canvas.paint(Bar(0.02, 0.62, 0.39, 0.68), Bar(0.0, 0.4, 0.41, 0.45, 0.02), fill=coach)
    canvas.paint(
        Bar(0.065, 0.48, 0.175, 0.6, 0.015),
        Bar(0.235, 0.48, 0.345, 0.6, 0.015),
        fill=mix(_GLASS, (255, 230, 160), 0.5),
    )
    canvas.paint(Bar(0.02, 0.78, 0.97, 0.83, 0.01), Poly([(0.93, 0.8), (1.0, 0.9), (0.88, 0.9)]), fill=dark)
    for x, r in ((0.1, 0.06), (0.31, 0.06), (0.54, 0.075), (0.72, 0.06), (0.86, 0.06)):
        y = 0.905 - r
        canvas.paint(Oval(x, y, r), fill=dark)
        canvas.paint(Oval(x, y, r * 0.55), fill=coach)
        canvas.paint(Oval(x, y, r * 0.2), fill=cream)
    canvas.glow(0.965, 0.62, 0.12, (255, 240, 180), 0.9)
    canvas.paint(Oval(0.955, 0.62, 0.03), fill=(255, 246, 210))


def _car(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    body = in_light(tones.accent, tones)
    dark = in_light((46, 46, 60), tones)
    canvas.paint(Oval(0.5, 0.945, 0.42, 0.025), fill=tones.ink, opacity=0.35)
    roof = smooth([(0.24, 0.64), (0.3, 0.44), (0.4, 0.38), (0.62, 0.38), (0.72, 0.46), (0.79, 0.64)])
    canvas.paint(Poly(roof), fill=mix(body, WHITE, 0.15))
    canvas.paint(
        Bar(0.32, 0.45, 0.5, 0.63, 0.04),
        Bar(0.53, 0.45, 0.71, 0.63, 0.04),
        fill=Gradient(mix(_GLASS, WHITE, 0.4), _GLASS, 0.45, 0.63),
    )
    lower = smooth(
        [
            (0.06, 0.68),
            (0.2, 0.6),
            (0.5, 0.6),
            (0.8, 0.6),
            (0.94, 0.68),
            (0.95, 0.84),
            (0.5, 0.86),
            (0.05, 0.84),
        ]
    )
    canvas.paint(Poly(lower), fill=Gradient(body, shade(body, 0.25), 0.6, 0.86))
    canvas.paint(Bar(0.06, 0.775, 0.94, 0.795, 0.008), fill=mix(body, WHITE, 0.6), opacity=0.8)
    luggage = in_light((150, 98, 62), tones)
    canvas.paint(Bar(0.36, 0.29, 0.52, 0.375, 0.015), Bar(0.54, 0.315, 0.66, 0.375, 0.015), fill=luggage)
    for x in (0.25, 0.75):
        canvas.paint(Oval(x, 0.85, 0.1), fill=dark)
        canvas.paint(Oval(x, 0.85, 0.055), fill=(220, 224, 232))
    canvas.glow(0.95, 0.71, 0.13, (255, 240, 180), 0.85)
    canvas.paint(Oval(0.935, 0.71, 0.025, 0.034), fill=(255, 246, 210))


def _cup(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    china = in_light((252, 250, 246), tones)
    band = in_light(tones.accent, tones)
    canvas.paint(Oval(0.47, 0.93, 0.36, 0.045), fill=shade(china, 0.25))
    canvas.paint(Oval(0.47, 0.92, 0.36, 0.042), fill=china)
    canvas.paint(Oval(0.77, 0.66, 0.115, 0.12), Cut(Oval(0.77, 0.66, 0.065, 0.07)), fill=shade(china, 0.1))
    cup = smooth(
        [
            (0.19, 0.5),
            (0.47, 0.52),
            (0.75, 0.5),
            (0.73, 0.72),
            (0.62, 0.88),
            (0.47, 0.91),
            (0.32, 0.88),
            (0.21, 0.72),
        ]
    )
    canvas.paint(Poly(cup), fill=Gradient(china, shade(china, 0.2), 0.5, 0.9))
    canvas.paint(
        Poly(smooth([(0.205, 0.64), (0.47, 0.68), (0.735, 0.64), (0.725, 0.73), (0.47, 0.77), (0.215, 0.73)])),
        fill=band,
    )
    canvas.paint(Oval(0.47, 0.505, 0.283, 0.06), fill=china)
    canvas.paint(Oval(0.47, 0.51, 0.25, 0.046), fill=Gradient((150, 92, 56), (96, 56, 34), 0.46, 0.56))
    canvas.paint(
        Poly(
            smooth(
                [
                    (0.47, 0.54),
                    (0.39, 0.505),
                    (0.41, 0.485),
                    (0.45, 0.485),
                    (0.47, 0.498),
                    (0.49, 0.485),
                    (0.53, 0.485),
                    (0.55, 0.505),
                ]
            )
        ),
        fill=(246, 224, 196),
    )
    for x, phase in ((0.37, 0.0), (0.48, 1.7), (0.58, 3.1)):
        steam = [(x + math.sin(phase + t * 6) * 0.03, 0.44 - t * 0.34) for t in (i / 20 for i in range(21))]
        canvas.paint(Stroke(steam, 0.03), fill=WHITE, opacity=0.42, blur=0.012)


def _flower(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    green = in_light((84, 158, 92), tones)
    petal = in_light(tones.accent, tones)
    stem = smooth([(0.52, 0.96), (0.47, 0.76), (0.5, 0.42)], closed=False)
    canvas.paint(Stroke(stem, 0.034), fill=green)
    for side in (-1, 1):
        y = 0.8 if side < 0 else 0.72
        leaf = [
            (0.49, y),
            (0.49 + side * 0.12, y - 0.12),
            (0.49 + side * 0.27, y - 0.13),
            (0.49 + side * 0.16, y),
        ]
        canvas.paint(Poly(smooth(leaf)), fill=Gradient(mix(green, WHITE, 0.15), shade(green, 0.2), y - 0.13, y))
    count = rng.choice((6, 8))
    canvas.glow(0.5, 0.34, 0.42, mix(petal, WHITE, 0.4), 0.35)
    for ring, (reach, colour) in enumerate(((0.17, shade(petal, 0.12)), (0.14, mix(petal, WHITE, 0.15)))):
        for k in range(count):
            angle = (k + ring * 0.5) / count * 2 * math.pi
            along = (math.cos(angle), math.sin(angle))
            across = (-along[1], along[0])
            outline = [
                (0.5 + along[0] * reach * a + across[0] * b, 0.34 + along[1] * reach * a + across[1] * b)
                for a, b in ((0.15, 0.0), (0.9, -0.075), (1.6, -0.05), (1.75, 0.0), (1.6, 0.05), (0.9, 0.075))
            ]
            canvas.paint(Poly(smooth(outline)), fill=mix(colour, WHITE, 0.06 * (k % 2)))
    heart = in_light((255, 206, 92), tones)
    canvas.paint(Oval(0.5, 0.34, 0.085), fill=Gradient(heart, shade(heart, 0.25), 0.26, 0.43))
    canvas.paint(Oval(0.472, 0.335, 0.011, 0.015), Oval(0.528, 0.335, 0.011, 0.015), fill=(70, 46, 40))
    smile = [(0.5 + dx, 0.362 + 0.014 * math.cos(dx / 0.03 * 1.57)) for dx in (i * 0.005 for i in range(-6, 7))]
    canvas.paint(Stroke(smile, 0.008), fill=(70, 46, 40))


THINGS: Final[Mapping[Hero, Callable[[Canvas, Tones, random.Random], None]]] = {
    "rocket": _rocket,
    "balloon": _balloon,
    "boat": _boat,
    "train": _train,
    "car": _car,
    "cup": _cup,
    "flower": _flower,
}
