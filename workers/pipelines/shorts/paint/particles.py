"""Particles as a function of time: snow, rain, petals, fireflies, bubbles, confetti, twinkling stars."""

from __future__ import annotations

import math
import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from PIL import Image

from pipelines.shorts.paint.drawings import Box, Inks, drawing, render
from pipelines.shorts.paint.palette import Colour, from_hex
from pipelines.shorts.vocabulary import Weather

__all__ = ["Speck", "draw_specks", "specks_at"]

_ANGLES: Final = 12
_OPACITIES: Final = 8
_MARGIN: Final = 0.1
"""How far above and below the picture the specks move before they begin again."""
_STAMP: Final = Box(0.0, 0.0, 1.0, 1.0)


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


@dataclass(frozen=True)
class _Motion:
    """How the specks of one weather look and move; particles.toml explains the fields."""

    kind: str
    count: int
    size: Sequence[float]
    colours: Sequence[str]
    near_above: float
    opacity: float
    opacity_by_size: float = 0.0
    pulse: float = 0.0
    pulse_rate: Sequence[float] = (0.0, 0.0)
    x: Sequence[float] = (0.0, 1.0)
    y: Sequence[float] = (0.0, 1.0)
    fall: float = 0.0
    fall_by_size: float = 0.0
    drift: float = 0.0
    slant: float = 0.0
    sway: float = 0.0
    sway_rate: float = 0.0
    bob: float = 0.0
    bob_rate: float = 0.0
    turn: float = 0.0
    spin: Sequence[float] = (0.0, 0.0)

    def speck(self, rng: random.Random, time_s: float, aspect: float) -> Speck:
        size = rng.uniform(*self.size)
        x, y = rng.uniform(*self.x), rng.uniform(*self.y) * aspect
        swing, beat = rng.uniform(0, 6.28), rng.uniform(0, 6.28)
        colour = from_hex(rng.choice(self.colours))
        spin, rate = rng.uniform(*self.spin), rng.uniform(*self.pulse_rate)
        pulse = self.pulse * math.sin(time_s * rate + beat)
        y += (self.fall + self.fall_by_size * size) * time_s + self.bob * math.sin(time_s * self.bob_rate + beat)
        y = (y + _MARGIN / 2) % (aspect + _MARGIN) - _MARGIN / 2
        width = self.x[1] - self.x[0]
        x = (x - self.x[0] + self.drift * time_s) % width + self.x[0]
        return Speck(
            self.kind,
            x + self.slant * y + self.sway * math.sin(time_s * self.sway_rate + swing),
            y,
            size,
            self.turn + (swing + spin * time_s if spin else 0.0),
            max(0.0, self.opacity + self.opacity_by_size * size + pulse),
            colour,
            size > self.near_above,
        )


def _read() -> Mapping[str, _Motion]:
    text = Path(__file__).with_name("particles.toml").read_text(encoding="utf-8")
    return {name: _Motion(**table) for name, table in tomllib.loads(text).items()}


_MOTIONS: Final = _read()


def specks_at(weather: Weather, seed: int, time_s: float, aspect: float) -> list[Speck]:
    """All particles at `time_s`; the same arguments give the same particles, so a frame needs no state."""
    rng = random.Random(seed)
    motion = _MOTIONS[weather]
    specks = [motion.speck(rng, time_s, aspect) for _ in range(motion.count)]
    return specks + _shooting_star(rng, time_s) if weather == "stars" else specks


def _shooting_star(rng: random.Random, time_s: float) -> list[Speck]:
    """A head and its fading trail, for 0.7 s."""
    begin_s, x, y = rng.uniform(0.3, 1.4), rng.uniform(0.5, 1.0), rng.uniform(0.1, 0.45)
    fall = (time_s - begin_s) / 0.7
    if not 0 < fall < 1:
        return []
    trail = []
    for tail in range(12):
        place, seen = fall - tail * 0.018, math.sin(fall * math.pi) * (1 - tail / 12)
        size = 0.011 * (1 - tail / 13)
        trail.append(Speck("dot", x - place * 0.7, y + place * 0.32, size, 0, seen, (255, 255, 255), False))
    return trail


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
    side_px = max(4, size_px * (4 if kind in ("glow", "star") else 2))
    elements = drawing(f"specks/{kind}", Inks({"speck": colour}, "day"))
    turned = (
        f'<g transform="rotate({angle * 180 / _ANGLES:g} 500 500)" opacity="{opacity / _OPACITIES:g}">{elements}</g>'
    )
    return render(turned, _STAMP, (side_px, side_px))
