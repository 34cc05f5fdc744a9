"""Quality control: opens the film as a player would, and checks format, length, picture and sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from pipelines.shorts.layout import Layout
from pipelines.shorts.reporting import Report
from pipelines.shorts.sound.sound_files import RATE_HZ, decode
from pipelines.shorts.sound.synth import level_dbfs
from pipelines.shorts.timeline import read_timeline
from pipelines.shorts.wording import say
from pipelines.shorts.workfiles import FILM

__all__ = ["FilmFacts", "FilmRejected", "check_film", "inspect_film"]

_DURATION_TOLERANCE_S: Final = 0.35
_FRAMES_TOLERANCE: Final = 2
_SAMPLES: Final = 9
_MIN_BRIGHTNESS: Final = 0.02
_MIN_CONTRAST: Final = 0.015
_LOUDNESS_DBFS: Final = (-32.0, -6.0)


class FilmRejected(Exception):
    """The film does not match the layout. The message has the value found and the value expected."""


@dataclass(frozen=True)
class FilmFacts:
    """Length, mean brightness (0..1) and level of a film that passed."""

    duration_s: float
    brightness: float
    level_dbfs: float


def check_film(layout: Layout, folder: Path, report: Report) -> FilmFacts:
    """Check `film.mp4` against the layout. Raises FilmRejected for the first fault."""
    report(state="QA", progress=0.25, log=say(layout.locale, "qa_begins"))
    path = folder / FILM
    expected_s = read_timeline(folder).duration_s
    duration_s = inspect_film(path, layout.format.width, layout.format.height, expected_s)
    report(state="QA", progress=0.35, log=say(layout.locale, "qa_opened"))
    brightness = _check_picture(path, round(expected_s * layout.format.fps))
    report(state="QA", progress=0.55, log=say(layout.locale, "qa_picture", brightness=brightness))
    level = _check_sound(path, expected_s)
    report(state="QA", progress=0.75, log=say(layout.locale, "qa_sound", level_dbfs=level))
    return FilmFacts(duration_s, brightness, level)


def inspect_film(path: Path, width: int, height: int, expected_s: float) -> float:
    """The film's length in seconds, if it is an MP4 with H.264 and AAC of this size and about this length."""
    if not path.exists():
        raise FilmRejected(f"there is no {path.name}")
    try:
        with av.open(str(path)) as container:
            video = container.streams.video[0] if container.streams.video else None
            audio = container.streams.audio[0] if container.streams.audio else None
            if video is None or audio is None:
                missing = "picture" if video is None else "sound"
                raise FilmRejected(f"{path.name} has no {missing}")
            found = (video.codec_context.name, audio.codec_context.name)
            size = (video.codec_context.width, video.codec_context.height)
            duration_s = float(container.duration or 0) / 1_000_000
    except av.FFmpegError as error:
        raise FilmRejected(f"{path.name} cannot be opened: {error}") from error
    if found != ("h264", "aac"):
        raise FilmRejected(f"{path.name} must be h264 with aac, got {found[0]} with {found[1]}")
    if size != (width, height):
        raise FilmRejected(f"{path.name} must be {width}×{height}, got {size[0]}×{size[1]}")
    if abs(duration_s - expected_s) > _DURATION_TOLERANCE_S:
        raise FilmRejected(
            f"{path.name} must last {expected_s:.2f} s (±{_DURATION_TOLERANCE_S} s), got {duration_s:.2f} s"
        )
    return duration_s


def _check_picture(path: Path, expected_frames: int) -> float:
    """The mean brightness, 0..1. Raises FilmRejected for missing frames and a black, empty or frozen picture."""
    pictures, count = _sample_pictures(path)
    # A file that was cut off still has an index of all frames in front, so count the frames.
    if abs(count - expected_frames) > _FRAMES_TOLERANCE:
        raise FilmRejected(f"{path.name} must have {expected_frames} frames, got {count}")
    # The film fades from black and to black, so leave out its beginning and end.
    inner = pictures[1:-1] or pictures
    brightness = [float(picture.mean()) for picture in inner]
    if min(brightness) < _MIN_BRIGHTNESS:
        raise FilmRejected(
            f"{path.name} goes black: brightness {min(brightness):.3f}, at least {_MIN_BRIGHTNESS} expected"
        )
    contrast = min(float(picture.std()) for picture in inner)
    if contrast < _MIN_CONTRAST:
        raise FilmRejected(
            f"{path.name} shows an empty picture: contrast {contrast:.3f}, at least {_MIN_CONTRAST} expected"
        )
    if len(inner) > 1 and all(np.array_equal(inner[0], other) for other in inner[1:]):
        raise FilmRejected(f"{path.name} has no motion: all {len(inner)} sampled frames are the same")
    return sum(brightness) / len(brightness)


def _sample_pictures(path: Path) -> tuple[list[NDArray[np.float32]], int]:
    """Sampled frames of the whole film, small, as luma 0..1; and the number of all frames."""
    pictures: list[NDArray[np.float32]] = []
    count = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            every = max(1, (stream.frames or _SAMPLES) // _SAMPLES)
            for frame in container.decode(stream):
                count += 1
                if (count - 1) % every == 0:
                    small = frame.reformat(width=90, height=160, format="gray")
                    pictures.append((small.to_ndarray() / 255).astype(np.float32))
    except av.FFmpegError as error:
        raise FilmRejected(f"{path.name} breaks off while playing: {error}") from error
    return pictures, count


def _check_sound(path: Path, expected_s: float) -> float:
    """The level in dBFS (RMS). Raises FilmRejected for sound that breaks off, silence and noise."""
    try:
        sound = decode(path, 2)
    except ValueError as error:
        raise FilmRejected(f"{path.name}: {error}") from error
    sound_s = len(sound) / RATE_HZ
    if abs(sound_s - expected_s) > _DURATION_TOLERANCE_S:
        raise FilmRejected(f"the sound of {path.name} must last {expected_s:.2f} s, got {sound_s:.2f} s")
    level = level_dbfs(sound)
    lowest, highest = _LOUDNESS_DBFS
    if not lowest <= level <= highest:
        raise FilmRejected(f"the sound of {path.name} must lie within {lowest:g}..{highest:g} dBFS, got {level:.1f}")
    return level
