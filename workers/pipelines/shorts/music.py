"""The composer: writes the piece, plays it and saves it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.shorts.harmony import compose
from pipelines.shorts.layout import Layout
from pipelines.shorts.reporting import Report
from pipelines.shorts.sound_files import RATE_HZ, write_wav
from pipelines.shorts.synth import Samples, normalise, synthesise
from pipelines.shorts.wording import say
from pipelines.shorts.workfiles import MUSIC

__all__ = ["MUSIC_DBFS", "fade", "make_music"]

MUSIC_DBFS = -16.0


def make_music(layout: Layout, folder: Path, report: Report) -> Path:
    """Write `music.wav`, stereo, 44.1 kHz, as long as the layout's plan says."""
    report(state="ASSET_GENERATION", progress=0.05, log=say(layout.locale, "music"))
    plan = layout.music
    notes = compose(plan.key, plan.tempo_bpm, plan.mood, plan.duration_s, layout.seed)
    report(progress=0.3, data={"key": plan.key, "tempo_bpm": plan.tempo_bpm, "notes": len(notes)})
    sound = synthesise(notes, plan.duration_s, RATE_HZ, layout.seed % 2**32)
    report(progress=0.8)
    path = folder / MUSIC
    write_wav(path, fade(normalise(sound, MUSIC_DBFS), fade_in_s=0.05, fade_out_s=1.5))
    report(
        progress=1.0,
        log=say(
            layout.locale,
            "music_done",
            key=plan.key,
            tempo_bpm=plan.tempo_bpm,
            duration_s=plan.duration_s,
        ),
    )
    return path


def fade(sound: Samples, fade_in_s: float, fade_out_s: float, rate_hz: int = RATE_HZ) -> Samples:
    """`sound` rising from and falling to silence; a fade longer than the sound takes all of it."""
    gain = np.ones(len(sound), np.float32)
    rise = min(len(sound), round(fade_in_s * rate_hz))
    fall = min(len(sound), round(fade_out_s * rate_hz))
    gain[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    gain[len(sound) - fall :] *= np.linspace(1, 0, fall, dtype=np.float32) ** 1.5
    return (sound * (gain[:, None] if sound.ndim == 2 else gain)).astype(np.float32)
