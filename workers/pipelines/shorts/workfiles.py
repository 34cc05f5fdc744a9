"""The files of a run: their names, and atomic writing (a temporary file is renamed when it is complete)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

__all__ = [
    "FILM",
    "LAYERS",
    "LAYOUT",
    "MUSIC",
    "POSTER",
    "SCENARIO",
    "SOUNDTRACK",
    "TIMELINE",
    "VOICE",
    "VOICE_CLIPS",
    "film_result",
    "media_type",
    "scene_image",
    "whole_file",
]

SCENARIO: Final = "scenario.csv"
LAYOUT: Final = "layout.json"
MUSIC: Final = "music.wav"
VOICE: Final = "voice.wav"
SOUNDTRACK: Final = "soundtrack.wav"
TIMELINE: Final = "timeline.json"
FILM: Final = "film.mp4"
POSTER: Final = "poster.jpg"
LAYERS: Final = "layers"
"""Folder of the painted layers, which only the renderer reads."""
VOICE_CLIPS: Final = "voice"
"""Folder of the spoken lines, one file for each scene."""

_MEDIA_TYPES: Final = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".wav": "audio/wav",
    ".mp4": "video/mp4",
}


def scene_image(index: int) -> str:
    """The name of scene `index`'s picture; scenes count from 1."""
    return f"scene-{index}.png"


def media_type(name: str) -> str:
    """The media type of a file that a run makes, by its suffix."""
    return _MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream")


def film_result(folder: Path, duration_s: float) -> dict[str, Any]:
    """The result of a finished run: the film, its poster, and all files that can be downloaded."""
    scenes = sorted(path.name for path in folder.glob("scene-*.png"))
    names = [FILM, POSTER, SCENARIO, LAYOUT, *scenes, MUSIC, VOICE, SOUNDTRACK]
    files = [
        {"name": name, "media_type": media_type(name), "size_bytes": (folder / name).stat().st_size}
        for name in names
        if (folder / name).is_file()
    ]
    return {"video": FILM, "poster": POSTER, "files": files, "duration_s": round(duration_s, 3)}


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it is renamed to `path` when the block ends without an error.

    A worker that is killed in between leaves `<stem>.part<suffix>`, and `path` as it was. After an exception the
    temporary file is removed. The suffix stays, because Pillow and PyAV choose the format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
