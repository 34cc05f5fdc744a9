"""Drawings: SVG files whose colours are mixtures of a scene's colours, rendered by resvg.

A drawing is an ordinary SVG file (any editor shows it). In its `<style>`, a comment behind a colour says what it is
mixed from, with weights in percent: `fill: #d38441; /* 88 lit fur, 12 #000000 */`. `lit` is a colour in the light of
the scene. Lengths are thousandths of the picture's width; y goes down.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import resvg_py
from PIL import Image

from pipelines.shorts.paint.palette import Colour, from_hex, mix, to_hex
from pipelines.shorts.vocabulary import Light

__all__ = ["Box", "Inks", "box_of", "dithered", "drawing", "placed", "render"]

_FOLDER: Final = Path(__file__).with_name("drawings")
_MIXTURE: Final = re.compile(r"#[0-9a-f]{6}; /\* (.+?) \*/")
_VIEW_BOX: Final = re.compile(r'viewBox="([^"]+)"')
_AIR: Final[Mapping[Light, float]] = {"dawn": 0.14, "day": 0.0, "sunset": 0.2, "night": 0.3}
"""The share of the sky's colour in all other colours, by light."""
_LAMPLIGHT: Final[Mapping[Light, float]] = {"dawn": 0.75, "day": 0.28, "sunset": 0.75, "night": 0.9}


@dataclass(frozen=True)
class Box:
    """A rectangle in units of the picture's width."""

    x: float
    y: float
    width: float
    height: float


class Inks:
    """The colours that a drawing may name: those of the scene, and those of the hero.

    `colours` must have `top` and `middle`, the sky's, if a drawing names a colour in the light of the scene.
    """

    def __init__(self, colours: Mapping[str, Colour], light: Light) -> None:
        self.colours = colours
        self.light = light

    def __getitem__(self, name: str) -> Colour:
        """The colour called `name`: `far`, `#ff8480`, or one of them in the light of the scene: `lit far`."""
        plain = name.removeprefix("lit ")
        colour = from_hex(plain) if plain.startswith("#") else self.colours[plain]
        if plain == name:
            return colour
        return mix(colour, mix(self.colours["top"], self.colours["middle"], 0.5), _AIR[self.light])

    def with_colours(self, more: Mapping[str, str]) -> Inks:
        """These inks and `more`: name → `#rrggbb`."""
        return Inks({**self.colours, **{name: from_hex(colour) for name, colour in more.items()}}, self.light)

    def mixture(self, recipe: str) -> str:
        """`70 far, 30 low` as `#rrggbb`. Raises KeyError for an unknown colour."""
        parts = [part.strip().split(" ", 1) for part in recipe.split(",")]
        mixed = np.sum([np.multiply(self[name], float(weight) / 100) for weight, name in parts], axis=0)
        red, green, blue = np.clip(np.rint(mixed), 0, 255).astype(int).tolist()
        return to_hex((red, green, blue))


@lru_cache(maxsize=64)
def _text(name: str) -> str:
    return (_FOLDER / f"{name}.svg").read_text(encoding="utf-8")


def box_of(name: str) -> Box:
    """The view box of the drawing `name`."""
    match = _VIEW_BOX.search(_text(name))
    if match is None:
        raise ValueError(f"the drawing {name} has no viewBox")
    x, y, width, height = (float(number) / 1000 for number in match[1].split())
    return Box(x, y, width, height)


def drawing(name: str, inks: Inks) -> str:
    """The drawing `name` (`heroes/cat`) as SVG elements, in the colours of `inks`."""
    text = _text(name)
    inner = text[text.index(">") + 1 : text.rindex("</svg>")]
    return _MIXTURE.sub(lambda match: inks.mixture(match[1]), inner)


def placed(elements: str, x: float, y: float, scale: float = 1.0, *, mirrored: bool = False) -> str:
    """`elements` with their origin at (x, y) in units of the picture's width; `mirrored`: left and right change."""
    across = -scale if mirrored else scale
    return f'<g transform="translate({x * 1000:.2f} {y * 1000:.2f}) scale({across:.5g} {scale:.5g})">{elements}</g>'


def render(elements: str, box: Box, size_px: tuple[int, int], light: Light = "day") -> Image.Image:
    """Render the part of `elements` that lies in `box` as an RGBA image of `size_px` (width, height)."""
    view = " ".join(f"{value * 1000:.3f}" for value in (box.x, box.y, box.width, box.height))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size_px[0]}" height="{size_px[1]}" viewBox="{view}" '
        f'preserveAspectRatio="none"><style>.evening {{ opacity: {_LAMPLIGHT[light]} }}</style>{elements}</svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def dithered(image: Image.Image) -> Image.Image:
    """`image` with a little noise. Without it, 8 bits and a video codec turn a smooth sky into visible bands."""
    pixels = np.asarray(image, dtype=np.int16).copy()
    noise = np.random.default_rng(7).integers(-1, 2, pixels.shape[:2], dtype=np.int16)
    pixels[:, :, :3] += noise[:, :, None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), image.mode)
