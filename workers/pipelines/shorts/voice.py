"""The narrator: speaks the lines, by OpenAI's speech API, else eSpeak NG, else not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import numpy as np

from pipelines.shorts.layout import Layout, VoiceLine
from pipelines.shorts.openai_client import ServiceFailed, speak
from pipelines.shorts.reporting import Report
from pipelines.shorts.settings import ShortsSettings
from pipelines.shorts.sound import espeak
from pipelines.shorts.sound.sound_files import RATE_HZ, decode, speed_up, write_wav
from pipelines.shorts.sound.synth import Samples, normalise
from pipelines.shorts.timeline import Timeline, longest_line_s, plan_timeline, write_timeline
from pipelines.shorts.vocabulary import Locale
from pipelines.shorts.wording import say
from pipelines.shorts.workfiles import VOICE, VOICE_CLIPS

__all__ = ["VOICES", "VoiceUnavailable", "make_voice"]

VOICES: Final[dict[Locale, str]] = {"ko": "ko+f2", "en": "en-us+f2"}
_WORDS_PER_MINUTE: Final[dict[Locale, int]] = {"ko": 205, "en": 178}
_PITCH: Final = 52
_VOICE_DBFS: Final = -19.0
_SILENCE: Final = 0.004
_TIMEOUT_S: Final = 30.0
_STATE: Final = "ASSET_GENERATION"

_Speaker = Callable[[Layout, Path, Report], dict[int, Samples]]


class VoiceUnavailable(Exception):
    """No voice can be made here. The message is one line for the log."""


def make_voice(layout: Layout, folder: Path, report: Report, settings: ShortsSettings) -> Timeline:
    """Speak the layout's lines: write `voice.wav` and `timeline.json`, and return the timeline.

    If no voice can be made, there is no `voice.wav`, and the log says so. The captions still tell the story.
    """
    report(state=_STATE, progress=0.02, log=say(layout.locale, "voice"))
    clips, engine = _speak_somehow(layout, folder, report, settings)
    fitted = {scene: _fit(clip, longest_line_s(layout, scene)) for scene, clip in clips.items()}
    timeline = plan_timeline(layout, {scene: len(clip) / RATE_HZ for scene, clip in fitted.items()})
    if fitted:
        write_wav(folder / VOICE, _lay_out(layout, timeline, fitted))
    write_timeline(timeline, folder)
    done = say(layout.locale, "voice_done", count=len(fitted), engine=engine) if fitted else None
    report(progress=1.0, log=done)
    return timeline


def _speak_somehow(
    layout: Layout, folder: Path, report: Report, settings: ShortsSettings
) -> tuple[dict[int, Samples], str]:
    if settings.openai_api_key is not None:
        try:
            return _by_openai(layout, report, settings), settings.speech_model
        except (ServiceFailed, ValueError) as error:
            report(level="warning", log=say(layout.locale, "voice_fallback", why=error))
    try:
        return _by_espeak(layout, folder, report), "eSpeak NG"
    except VoiceUnavailable as error:
        report(level="warning", log=say(layout.locale, "voice_captions_only", why=error))
        return {}, ""


def _by_openai(layout: Layout, report: Report, settings: ShortsSettings) -> dict[int, Samples]:
    clips: dict[int, Samples] = {}
    for line in layout.voice:
        clip = _trimmed(decode(speak(settings, line.text), 1))
        if not clip.size:
            raise ValueError(f"the voice of scene {line.scene} is silent")
        clips[line.scene] = clip
        report(progress=0.9 * len(clips) / len(layout.voice))
    return clips


def _by_espeak(layout: Layout, folder: Path, report: Report) -> dict[int, Samples]:
    parts = folder / VOICE_CLIPS
    parts.mkdir(parents=True, exist_ok=True)
    paths = {line.scene: parts / f"scene-{line.scene}.wav" for line in layout.voice}
    request = [_request(line, paths[line.scene]) for line in layout.voice]
    try:
        spoken = subprocess.run(
            [sys.executable, "-I", espeak.__file__],
            input=json.dumps(request),
            capture_output=True,
            encoding="utf-8",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VoiceUnavailable(f"eSpeak NG did not run: {error}") from error
    if spoken.returncode != 0:
        reason = spoken.stderr.strip().splitlines()[-1:] or [f"exit code {spoken.returncode}"]
        raise VoiceUnavailable(reason[0])
    clips: dict[int, Samples] = {}
    for scene, path in paths.items():
        clip = _trimmed(decode(path, 1))
        if clip.size:
            clips[scene] = clip
        report(progress=0.3 + 0.6 * scene / len(paths))
    if not clips:
        raise VoiceUnavailable("eSpeak NG gave no sound")
    return clips


def _request(line: VoiceLine, path: Path) -> dict[str, str | int]:
    return {
        "text": line.text,
        "voice": VOICES[line.language],
        "words_per_minute": _WORDS_PER_MINUTE[line.language],
        "pitch": _PITCH,
        "path": str(path),
    }


def _trimmed(clip: Samples) -> Samples:
    """`clip` without the silence before and after it."""
    loud = np.flatnonzero(np.abs(clip) > _SILENCE)
    return clip[loud[0] : loud[-1] + 1] if loud.size else clip[:0]


def _fit(clip: Samples, longest_s: float) -> Samples:
    """`clip` at the voice's level. One that is too long is played faster, at most twice as fast, then cut."""
    factor = len(clip) / RATE_HZ / longest_s
    if factor > 1:
        clip = speed_up(clip, min(2.0, factor * 1.01))[: round(longest_s * RATE_HZ)]
    return normalise(clip, _VOICE_DBFS)


def _lay_out(layout: Layout, timeline: Timeline, clips: dict[int, Samples]) -> Samples:
    """All clips on one track, each at the time of its scene."""
    track = np.zeros(round(timeline.duration_s * RATE_HZ), np.float32)
    for line in _spoken(layout.voice, clips):
        begin = round((timeline.spans[line.scene - 1].start_s + line.delay_s) * RATE_HZ)
        clip = clips[line.scene][: max(0, len(track) - begin)]
        track[begin : begin + len(clip)] += clip
    return track


def _spoken(lines: Iterable[VoiceLine], clips: dict[int, Samples]) -> list[VoiceLine]:
    return [line for line in lines if line.scene in clips]
