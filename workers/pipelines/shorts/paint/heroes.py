"""The hero of a scene, on a square of its own with the feet at 0.95."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final

from PIL import Image

from pipelines.shorts.paint.drawings import Box, Inks, drawing, render
from pipelines.shorts.paint.palette import to_hex
from pipelines.shorts.paint.staging import Staging
from pipelines.shorts.vocabulary import Hero

__all__ = ["HERO_BOX", "paint_hero"]

HERO_BOX: Final = Box(-0.06, -0.06, 1.12, 1.12)
_COATS: Final[Mapping[Hero, Mapping[str, tuple[str, ...]]]] = {
    "cat": {"fur": ("#f09646", "#585c6e", "#faf0e2", "#3c3642")},
    "dog": {"fur": ("#d6a060", "#faeeda", "#966846")},
    "rabbit": {"fur": ("#faf4ee", "#cebeb0", "#eecec4")},
    "bear": {"fur": ("#966442", "#684e40", "#eee8e2")},
    "person": {
        "skin": ("#ffdbbe", "#f1c296", "#c68c62"),
        "hair": ("#342628", "#5a3a28", "#1e1e2c", "#965432"),
    },
    "bird": {"feathers": ("#609ce8", "#fffffa", "#f07a68", "#ffcd5c")},
    "whale": {"hide": ("#466ebe", "#546096", "#3c8caa")},
}
_SHADOW: Final = (
    '<filter id="shadow" x="-50%" y="-100%" width="200%" height="300%"><feGaussianBlur stdDeviation="15"/></filter>'
    '<ellipse cx="500" cy="950" rx="300" ry="35" fill="{ink}" opacity="0.45" filter="url(#shadow)"/>'
)
_HALO: Final = (
    '<radialGradient id="halo"><stop stop-color="{glow}" stop-opacity="0.28"/>'
    '<stop offset="0.3" stop-color="{glow}" stop-opacity="0.13"/>'
    '<stop offset="0.6" stop-color="{glow}" stop-opacity="0.04"/>'
    '<stop offset="1" stop-color="{glow}" stop-opacity="0"/></radialGradient>'
    '<circle cx="500" cy="500" r="550" fill="url(#halo)"/>'
)


def paint_hero(hero: Hero, staging: Staging, inks: Inks, side_px: int) -> Image.Image:
    """Draw `hero` as RGBA, its square `side_px` wide; an empty image for `none`.

    The coat depends on the hero and the film's accent, not on the scene: the hero is the same one in all scenes.
    """
    size_px = (round(HERO_BOX.width * side_px), round(HERO_BOX.height * side_px))
    if hero == "none":
        return Image.new("RGBA", size_px)
    rng = random.Random(f"{hero} {inks.colours['accent']}")
    coat = {name: rng.choice(colours) for name, colours in _COATS.get(hero, {}).items()}
    dressed = inks.with_colours(coat)
    parts: list[str] = []
    if staging.floats:
        parts.append(_HALO.format(glow=to_hex(inks["glow"])))
    elif not staging.in_water:
        parts.append(_SHADOW.format(ink=to_hex(inks["ink"])))
    parts.append(drawing(f"heroes/{hero}", dressed))
    if hero == "person" and rng.random() < 0.5:
        parts.append("<style>.long-hair { display: none }</style>")
    if staging.helmet:
        parts.append(drawing("heroes/helmet-person" if hero == "person" else "heroes/helmet", dressed))
    if staging.hull:
        parts.append(drawing("heroes/hull", dressed))
    return render("".join(parts), HERO_BOX, size_px, inks.light)
