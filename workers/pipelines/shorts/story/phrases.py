"""The sentences that the offline writer tells a story with, read from `phrases.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipelines.shorts.vocabulary import Backdrop, Hero, Light, Locale, Mood, Weather

__all__ = ["BEGINNINGS", "CLOSINGS", "HERO_NAMES", "PLACES", "SETTINGS_OUT", "TURNS", "Phrase"]

_PHRASES: Final = tomllib.loads(Path(__file__).with_name("phrases.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Phrase:
    """A sentence, and the light and weather that its scene must show, if it speaks of them."""

    text: str
    light: Light | None = None
    weather: Weather | None = None


def _by_locale(name: str) -> dict[Locale, Any]:
    return {"ko": _PHRASES["ko"][name], "en": _PHRASES["en"][name]}


def _phrases_by_mood(name: str) -> dict[Locale, dict[Mood, list[Phrase]]]:
    return {
        locale: {mood: [_phrase(entry) for entry in entries] for mood, entries in moods.items()}
        for locale, moods in _by_locale(name).items()
    }


def _phrase(entry: Any) -> Phrase:
    return Phrase(entry) if isinstance(entry, str) else Phrase(**entry)


HERO_NAMES: Final[Mapping[Locale, Mapping[Hero, str]]] = _by_locale("hero_names")
PLACES: Final[Mapping[Locale, Mapping[Backdrop, str]]] = _by_locale("places")
SETTINGS_OUT: Final[Mapping[Locale, Sequence[str]]] = _by_locale("settings_out")
BEGINNINGS: Final[Mapping[Locale, Sequence[str]]] = _by_locale("beginnings")
TURNS: Final[Mapping[Locale, Mapping[Mood, Sequence[Phrase]]]] = _phrases_by_mood("turns")
CLOSINGS: Final[Mapping[Locale, Mapping[Mood, Sequence[Phrase]]]] = _phrases_by_mood("closings")
