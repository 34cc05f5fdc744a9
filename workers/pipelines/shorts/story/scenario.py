"""The scenario: a few scenes as CSV, as a language model writes it and a person can read it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from pipelines.shorts.vocabulary import (
    BACKDROPS,
    HEROES,
    LIGHTS,
    MOODS,
    SHOTS,
    WEATHERS,
    Backdrop,
    Hero,
    Light,
    Mood,
    Shot,
    Weather,
)

__all__ = [
    "COLUMNS",
    "MAX_CAPTION_CHARS",
    "MAX_SCENES",
    "MAX_SECONDS",
    "MIN_SCENES",
    "MIN_SECONDS",
    "Beat",
    "Scenario",
    "ScenarioError",
    "parse_csv",
    "write_csv",
]

COLUMNS: Final = (
    "scene",
    "seconds",
    "backdrop",
    "hero",
    "light",
    "weather",
    "shot",
    "caption",
    "narration",
    "title",
    "mood",
)
MIN_SCENES: Final = 2
MAX_SCENES: Final = 6
MIN_SECONDS: Final = 1.0
MAX_SECONDS: Final = 4.0
MAX_CAPTION_CHARS: Final = 60
MAX_NARRATION_CHARS: Final = 90
MAX_TITLE_CHARS: Final = 60
_MAX_PROBLEMS: Final = 6


class ScenarioError(ValueError):
    """The CSV is not a scenario. The message says why, row by row, so that the model can correct it."""


@dataclass(frozen=True)
class Beat:
    """One scene of the scenario."""

    seconds: float
    backdrop: Backdrop
    hero: Hero
    light: Light
    weather: Weather
    shot: Shot
    caption: str
    narration: str


@dataclass(frozen=True)
class Scenario:
    """A film as its writer describes it: title, mood and scenes."""

    title: str
    mood: Mood
    beats: tuple[Beat, ...]


def write_csv(scenario: Scenario) -> str:
    """The scenario as CSV; title and mood stand in the first row."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, beat in enumerate(scenario.beats, start=1):
        film = (scenario.title, scenario.mood) if number == 1 else ("", "")
        writer.writerow(
            (
                number,
                f"{beat.seconds:g}",
                beat.backdrop,
                beat.hero,
                beat.light,
                beat.weather,
                beat.shot,
                beat.caption,
                beat.narration,
                *film,
            )
        )
    return out.getvalue()


def parse_csv(text: str) -> Scenario:
    """Read a scenario, strictly. Only a Markdown fence around it is accepted, because models often add one.

    Raises ScenarioError with up to six problems, each naming its row, column and value.
    """
    rows = [row for row in csv.reader(io.StringIO(_without_fence(text)), skipinitialspace=True) if any(row)]
    if not rows:
        raise ScenarioError("the CSV is empty")
    header = tuple(cell.strip().lower() for cell in rows[0])
    if header != COLUMNS:
        raise ScenarioError(f"the header must be {','.join(COLUMNS)!r}, got {','.join(rows[0])[:200]!r}")
    body = rows[1:]
    if not MIN_SCENES <= len(body) <= MAX_SCENES:
        raise ScenarioError(f"there must be {MIN_SCENES} to {MAX_SCENES} scenes, got {len(body)}")

    problems: list[str] = []
    beats: list[Beat] = []
    title, mood = "", ""
    for number, cells in enumerate(body, start=1):
        if len(cells) != len(COLUMNS):
            problems.append(f"row {number} must have {len(COLUMNS)} cells, got {len(cells)}")
            continue
        row = _Row(number, {name: " ".join(cell.split()) for name, cell in zip(COLUMNS, cells, strict=True)})
        if number == 1:
            title = row.text("title", MAX_TITLE_CHARS)
            mood = row.choice("mood", MOODS)
        beats.append(row.beat())
        problems += row.problems
    if problems:
        more = len(problems) - _MAX_PROBLEMS
        shown = problems[:_MAX_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        raise ScenarioError("; ".join(shown))
    return Scenario(title=title, mood=cast(Mood, mood), beats=tuple(beats))


class _Row:
    """The cells of one row, and the problems found in them."""

    def __init__(self, number: int, cells: dict[str, str]) -> None:
        self._number = number
        self._cells = cells
        self.problems: list[str] = []
        if cells["scene"] != str(number):
            self._complain("scene", str(number))

    def _complain(self, column: str, expected: str) -> None:
        self.problems.append(f"row {self._number}: {column} must be {expected}, got {self._cells[column][:60]!r}")

    def text(self, column: str, max_chars: int) -> str:
        value = self._cells[column]
        if not 1 <= len(value) <= max_chars or not value.isprintable():
            self._complain(column, f"1 to {max_chars} printable characters")
        return value

    def choice(self, column: str, allowed: Sequence[str]) -> str:
        value = self._cells[column].lower()
        if value not in allowed:
            self._complain(column, f"one of {', '.join(allowed)}")
        return value

    def seconds(self) -> float:
        try:
            value = float(self._cells["seconds"])
        except ValueError:
            value = float("nan")
        if not MIN_SECONDS <= value <= MAX_SECONDS:
            self._complain("seconds", f"{MIN_SECONDS:g} to {MAX_SECONDS:g}")
        return value

    def beat(self) -> Beat:
        return Beat(
            seconds=self.seconds(),
            backdrop=cast(Backdrop, self.choice("backdrop", BACKDROPS)),
            hero=cast(Hero, self.choice("hero", HEROES)),
            light=cast(Light, self.choice("light", LIGHTS)),
            weather=cast(Weather, self.choice("weather", WEATHERS)),
            shot=cast(Shot, self.choice("shot", SHOTS)),
            caption=self.text("caption", MAX_CAPTION_CHARS),
            narration=self.text("narration", MAX_NARRATION_CHARS),
        )


def _without_fence(text: str) -> str:
    lines = text.lstrip("\ufeff").strip().splitlines()
    if len(lines) >= 2 and lines[0].startswith("```") and lines[-1].strip() == "```":
        lines = lines[1:-1]
    return "\n".join(lines)
