"""A palette as a painter mixes it, and where the horizon and the ground are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipelines.shorts.paint.palette import Colour, Palette, from_hex
from pipelines.shorts.vocabulary import Light

__all__ = ["GROUND_Y", "HORIZON_Y", "WHITE", "Tones"]

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
