"""The final times of the scenes: the planned ones, stretched where a spoken line needs longer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from pipelines.shorts.layout import Layout
from pipelines.shorts.workfiles import TIMELINE, whole_file

__all__ = ["Span", "Timeline", "longest_line_s", "plan_timeline", "read_timeline", "write_timeline"]

_BREATH_S: Final = 0.25
"""Silence after a spoken line before the scene may end."""
_MAX_STRETCH: Final = 1.45


class Span(BaseModel):
    """One scene's time, in seconds from the film's beginning."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scene: int = Field(ge=1)
    start_s: float = Field(ge=0)
    duration_s: float = Field(gt=0)


class Timeline(BaseModel):
    """All scenes, one after the other without a gap."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spans: tuple[Span, ...] = Field(min_length=1)

    @property
    def duration_s(self) -> float:
        """The length of the film."""
        return round(self.spans[-1].start_s + self.spans[-1].duration_s, 3)


def longest_line_s(layout: Layout, scene: int) -> float:
    """The longest time in s for the spoken line of `scene`; a longer line must be spoken faster."""
    planned_s = layout.scenes[scene - 1].duration_s
    delay_s = max((line.delay_s for line in layout.voice if line.scene == scene), default=0.0)
    return planned_s * _MAX_STRETCH - delay_s - _BREATH_S


def plan_timeline(layout: Layout, spoken_s: Mapping[int, float]) -> Timeline:
    """The timeline for spoken lines of `spoken_s` seconds by scene; a scene is never shorter than planned."""
    delays = {line.scene: line.delay_s for line in layout.voice}
    spans: list[Span] = []
    start_s = 0.0
    for scene in layout.scenes:
        needed_s = 0.0
        if scene.index in spoken_s:
            needed_s = delays.get(scene.index, 0.0) + spoken_s[scene.index] + _BREATH_S
        # Whole frames, so that picture and sound end together.
        frames = round(max(scene.duration_s, needed_s) * layout.format.fps)
        duration_s = round(frames / layout.format.fps, 6)
        spans.append(Span(scene=scene.index, start_s=round(start_s, 6), duration_s=duration_s))
        start_s += duration_s
    return Timeline(spans=tuple(spans))


def write_timeline(timeline: Timeline, folder: Path) -> None:
    """Write `timeline.json`."""
    with whole_file(folder / TIMELINE) as part:
        part.write_text(timeline.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_timeline(folder: Path) -> Timeline:
    """Read `timeline.json`. Raises FileNotFoundError if the voice step has not run."""
    return Timeline.model_validate_json((folder / TIMELINE).read_text(encoding="utf-8"))
