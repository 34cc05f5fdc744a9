"""The colours of a scene: the sky by its light, the land by its place, with a change of hue by its seed."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import Final

from pipelines.shorts.vocabulary import OVERCAST, Backdrop, Light, Mood, Weather

__all__ = ["Colour", "from_hex", "mix", "palette_for", "shade", "to_hex"]

Colour = tuple[int, int, int]

# The sky from top to horizon, then the colour of the sun or moon.
_SKIES: Final[Mapping[Light, tuple[str, str, str, str]]] = {
    "dawn": ("#34367f", "#c4709f", "#ffd9ae", "#fff1cf"),
    "day": ("#2a7fdc", "#7cc6f2", "#e4f6fb", "#fffbe6"),
    "sunset": ("#2c1d5f", "#d04f74", "#ffb870", "#ffe6a8"),
    "night": ("#070b26", "#1a2560", "#49519c", "#f6f1d3"),
}
_LAND: Final[Mapping[Backdrop, str]] = {
    "space": "#5b4fc4",
    "sea": "#1f86a8",
    "underwater": "#0f7c93",
    "city": "#3c4374",
    "forest": "#2f7a55",
    "mountain": "#5f6fa5",
    "desert": "#dd9a4c",
    "meadow": "#6fb04f",
    "room": "#a8694d",
}
_ACCENTS: Final = ("#ff8a5c", "#ffd166", "#ef6f8f", "#5cd6c0", "#8fa8ff", "#ffb3d1")
_SNOWED: Final = frozenset({"city", "forest", "mountain", "meadow"})
_SATURATION: Final[Mapping[Mood, float]] = {
    "calm": 0.85,
    "joyful": 1.12,
    "adventurous": 1.05,
    "mysterious": 0.95,
    "wistful": 0.72,
    "tense": 0.9,
    "festive": 1.15,
}
_DARKNESS: Final[Mapping[Light, float]] = {"dawn": 0.26, "day": 0.06, "sunset": 0.38, "night": 0.62}


def palette_for(
    backdrop: Backdrop, light: Light, mood: Mood, seed: int, weather: Weather = "clear"
) -> dict[str, Colour]:
    """The colours of a scene by name; two films in the same place differ in hue by their seeds.

    `top`, `middle` and `low` are the sky's, `glow` is the light source's, `far`, `mid` and `near` are the land's,
    `accent` is the film's own colour, and `ink` is the darkest.
    """
    turn = (seed % 1000 / 1000 - 0.5) * 0.12
    saturation = _SATURATION[mood]

    def tuned(colour: str) -> Colour:
        return _turned(from_hex(colour), turn, saturation)

    top, middle, low, glow = (tuned(colour) for colour in _SKIES[light])
    land = tuned(_LAND[backdrop])
    if backdrop == "space":
        top, middle, low = (mix(sky, from_hex("#05061a"), 0.62) for sky in (top, middle, low))
    elif backdrop == "underwater":
        top, middle, low = (mix(land, sky, 0.28) for sky in (low, middle, top))
        low = mix(low, from_hex("#04182e"), 0.55)
    elif weather in OVERCAST:
        top, middle, low, glow = (_clouded(sky, weather) for sky in (top, middle, low, glow))
        land = mix(land, _clouded(land, weather), 0.4)
    snowed = weather == "snow" and backdrop in _SNOWED
    if snowed:
        land = mix(land, (226, 237, 252), 0.72)
    dark = _DARKNESS[light]
    # Snow reflects light that bare ground absorbs.
    near = shade(mix(land, top, 0.34), 0.06 + dark * 0.6) if snowed else shade(mix(land, top, 0.22), 0.28 + dark * 0.7)
    return {
        "top": top,
        "middle": middle,
        "low": low,
        "glow": glow,
        "far": mix(shade(land, dark * 0.6), low, 0.62),
        "mid": mix(shade(land, dark * 0.9), middle, 0.3),
        "near": near,
        "accent": from_hex(_ACCENTS[seed // 1000 % len(_ACCENTS)]),
        "ink": shade(near, 0.55),
    }


def _clouded(colour: Colour, weather: Weather) -> Colour:
    """`colour` under a closed cover of clouds: greyer, and darker for rain."""
    level = sum(colour) / 3
    light, share = (0.95, 0.62) if weather == "snow" else (0.74, 0.75)
    grey = (round(level * light * 0.92), round(level * light * 0.99), min(255, round(level * light * 1.1)))
    return mix(colour, grey, share)


def from_hex(text: str) -> Colour:
    """`#rrggbb` as three numbers 0..255."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def to_hex(colour: Colour) -> str:
    """Three numbers 0..255 as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """`one`, with `share` (0..1) of `other`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def shade(colour: Colour, share: float) -> Colour:
    """`colour` darkened by `share` (0..1), or lightened where it is negative."""
    return mix(colour, (0, 0, 0), share) if share >= 0 else mix(colour, (255, 255, 255), -share)


def _turned(colour: Colour, turn: float, saturation: float) -> Colour:
    hue, sat, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))
    red, green, blue = colorsys.hsv_to_rgb((hue + turn) % 1.0, min(1.0, sat * saturation), value)
    return round(red * 255), round(green * 255), round(blue * 255)
