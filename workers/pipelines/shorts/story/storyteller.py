"""The offline writer: a scenario made from the prompt alone, the same one every time."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from pipelines.shorts.story import lexicon, phrases
from pipelines.shorts.story.phrases import Phrase
from pipelines.shorts.story.scenario import MAX_CAPTION_CHARS, Beat, Scenario
from pipelines.shorts.vocabulary import Backdrop, Hero, Light, Locale, Mood, Shot, Weather, possible_weather

__all__ = ["seed_of", "tell"]

_Kind = TypeVar("_Kind")
_SCENES: Final = 4
_SHOTS: Final[tuple[Shot, ...]] = ("wide", "hero", "close", "wide")
_SYLLABLES_PER_S: Final = 8.0
"""A comfortable reading speed for Korean; for English it is twice as many letters."""

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
_HOMES: Final[dict[Hero, tuple[Backdrop, ...]]] = {
    "boat": ("sea",),
    "cup": ("room",),
    "flower": ("meadow", "room"),
    "rocket": ("space", "desert"),
    "whale": ("sea", "underwater"),
}
"""The place of a hero if the prompt names no place; the other heroes fit everywhere."""
_WITHOUT_DAYLIGHT: Final[frozenset[Backdrop]] = frozenset({"space", "underwater"})
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
# How the light changes during a film.
_LATER: Final[dict[Light, Light]] = {"dawn": "day", "day": "sunset", "sunset": "night", "night": "dawn"}


def seed_of(text: str) -> int:
    """A 63-bit seed that depends on all characters of `text`, and on nothing else."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def tell(prompt: str, locale: Locale) -> Scenario:
    """Write a scenario for `prompt`: the person's own sentences first, then an arc that suits them."""
    rng = random.Random(seed_of(prompt))
    subject = _without_request(prompt)
    sentences = _sentences(subject)[: _SCENES + 1]
    world = _read(subject, rng)
    own = [Phrase(_shorten(sentence, MAX_CAPTION_CHARS - 4)) for sentence in sentences]
    missing = max(0, _SCENES - len(own))
    told = [*own, *_arc(world, locale, rng)[3 - missing :]]
    beats = [
        _beat(number, phrase, sentences[number] if number < len(sentences) else "", world, len(told), rng)
        for number, phrase in enumerate(told)
    ]
    return Scenario(title=told[0].text, mood=world.mood, beats=tuple(beats))


@dataclass(frozen=True)
class _World:
    """The place, hero, light, weather and mood of the whole prompt: the defaults of each sentence."""

    backdrop: Backdrop
    hero: Hero
    hero_is_named: bool
    light: Light
    light_is_named: bool
    weather: Weather
    weather_is_named: bool
    mood: Mood


def _read(text: str, rng: random.Random) -> _World:
    mood = _or_any(lexicon.find(lexicon.MOOD_WORDS, text), _FALLBACK_MOODS, rng)
    named_hero = lexicon.find_hero(text)
    hero = _or_any(named_hero, _FALLBACK_HEROES, rng)
    at_home = _HOMES.get(hero, _FALLBACK_BACKDROPS)
    backdrop = _or_any(lexicon.find(lexicon.BACKDROP_WORDS, text), at_home, rng)
    named_light = lexicon.find(lexicon.LIGHT_WORDS, text)
    named_weather = lexicon.find(lexicon.WEATHER_WORDS, text)
    return _World(
        backdrop=backdrop,
        hero=hero,
        hero_is_named=named_hero is not None,
        light=_or_any(named_light, _LIGHTS_OF[mood], rng),
        light_is_named=named_light is not None,
        weather=_or_any(named_weather, _WEATHER_OF[backdrop], rng),
        weather_is_named=named_weather is not None,
        mood=mood,
    )


def _or_any(found: _Kind | None, fallback: Sequence[_Kind], rng: random.Random) -> _Kind:
    return found if found is not None else rng.choice(fallback)


def _beat(number: int, phrase: Phrase, own: str, world: _World, count: int, rng: random.Random) -> Beat:
    """Scene `number` (from 0) of `count`: as its own sentence says, else as the whole prompt says."""
    last = number == count - 1
    party = last and world.mood in ("joyful", "festive")
    backdrop = lexicon.find(lexicon.BACKDROP_WORDS, own) or world.backdrop
    light = lexicon.find(lexicon.LIGHT_WORDS, own) or phrase.light or (_LATER[world.light] if last else world.light)
    weather = lexicon.find(lexicon.WEATHER_WORDS, own) or phrase.weather or ("confetti" if party else world.weather)
    # A line of punctuation only is shown and spoken unchanged.
    caption = phrase.text
    narration = " ".join(caption.rstrip("…").replace("·", " ").split()) or caption
    return Beat(
        seconds=_reading_s(narration),
        backdrop=backdrop,
        hero=lexicon.find_hero(own) or world.hero,
        light=light,
        weather=possible_weather(backdrop, light, weather),
        shot=_SHOTS[number % len(_SHOTS)] if not last else rng.choice(("wide", "hero")),
        caption=caption,
        narration=narration,
    )


def _arc(world: _World, locale: Locale, rng: random.Random) -> list[Phrase]:
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
    turns, closings = phrases.TURNS[locale][world.mood], phrases.CLOSINGS[locale][world.mood]
    return [
        Phrase(setting_out),
        *(rng.choice([phrase for phrase in told if _can_be_shown(phrase, world)]) for told in (turns, closings)),
    ]


def _can_be_shown(phrase: Phrase, world: _World) -> bool:
    """Whether a scene can show the light and weather of `phrase` without contradicting the prompt."""
    light = phrase.light or world.light
    if phrase.light is not None:
        contradicts = world.light_is_named and phrase.light != world.light
        if contradicts or world.backdrop in _WITHOUT_DAYLIGHT:
            return False
    if phrase.weather is None:
        return True
    if world.weather_is_named and phrase.weather != world.weather:
        return False
    return possible_weather(world.backdrop, light, phrase.weather) == phrase.weather


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
