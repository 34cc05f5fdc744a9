"""The layout: the scenario with times, colours and sound laid out, as checked JSON for the steps that follow."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from pipelines.shorts.paint.palette import palette_for, to_hex
from pipelines.shorts.paint.scene import DEFAULT_FORMAT, FilmFormat, Part, Scene
from pipelines.shorts.sound.harmony import Key, key_for
from pipelines.shorts.story.lexicon import has_hangul
from pipelines.shorts.story.scenario import Scenario
from pipelines.shorts.story.storyteller import seed_of
from pipelines.shorts.vocabulary import Locale, Mood, possible_weather
from pipelines.shorts.workfiles import LAYOUT, scene_image, whole_file

__all__ = [
    "DEFAULT_FORMAT",
    "FilmFormat",
    "Layout",
    "MusicPlan",
    "Scene",
    "lay_out",
    "read_layout",
    "write_layout",
]

_VOICE_DELAY_S: Final = 0.2
_TAIL_S: Final = 0.5
"""How much longer the last scene lasts, so that the music can end."""
_MUSIC_RESERVE: Final = 1.6
"""How many times longer than the planned film the music is: a slow voice may stretch the film."""


class MusicPlan(Part):
    """Key, tempo, mood and length of the music."""

    key: Key
    tempo_bpm: int = Field(ge=40, le=200)
    mood: Mood
    duration_s: float = Field(gt=0)


class VoiceLine(Part):
    """One line to be spoken, and the scene that it belongs to."""

    scene: int = Field(ge=1)
    delay_s: float = Field(ge=0)
    text: str = Field(min_length=1)
    language: Locale


class Layout(Part):
    """A film, ready to be made."""

    version: Literal[1] = 1
    title: str
    mood: Mood
    locale: Locale
    seed: int = Field(ge=0)
    format: FilmFormat
    transition_s: float = Field(ge=0, le=1)
    scenes: tuple[Scene, ...] = Field(min_length=1)
    music: MusicPlan
    voice: tuple[VoiceLine, ...]

    @property
    def duration_s(self) -> float:
        """The planned length of the film."""
        return self.scenes[-1].start_s + self.scenes[-1].duration_s

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        end_s = 0.0
        for number, scene in enumerate(self.scenes, start=1):
            if scene.index != number:
                raise ValueError(f"scene {number} must have index {number}, got {scene.index}")
            if abs(scene.start_s - end_s) > 1e-6:
                raise ValueError(f"scene {number} must start at {end_s:g} s, got {scene.start_s:g}")
            end_s = scene.start_s + scene.duration_s
        for line in self.voice:
            if line.scene > len(self.scenes):
                raise ValueError(f"a voice line names scene {line.scene}, but there are {len(self.scenes)} scenes")
        return self


def lay_out(scenario: Scenario, prompt: str, locale: Locale, film_format: FilmFormat = DEFAULT_FORMAT) -> Layout:
    """Give each scene of `scenario` its time and colours, the composer a key, and the narrator the lines."""
    seed = seed_of(f"{prompt}\n{scenario.title}")
    scenes: list[Scene] = []
    start_s = 0.0
    for number, beat in enumerate(scenario.beats, start=1):
        tail_s = _TAIL_S if number == len(scenario.beats) else 0.0
        duration_s = round(beat.seconds + tail_s, 3)
        weather = possible_weather(beat.backdrop, beat.light, beat.weather)
        palette = palette_for(beat.backdrop, beat.light, scenario.mood, seed, weather)
        scenes.append(
            Scene(
                index=number,
                start_s=round(start_s, 3),
                duration_s=duration_s,
                backdrop=beat.backdrop,
                hero=beat.hero,
                light=beat.light,
                weather=weather,
                shot=beat.shot,
                caption=beat.caption,
                image=scene_image(number),
                seed=seed_of(f"{seed}/{number}") % 2**32,
                colours={name: to_hex(colour) for name, colour in palette.items()},
            )
        )
        start_s = round(start_s + duration_s, 3)
    key, tempo_bpm = key_for(scenario.mood, seed)
    return Layout(
        title=scenario.title,
        mood=scenario.mood,
        locale=locale,
        seed=seed,
        format=film_format,
        transition_s=0.4,
        scenes=tuple(scenes),
        music=MusicPlan(
            key=key,
            tempo_bpm=tempo_bpm,
            mood=scenario.mood,
            duration_s=round(start_s * _MUSIC_RESERVE + 1.0, 3),
        ),
        voice=tuple(
            VoiceLine(
                scene=number,
                delay_s=_VOICE_DELAY_S,
                text=beat.narration,
                language="ko" if has_hangul(beat.narration) else "en",
            )
            for number, beat in enumerate(scenario.beats, start=1)
        ),
    )


def write_layout(layout: Layout, folder: Path) -> None:
    """Write `layout.json`, indented."""
    with whole_file(folder / LAYOUT) as part:
        part.write_text(layout.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_layout(folder: Path) -> Layout:
    """Read `layout.json`. Raises pydantic's ValidationError where it breaks the schema."""
    return Layout.model_validate_json((folder / LAYOUT).read_text(encoding="utf-8"))
