"""The composer: writes the piece, plays it and saves it."""

from __future__ import annotations

from pathlib import Path

from pipelines.shorts.layout import Layout
from pipelines.shorts.reporting import Report
from pipelines.shorts.sound.harmony import compose
from pipelines.shorts.sound.sound_files import RATE_HZ, write_wav
from pipelines.shorts.sound.synth import fade, normalise, synthesise
from pipelines.shorts.wording import say
from pipelines.shorts.workfiles import MUSIC

__all__ = ["MUSIC_DBFS", "make_music"]

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
    write_wav(path, fade(normalise(sound, MUSIC_DBFS), RATE_HZ, fade_in_s=0.05, fade_out_s=1.5))
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
