"""The offline writer: a scenario made from the prompt alone, the same one every time."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from pipelines.shorts.story import lexicon, phrases
from pipelines.shorts.story.scenario import MAX_CAPTION_CHARS, Beat, Scenario
from pipelines.shorts.vocabulary import Backdrop, Hero, Light, Locale, Mood, Shot, Weather

__all__ = ["seed_of", "tell"]

_Kind = TypeVar("_Kind")
_SCENES: Final = 4
_SHOTS: Final[tuple[Shot, ...]] = ("wide", "hero", "close", "wide")
_SYLLABLES_PER_S: Final = 8.0
"""How fast a line can comfortably be read aloud, Korean; English counts letters at twice that."""

_REQUEST_KO: Final = re.compile(
    r"\s*(?:에\s*(?:대한|관한|대해서?)|을|를|로|의)?\s*(?:\d+\s*초\s*)?(?:짜리\s*)?(?:짧은\s*)?"
    r"(?:쇼츠|영상|동영상|비디오|숏폼|애니메이션|영화)\s*(?:을|를)?\s*(?:하나\s*)?"
    r"(?:만들어|제작해|생성해|그려)\s*(?:줘요?|주세요|주십시오|달라|봐)?[.!~]*\s*$"
)
_REQUEST_EN: Final = re.compile(
    r"^\s*(?:please\s+)?(?:make|create|generate|produce|give)\s+(?:me\s+|us\s+)?(?:an?\s+|the\s+)?"
    r"(?:[\w-]+\s+){0,3}?"
    r"(?:video|film|clip|movie|animation|shorts|short(?!\s+(?:video|film|clip|movie|animation)))\s*"
    r"(?:about|of|on|for|showing|where|in which)?\s*",
    re.IGNORECASE,
)
_FALLBACK_BACKDROPS: Final[tuple[Backdrop, ...]] = ("meadow", "city", "mountain", "sea", "forest")
_FALLBACK_HEROES: Final[tuple[Hero, ...]] = ("balloon", "person", "bird")
_FALLBACK_MOODS: Final[tuple[Mood, ...]] = ("calm", "joyful", "adventurous", "mysterious")
_WEATHER_OF: Final[dict[Backdrop, tuple[Weather, ...]]] = {
    "space": ("stars",),
    "sea": ("clear", "stars"),
    "underwater": ("bubbles",),
    "city": ("clear", "rain", "snow"),
    "forest": ("fireflies", "clear"),
    "mountain": ("snow", "clear"),
    "desert": ("clear", "stars"),
    "meadow": ("petals", "clear"),
    "room": ("rain", "snow", "clear"),
}
_LIGHTS_OF: Final[dict[Mood, tuple[Light, ...]]] = {
    "calm": ("dawn", "sunset"),
    "joyful": ("day",),
    "adventurous": ("dawn", "day", "sunset"),
    "mysterious": ("night",),
    "wistful": ("sunset", "night"),
    "tense": ("night", "sunset"),
    "festive": ("night",),
}
# How the light moves on in the course of a film.
_LATER: Final[dict[Light, Light]] = {"dawn": "day", "day": "sunset", "sunset": "night", "night": "dawn"}


def seed_of(text: str) -> int:
    """A 63-bit seed that depends on every character of `text`, and on nothing else."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def tell(prompt: str, locale: Locale) -> Scenario:
    """Write a scenario for `prompt`: the person's own sentences first, then an arc that suits them."""
    rng = random.Random(seed_of(prompt))
    subject = _without_request(prompt)
    sentences = _sentences(subject)[: _SCENES + 1]
    world = _read(subject, rng)
    captions = [_shorten(sentence, MAX_CAPTION_CHARS - 4) for sentence in sentences]
    missing = max(0, _SCENES - len(captions))
    captions += _arc(world, locale, rng)[3 - missing :]
    beats = [
        _beat(number, caption, sentences[number] if number < len(sentences) else "", world, captions, rng)
        for number, caption in enumerate(captions)
    ]
    return Scenario(title=captions[0], mood=world.mood, beats=tuple(beats))


@dataclass(frozen=True)
class _World:
    """What the whole prompt is about; a sentence that names no place or hero of its own takes these."""

    backdrop: Backdrop
    hero: Hero
    hero_is_named: bool
    light: Light
    weather: Weather
    mood: Mood


def _read(text: str, rng: random.Random) -> _World:
    mood = _or_any(lexicon.find(lexicon.MOOD_WORDS, text), _FALLBACK_MOODS, rng)
    backdrop = _or_any(lexicon.find(lexicon.BACKDROP_WORDS, text), _FALLBACK_BACKDROPS, rng)
    named = lexicon.find_hero(text)
    hero = _or_any(named, _FALLBACK_HEROES, rng)
    light = _or_any(lexicon.find(lexicon.LIGHT_WORDS, text), _LIGHTS_OF[mood], rng)
    weather = _or_any(lexicon.find(lexicon.WEATHER_WORDS, text), _WEATHER_OF[backdrop], rng)
    return _World(backdrop, hero, named is not None, light, weather, mood)


def _or_any(found: _Kind | None, fallback: Sequence[_Kind], rng: random.Random) -> _Kind:
    return found if found is not None else rng.choice(fallback)


def _beat(number: int, caption: str, own: str, world: _World, captions: Sequence[str], rng: random.Random) -> Beat:
    last = number == len(captions) - 1
    light = world.light
    if last and lexicon.find(lexicon.LIGHT_WORDS, own) is None:
        light = _LATER[light]
    weather = world.weather
    if last and world.mood in ("joyful", "festive") and world.backdrop != "underwater":
        weather = "confetti"
    backdrop = lexicon.find(lexicon.BACKDROP_WORDS, own) or world.backdrop
    own_light: Light = lexicon.find(lexicon.LIGHT_WORDS, own) or light
    own_weather: Weather = lexicon.find(lexicon.WEATHER_WORDS, own) or weather
    if backdrop == "underwater":
        own_weather = "bubbles"
    elif own_weather == "stars" and own_light == "day" and backdrop != "space":
        own_weather = "clear"  # nobody sees stars by day
    # A line of nothing but marks is shown as it is, and spoken as it is.
    narration = " ".join(caption.rstrip("…").replace("·", " ").split()) or caption
    return Beat(
        seconds=_reading_s(narration),
        backdrop=backdrop,
        hero=lexicon.find_hero(own) or world.hero,
        light=own_light,
        weather=own_weather,
        shot=_SHOTS[number % len(_SHOTS)] if not last else rng.choice(("wide", "hero")),
        caption=caption,
        narration=narration,
    )


def _arc(world: _World, locale: Locale, rng: random.Random) -> list[str]:
    hero = phrases.HERO_NAMES[locale][world.hero]
    place = phrases.PLACES[locale][world.backdrop]
    known = phrases.SETTINGS_OUT if world.hero_is_named else phrases.BEGINNINGS
    setting_out = rng.choice(known[locale]).format(
        hero=hero,
        topic=hero + lexicon.topic_particle(hero),
        subject=hero + lexicon.subject_particle(hero),
        place=place,
        Place=place[0].upper() + place[1:],
    )
    return [
        setting_out,
        rng.choice(phrases.TURNS[locale][world.mood]),
        rng.choice(phrases.CLOSINGS[locale][world.mood]),
    ]


def _reading_s(text: str) -> float:
    weight = sum(1.0 if lexicon.has_hangul(char) else 0.45 for char in text)
    return round(min(2.4, max(1.6, 0.5 + weight / _SYLLABLES_PER_S)), 1)


def _without_request(prompt: str) -> str:
    """The prompt without `… 영상을 만들어 줘` or `make a short video about`, if anything is left then."""
    text = " ".join(prompt.split())
    stripped = _REQUEST_EN.sub("", _REQUEST_KO.sub("", text), count=1).strip(" ,.:")
    return stripped or text


def _sentences(text: str) -> list[str]:
    parts = [part.strip(" ,;:") for part in re.split(r"(?<=[.!?。！？])\s+|\s*[;\n]\s*", text)]
    clean = [part.rstrip(".。").strip() for part in parts]
    sentences = [" ".join("".join(char for char in part if char.isprintable()).split()) for part in clean]
    return [part[0].upper() + part[1:] for part in sentences if part] or ["…"]


def _shorten(text: str, max_chars: int) -> str:
    """`text` cut at a word's end, with an ellipsis, if it has more than `max_chars` characters."""
    if len(text) <= max_chars:
        return text
    head = text[: max_chars - 1]
    cut = head.rfind(" ")
    return (head[:cut] if cut > max_chars // 2 else head).rstrip(" ,.") + "…"
