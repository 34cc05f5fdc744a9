"""Finds heroes, places, light, weather and mood in a prompt, by lists of Korean and English words."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

from pipelines.shorts.vocabulary import Backdrop, Hero, Light, Mood, Weather

__all__ = [
    "BACKDROP_WORDS",
    "CHARACTER_WORDS",
    "LIGHT_WORDS",
    "MOOD_WORDS",
    "THING_WORDS",
    "WEATHER_WORDS",
    "find",
    "find_hero",
    "has_hangul",
    "subject_particle",
    "topic_particle",
]

_Kind = TypeVar("_Kind", bound=str)
_PARTICLES: Final = (
    "이|가|은|는|을|를|의|에|에서|에게|로|으로|와|과|도|만|들|들이|들은|들의|야|아|"
    "처럼|같은|이다|입니다|속|속의|위|위의|밑|아래"
)

_WORDS: Final = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
CHARACTER_WORDS: Final[Mapping[Hero, str]] = _WORDS["character"]
THING_WORDS: Final[Mapping[Hero, str]] = _WORDS["thing"]
BACKDROP_WORDS: Final[Mapping[Backdrop, str]] = _WORDS["backdrop"]
LIGHT_WORDS: Final[Mapping[Light, str]] = _WORDS["light"]
WEATHER_WORDS: Final[Mapping[Weather, str]] = _WORDS["weather"]
MOOD_WORDS: Final[Mapping[Mood, str]] = _WORDS["mood"]


def has_hangul(text: str) -> bool:
    """Whether `text` has a Hangul syllable."""
    return any("가" <= char <= "힣" for char in text)


def find(words: Mapping[_Kind, str], text: str) -> _Kind | None:
    """The kind whose word comes first in `text`; of two that begin at one place the longer word wins."""
    lowered = text.lower()
    best: tuple[int, int] | None = None
    found: _Kind | None = None
    for kind, listed in words.items():
        for word in listed.split():
            match = _pattern(word).search(lowered)
            if match is None:
                continue
            rank = (match.start(), -len(word))
            if best is None or rank < best:
                best, found = rank, kind
    return found


def find_hero(text: str) -> Hero | None:
    """The hero that the text names: a person or an animal if there is one, else a thing."""
    return find(CHARACTER_WORDS, text) or find(THING_WORDS, text)


def topic_particle(word: str) -> str:
    """은 or 는, by the last syllable of `word`."""
    return "은" if _ends_in_consonant(word) else "는"


def subject_particle(word: str) -> str:
    """이 or 가, by the last syllable of `word`."""
    return "이" if _ends_in_consonant(word) else "가"


def _ends_in_consonant(word: str) -> bool:
    # A Hangul syllable is 0xAC00 + (initial × 21 + vowel) × 28 + final; final 0 is an open syllable.
    last = word[-1:]
    return "가" <= last <= "힣" and (ord(last) - 0xAC00) % 28 != 0


@lru_cache(maxsize=1024)
def _pattern(word: str) -> re.Pattern[str]:
    if not has_hangul(word):
        return re.compile(rf"(?<![a-z]){re.escape(word)}(?:s|es|ies|y)?(?![a-z])")
    if len(word) > 1:
        return re.compile(re.escape(word))
    # A syllable alone is in many words (새 in 새벽): it counts only as a word, with or without a particle.
    return re.compile(rf"(?<!\w){word}(?:{_PARTICLES})?(?!\w)")
