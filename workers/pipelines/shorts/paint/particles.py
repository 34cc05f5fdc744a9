"""What moves in the air: snow, rain, petals, fireflies, bubbles, confetti and twinkling stars, as functions of time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from PIL import Image

from pipelines.shorts.paint.canvas import Bar, Canvas, Cut, Oval
from pipelines.shorts.paint.palette import Colour
from pipelines.shorts.vocabulary import Weather

__all__ = ["Speck", "draw_specks", "specks_at"]

_ANGLES: Final = 12
_OPACITIES: Final = 8
_CONFETTI: Final[tuple[Colour, ...]] = (
    (255, 107, 107),
    (255, 209, 102),
    (92, 214, 192),
    (143, 168, 255),
    (255, 255, 255),
)
_PETALS: Final[tuple[Colour, ...]] = ((255, 196, 214), (255, 222, 230), (250, 168, 194))


@dataclass(frozen=True)
class Speck:
    """One particle at one moment: centre and size in units of the width, a turn in radians, opacity 0..1."""

    kind: str
    x: float
    y: float
    size: float
    turn: float
    opacity: float
    colour: Colour
    near: bool


_Weather = Callable[[random.Random, float, float], Iterator[Speck]]


def specks_at(weather: Weather, seed: int, time_s: float, aspect: float) -> list[Speck]:
    """All particles at `time_s`; the same arguments give the same particles, so that frames need no memory."""
    return list(_WEATHERS[weather](random.Random(seed), time_s, aspect))


def draw_specks(frame: Image.Image, specks: list[Speck], *, near: bool, clip: tuple[int, int, int, int] | None) -> None:
    """Draw the near or the far half of `specks` on `frame`, only within `clip` (pixels) if there is one."""
    target = frame if clip is None else frame.crop(clip)
    left, top = (0, 0) if clip is None else clip[:2]
    width = frame.width
    for speck in specks:
        if speck.near != near or speck.opacity <= 0.02:
            continue
        stamp = _stamp(
            speck.kind,
            max(2, round(speck.size * width)),
            round(speck.turn / math.pi * _ANGLES) % _ANGLES,
            max(1, round(speck.opacity * _OPACITIES)),
            speck.colour,
        )
        corner = (
            round(speck.x * width - stamp.width / 2) - left,
            round(speck.y * width - stamp.height / 2) - top,
        )
        target.paste(stamp, corner, stamp)
    if clip is not None:
        frame.paste(target, (left, top))


@lru_cache(maxsize=4096)
def _stamp(kind: str, size_px: int, angle: int, opacity: int, colour: Colour) -> Image.Image:
    side = max(4, size_px * (4 if kind in ("glow", "star") else 2))
    canvas = Canvas(side, side)
    strength = opacity / _OPACITIES
    match kind:
        case "glow" | "star":
            canvas.glow(0.5, 0.5, 0.5, colour, strength * (0.75 if kind == "glow" else 0.6))
            canvas.paint(Oval(0.5, 0.5, 0.1 if kind == "glow" else 0.06), fill=(255, 255, 245), opacity=strength)
        case "ring":
            canvas.paint(Oval(0.5, 0.5, 0.25), fill=colour, opacity=strength * 0.22)
            canvas.paint(Oval(0.5, 0.5, 0.25), Cut(Oval(0.5, 0.5, 0.21)), fill=colour, opacity=strength * 0.8)
            canvas.paint(Oval(0.42, 0.42, 0.045), fill=(255, 255, 255), opacity=strength)
        case "drop":
            canvas.paint(Bar(0.485, 0.02, 0.515, 0.98, 0.01), fill=colour, opacity=strength)
        case "paper":
            canvas.paint(Bar(0.3, 0.38, 0.7, 0.62, 0.03), fill=colour, opacity=strength)
        case "petal":
            canvas.paint(Oval(0.5, 0.5, 0.25, 0.14), fill=colour, opacity=strength)
        case _:
            canvas.paint(Oval(0.5, 0.5, 0.25), fill=colour, opacity=strength, blur=0.04)
    image = canvas.image
    return image.rotate(-angle * 180 / _ANGLES, Image.Resampling.BICUBIC) if angle else image


def _clear(rng: random.Random, time_s: float, aspect: float) -> Iterator[Speck]:
    for _ in range(14):  # dust in the light
        x, y, speed = rng.random(), rng.random() * aspect, rng.uniform(0.01, 0.03)
        pulse = 0.25 + 0.2 * math.sin(time_s * 1.5 + rng.uniform(0, 6.28))
        yield Speck(
            "dot",
            (x + time_s * speed) % 1,
            (y - time_s * speed) % aspect,
            rng.uniform(0.004, 0.009),
            0,
            pulse,
            (255, 255, 235),
            rng.random() < 0.5,
        )


def _stars(rng: random.Random, time_s: float, aspect: float) -> Iterator[Speck]:
    for _ in range(26):
        x, y, phase = rng.random(), rng.random() * aspect * 0.55, rng.uniform(0, 6.28)
        pulse = 0.5 + 0.5 * math.sin(time_s * rng.uniform(1.5, 4.0) + phase)
        yield Speck("star", x, y, rng.uniform(0.008, 0.016), 0, pulse, (225, 235, 255), False)
    begin_s, x, y = rng.uniform(0.3, 1.4), rng.uniform(0.5, 1.0), rng.uniform(0.1, 0.45)
    fall = (time_s - begin_s) / 0.7
    if 0 < fall < 1:
        for tail in range(12):  # a shooting star: a head and its fading trail
            place = fall - tail * 0.018
            yield Speck(
                "dot",
                x - place * 0.7,
                y + place * 0.32,
                0.011 * (1 - tail / 13),
                0,
                math.sin(fall * math.pi) * (1 - tail / 12),
                (255, 255, 255),
                False,
            )


def _snow(rng: random.Random, time_s: float, aspect: float) -> Iterator[Speck]:
    for _ in range(80):
        size = rng.uniform(0.004, 0.017)
        x, y, phase = rng.uniform(-0.1, 1.1), rng.random() * (aspect + 0.1), rng.uniform(0, 6.28)
        fallen = (y + time_s * (0.08 + size * 14)) % (aspect + 0.1) - 0.05
        yield Speck(
            "dot",
            x + 0.03 * math.sin(time_s * 1.2 + phase),
            fallen,
            size,
            0,
            0.9,
            (255, 255, 255),
            size > 0.0105,
        )


def _rain(rng: random.Random, time_s: float, aspect: float) -> Iterator[Speck]:
    for _ in range(95):
        size = rng.uniform(0.02, 0.05)
        x, y = rng.uniform(-0.1, 1.3), rng.random() * (aspect + 0.2)
        fallen = (y + time_s * (1.3 + size * 18)) % (aspect + 0.2) - 0.1
        yield Speck("drop", x - fallen * 0.09, fallen, size, 0.26, 0.22 + size * 7, (205, 225, 250), size > 0.038)


def _petals(rng: random.Random, time_s: float, aspect: float) -> Iterator[Speck]:
    for _ in range(34):
        size = rng.uniform(0.014, 0.03)
        x, y, phase = rng.random() * 1.2, rng.random() * (aspect + 0.1), rng.uniform(0, 6.28)
        fallen = (y + time_s * (0.08 + size * 4)) % (aspect + 0.1) - 0.05
        drift = (x - time_s * 0.07 + 0.05 * math.sin(time_s * 1.4 + phase)) % 1.2 - 0.1
        yield Speck("petal", drift, fallen, size, phase + time_s * 1.8, 0.92, rng.choice(_PETALS), size > 0.021)


def _fireflies(rng: random.Random, time_s: float, aspect: float) -> Iterator[Speck]:
    for _ in range(30):
        x, y = rng.random(), aspect * rng.uniform(0.35, 0.85)
        a, b, c = (rng.uniform(0, 6.28) for _ in range(3))
        pulse = 0.15 + 0.85 * max(0.0, math.sin(time_s * 1.9 + c)) ** 1.5
        yield Speck(
            "glow",
            x + 0.07 * math.sin(time_s * 0.8 + a),
            y + 0.05 * math.sin(time_s * 1.1 + b),
            rng.uniform(0.012, 0.024),
            0,
            pulse,
            (255, 236, 130),
            rng.random() < 0.5,
        )


def _bubbles(rng: random.Random, time_s: float, aspect: float) -> Iterator[Speck]:
    for _ in range(30):
        size = rng.uniform(0.01, 0.042)
        x, y, phase = rng.random(), rng.random() * (aspect + 0.1), rng.uniform(0, 6.28)
        risen = (y - time_s * (0.1 + size * 3)) % (aspect + 0.1) - 0.05
        yield Speck(
            "ring",
            x + 0.015 * math.sin(time_s * 2 + phase),
            risen,
            size,
            0,
            0.75,
            (220, 245, 255),
            size > 0.026,
        )


def _confetti(rng: random.Random, time_s: float, aspect: float) -> Iterator[Speck]:
    for _ in range(70):
        size = rng.uniform(0.018, 0.034)
        x, y, phase = rng.random(), rng.random() * (aspect + 0.1), rng.uniform(0, 6.28)
        fallen = (y + time_s * (0.18 + size * 6)) % (aspect + 0.1) - 0.05
        yield Speck(
            "paper",
            x + 0.03 * math.sin(time_s * 2.2 + phase),
            fallen,
            size,
            phase + time_s * rng.uniform(2, 5),
            1.0,
            rng.choice(_CONFETTI),
            size > 0.026,
        )


_WEATHERS: Final[Mapping[Weather, _Weather]] = {
    "clear": _clear,
    "stars": _stars,
    "snow": _snow,
    "rain": _rain,
    "petals": _petals,
    "fireflies": _fireflies,
    "bubbles": _bubbles,
    "confetti": _confetti,
}
