"""The values that the columns of a scenario may have. The painter can draw each of them."""

from __future__ import annotations

from typing import Final, Literal, get_args

__all__ = [
    "BACKDROPS",
    "HEROES",
    "LIGHTS",
    "MOODS",
    "OVERCAST",
    "SHOTS",
    "WEATHERS",
    "Backdrop",
    "Hero",
    "Light",
    "Locale",
    "Mood",
    "Shot",
    "Weather",
    "possible_weather",
]

Locale = Literal["ko", "en"]
Backdrop = Literal["space", "sea", "underwater", "city", "forest", "mountain", "desert", "meadow", "room"]
Hero = Literal[
    "none",
    "cat",
    "dog",
    "rabbit",
    "bear",
    "person",
    "robot",
    "bird",
    "whale",
    "rocket",
    "balloon",
    "boat",
    "train",
    "car",
    "cup",
    "flower",
]
Light = Literal["dawn", "day", "sunset", "night"]
Weather = Literal["clear", "stars", "snow", "rain", "petals", "fireflies", "bubbles", "confetti"]
Shot = Literal["wide", "hero", "close"]
Mood = Literal["calm", "joyful", "adventurous", "mysterious", "wistful", "tense", "festive"]

BACKDROPS: Final[tuple[Backdrop, ...]] = get_args(Backdrop)
HEROES: Final[tuple[Hero, ...]] = get_args(Hero)
LIGHTS: Final[tuple[Light, ...]] = get_args(Light)
WEATHERS: Final[tuple[Weather, ...]] = get_args(Weather)
SHOTS: Final[tuple[Shot, ...]] = get_args(Shot)
MOODS: Final[tuple[Mood, ...]] = get_args(Mood)

OVERCAST: Final[frozenset[Weather]] = frozenset({"rain", "snow"})
"""The weathers with a covered sky: no sun, moon or stars."""


def possible_weather(backdrop: Backdrop, light: Light, weather: Weather) -> Weather:
    """`weather` if the place and the light allow it, else the weather that is shown there instead."""
    if backdrop == "underwater":
        return "bubbles"
    if backdrop == "space":
        return weather if weather in ("clear", "confetti") else "stars"
    if weather == "bubbles" or (weather in ("stars", "fireflies") and light == "day"):
        return "clear"
    return weather
