"""The sentences that the offline writer tells a story with, read from `phrases.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pipelines.shorts.vocabulary import Backdrop, Hero, Locale, Mood

__all__ = ["BEGINNINGS", "CLOSINGS", "HERO_NAMES", "PLACES", "SETTINGS_OUT", "TURNS"]

_PHRASES: Final = tomllib.loads(Path(__file__).with_name("phrases.toml").read_text(encoding="utf-8"))


def _by_locale(name: str) -> dict[Locale, Any]:
    return {"ko": _PHRASES["ko"][name], "en": _PHRASES["en"][name]}


HERO_NAMES: Final[Mapping[Locale, Mapping[Hero, str]]] = _by_locale("hero_names")
PLACES: Final[Mapping[Locale, Mapping[Backdrop, str]]] = _by_locale("places")
SETTINGS_OUT: Final[Mapping[Locale, Sequence[str]]] = _by_locale("settings_out")
BEGINNINGS: Final[Mapping[Locale, Sequence[str]]] = _by_locale("beginnings")
TURNS: Final[Mapping[Locale, Mapping[Mood, Sequence[str]]]] = _by_locale("turns")
CLOSINGS: Final[Mapping[Locale, Mapping[Mood, Sequence[str]]]] = _by_locale("closings")
