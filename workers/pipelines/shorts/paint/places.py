"""The place of a scene: sky and far land behind the hero, and near ground on a picture of its own."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from PIL import Image

from pipelines.shorts.paint.drawings import Box, Inks, box_of, dithered, drawing, placed, render
from pipelines.shorts.paint.palette import mix, shade, to_hex
from pipelines.shorts.paint.scene import Scene
from pipelines.shorts.vocabulary import OVERCAST, Backdrop

__all__ = ["HORIZON_Y", "paint_ground", "paint_place"]

HORIZON_Y: Final = 1.06
_WATER_Y: Final = HORIZON_Y - 0.04


@dataclass(frozen=True)
class _Sky:
    """The stars, sun and clouds of a place; heights in units of the picture's width."""

    stars: int = 150
    stars_end_y: float = HORIZON_Y - 0.1
    has_sun: bool = True
    sun_y: Mapping[str, float] | None = None
    clouds: int = 5


_SUN_Y: Final = {"dawn": 0.84, "day": 0.36, "sunset": 0.86, "night": 0.42}
_SKIES: Final[Mapping[Backdrop, _Sky]] = {
    "space": _Sky(stars=380, stars_end_y=2.0, has_sun=False, clouds=0),
    "underwater": _Sky(stars=0, has_sun=False, clouds=0),
    "sea": _Sky(sun_y={**_SUN_Y, "dawn": 0.93, "sunset": 0.93}, clouds=4),
    "desert": _Sky(stars=200, stars_end_y=HORIZON_Y, clouds=0),
    "room": _Sky(stars=90, stars_end_y=0.9, sun_y=dict.fromkeys(_SUN_Y, 0.5), clouds=0),
}
_EDGES: Final = (
    '<radialGradient id="edges" r="0.7071"><stop offset="0.4" stop-opacity="0"/>'
    '<stop offset="0.6" stop-opacity="0.074"/><stop offset="0.75" stop-opacity="0.151"/>'
    '<stop offset="0.9" stop-opacity="0.271"/><stop offset="1" stop-opacity="0.38"/></radialGradient>'
)


def paint_place(scene: Scene, inks: Inks, box: Box, size_px: tuple[int, int]) -> Image.Image:
    """Paint the sky and the far land of `scene`, as RGB."""
    rng = random.Random(scene.seed)
    end_y = (HORIZON_Y + 0.06 - box.y) / box.height
    sky = (
        f'<linearGradient id="sky" x2="0" y2="1"><stop stop-color="{to_hex(inks["top"])}"/>'
        f'<stop offset="{(0.62 - box.y) / box.height:.4f}" stop-color="{to_hex(inks["middle"])}"/>'
        f'<stop offset="{end_y:.4f}" stop-color="{to_hex(inks["low"])}"/></linearGradient>{_whole(box, "sky")}'
    )
    edges = _EDGES.replace("<stop ", f'<stop stop-color="{to_hex(shade(inks["top"], 0.6))}" ') + _whole(box, "edges")
    lights, glitter = _lights(scene, inks, rng)
    land = _seen(f"places/{scene.backdrop}-back", inks, box, rng)
    picture = render(sky + lights + land + glitter, box, size_px, scene.light)
    # The sky is soft, so render it at a quarter of the size: that takes a tenth of the time.
    small = render(edges, box, (size_px[0] // 4, size_px[1] // 4)).resize(size_px, Image.Resampling.BILINEAR)
    picture.alpha_composite(small)
    return dithered(picture.convert("RGB"))


def paint_ground(scene: Scene, inks: Inks, box: Box, size_px: tuple[int, int]) -> Image.Image:
    """Paint the near ground of `scene` as RGBA. It is a layer of its own, because it moves faster than the place."""
    elements = _seen(f"places/{scene.backdrop}-ground", inks, box, random.Random(scene.seed + 1))
    return dithered(render(elements, box, size_px, scene.light))


def _whole(box: Box, fill: str) -> str:
    x, y, width, height = (value * 1000 for value in (box.x, box.y, box.width, box.height))
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="url(#{fill})"/>'


def _seen(name: str, inks: Inks, box: Box, rng: random.Random) -> str:
    """The drawing `name` as this scene shows it: a part of it where it is wider than the picture, mirrored or not."""
    panorama = box_of(name)
    elements = drawing(name, inks)
    spare = max(0.0, panorama.width - box.width)
    left = panorama.x + rng.uniform(0, spare)
    if rng.random() < 0.5:
        return placed(elements, box.x + box.width + left, 0.0, mirrored=True)
    return placed(elements, box.x - left, 0.0)


def _lights(scene: Scene, inks: Inks, rng: random.Random) -> tuple[str, str]:
    """Stars, sun or moon, and clouds; and the reflection of the light on the sea."""
    sky = _SKIES.get(scene.backdrop, _Sky())
    overcast = scene.weather in OVERCAST
    night = scene.light == "night"
    parts: list[str] = []
    glitter = ""
    if scene.backdrop == "space" or (night and not overcast):
        parts.append(_stars(rng, sky.stars, sky.stars_end_y))
    x, is_full = rng.uniform(0.24, 0.76), rng.random() < 0.5
    if sky.has_sun and not overcast:
        name = {"day": "sun", "night": "moon" if is_full else "crescent"}.get(scene.light, "low-sun")
        parts.append(placed(drawing(f"sky/{name}", inks), x, (sky.sun_y or _SUN_Y)[scene.light]))
        if scene.backdrop == "sea":
            glitter = placed(drawing("sky/glitter", inks), x, _WATER_Y)
    if overcast and sky.has_sun:
        parts += (_cloud(scene, inks, rng, rng.uniform(0.0, 0.75), 1.6) for _ in range(14))
    else:
        count = min(sky.clouds, 2) if night else sky.clouds
        parts += (_cloud(scene, inks, rng, rng.uniform(0.3, 0.85), 1.0) for _ in range(count))
    return "".join(parts), glitter


def _stars(rng: random.Random, count: int, end_y: float) -> str:
    parts = []
    for opacity, share in ((0.35, 0.55), (0.65, 0.3), (1.0, 0.15)):
        dots = (
            f'<circle cx="{rng.uniform(-90, 1090):.0f}" cy="{(end_y + 0.09) * rng.random() ** 1.15 * 1000 - 90:.0f}" '
            f'r="{rng.uniform(1.2, 2.4) * (0.8 + opacity):.2f}"/>'
            for _ in range(round(count * share))
        )
        parts.append(f'<g fill="#ffffff" fill-opacity="{opacity}">{"".join(dots)}</g>')
    return "".join(parts)


def _cloud(scene: Scene, inks: Inks, rng: random.Random, y: float, scale: float) -> str:
    size = rng.uniform(0.05, 0.1) * (0.7 + y) * scale
    white = 0.55 if scene.light == "day" and scene.weather not in OVERCAST else 0.18
    coloured = inks.with_colours({"cloud": to_hex(mix(inks["low"], (255, 255, 255), white))})
    return f'<g opacity="0.62">{placed(drawing("sky/cloud", coloured), rng.uniform(-0.09, 1.09), y, size)}</g>'
