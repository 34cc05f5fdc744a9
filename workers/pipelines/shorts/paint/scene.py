"""A scene, the painter's input: contents, time and colours. A checked part of layout.json."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from pipelines.shorts.paint.drawings import Inks
from pipelines.shorts.paint.palette import from_hex
from pipelines.shorts.vocabulary import Backdrop, Hero, Light, Shot, Weather

__all__ = ["DEFAULT_FORMAT", "FilmFormat", "Part", "Scene"]

HexColour = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]


class Part(BaseModel):
    """A part of the layout: frozen, and nothing unknown in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FilmFormat(Part):
    """Size and rate of the picture; both sides even, as 4:2:0 video needs."""

    width: int = Field(default=576, ge=64, le=2160, multiple_of=2)
    height: int = Field(default=1024, ge=64, le=3840, multiple_of=2)
    fps: int = Field(default=24, ge=1, le=60)


DEFAULT_FORMAT: Final = FilmFormat()


class Scene(Part):
    """One scene with its place in time; `index` counts from 1."""

    index: int = Field(ge=1)
    start_s: float = Field(ge=0)
    duration_s: float = Field(gt=0, le=30)
    backdrop: Backdrop
    hero: Hero
    light: Light
    weather: Weather
    shot: Shot
    caption: str = Field(min_length=1)
    image: str
    seed: int = Field(ge=0)
    colours: dict[str, HexColour]
    """The scene's palette by name, as `palette_for` makes it."""

    def inks(self) -> Inks:
        """The palette, ready to draw with."""
        return Inks({name: from_hex(colour) for name, colour in self.colours.items()}, self.light)
