"""The places: a far picture behind the hero and near ground under it, for each backdrop of the vocabulary."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Final

from pipelines.shorts.paint import city, nature, space, waters
from pipelines.shorts.paint.canvas import Canvas
from pipelines.shorts.paint.palette import shade
from pipelines.shorts.paint.tones import HORIZON_Y, Tones
from pipelines.shorts.vocabulary import Backdrop

__all__ = ["paint_backdrop", "paint_ground"]

_Painter = Callable[[Canvas, Tones, random.Random], None]

_PLACES: Final[Mapping[Backdrop, tuple[_Painter, _Painter]]] = {
    "space": (space.paint_space, space.paint_moon),
    "sea": (waters.paint_sea, waters.paint_waves),
    "underwater": (waters.paint_depths, waters.paint_seabed),
    "city": (city.paint_city, city.paint_street),
    "forest": (nature.paint_forest, nature.paint_clearing),
    "mountain": (nature.paint_peaks, nature.paint_pass),
    "desert": (nature.paint_desert, nature.paint_dunes),
    "meadow": (nature.paint_meadow, nature.paint_flowers),
    "room": (city.paint_room, city.paint_table),
}


def paint_backdrop(canvas: Canvas, backdrop: Backdrop, tones: Tones, rng: random.Random) -> None:
    """Paint all that lies behind the hero."""
    canvas.sky([(canvas.top, tones.top), (0.62, tones.middle), (HORIZON_Y + 0.06, tones.low)])
    _PLACES[backdrop][0](canvas, tones, rng)
    canvas.shade_edges(shade(tones.top, 0.6), 0.38)


def paint_ground(canvas: Canvas, backdrop: Backdrop, tones: Tones, rng: random.Random) -> None:
    """Paint what lies before the horizon, on a transparent canvas: what moves faster under a moving camera."""
    _PLACES[backdrop][1](canvas, tones, rng)
