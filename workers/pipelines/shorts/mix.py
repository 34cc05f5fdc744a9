"""The sound engineer: music under the voice, at a level that is safe to play."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from pipelines.shorts.layout import Layout
from pipelines.shorts.reporting import Report
from pipelines.shorts.sound.sound_files import RATE_HZ, read_wav, write_wav
from pipelines.shorts.sound.synth import Samples, fade, normalise, reverberate
from pipelines.shorts.timeline import read_timeline
from pipelines.shorts.wording import say
from pipelines.shorts.workfiles import MUSIC, SOUNDTRACK, VOICE

__all__ = ["duck", "make_soundtrack"]

_TARGET_DBFS: Final = -16.0
_DUCKED: Final = 0.38
"""The music's gain while the narrator speaks: about -8 dB."""
_ATTACK_S: Final = 0.08
_RELEASE_S: Final = 0.4
_BLOCK_S: Final = 0.01


def make_soundtrack(layout: Layout, folder: Path, report: Report) -> Path:
    """Mix `music.wav` and, if there is one, `voice.wav` into `soundtrack.wav`, as long as the film."""
    report(state="ASSET_GENERATION", progress=0.1, log=say(layout.locale, "mix"))
    length = round(read_timeline(folder).duration_s * RATE_HZ)
    music = _exactly(read_wav(folder / MUSIC), length)
    voice_path = folder / VOICE
    voice = read_wav(voice_path)[:length] if voice_path.exists() else np.zeros(0, np.float32)
    report(progress=0.4)
    mixed = duck(music, voice)
    if voice.size:
        spoken = np.zeros((length, 2))
        spoken[: len(voice)] += voice[:, None]
        room = 0.12 * reverberate(spoken, RATE_HZ, layout.seed % 2**32, decay_s=0.7)
        mixed = (mixed + spoken + room).astype(np.float32)
    report(progress=0.8)
    path = folder / SOUNDTRACK
    write_wav(path, fade(normalise(mixed, _TARGET_DBFS), RATE_HZ, fade_in_s=0.02, fade_out_s=0.9))
    report(progress=1.0, log=say(layout.locale, "mix_done", duration_s=length / RATE_HZ))
    return path


def duck(music: Samples, voice: Samples) -> Samples:
    """`music`, shape (n, 2), turned down while `voice`, shape (m,), is heard: quickly down, slowly up."""
    block = round(_BLOCK_S * RATE_HZ)
    count = -(-len(music) // block)
    padded = np.zeros(count * block, np.float32)
    padded[: min(len(voice), len(padded))] = voice[: len(padded)]
    heard = np.sqrt((padded.reshape(count, block) ** 2).mean(axis=1)) > 0.01
    gains = np.empty(count)
    gain = 1.0
    for number, speaking in enumerate(heard):
        target, time_s = (_DUCKED, _ATTACK_S) if speaking else (1.0, _RELEASE_S)
        gain += (target - gain) * min(1.0, _BLOCK_S / time_s * 2)
        gains[number] = gain
    smooth = np.interp(np.arange(len(music)), (np.arange(count) + 0.5) * block, gains)
    return (music * smooth[:, None]).astype(np.float32)


def _exactly(sound: Samples, length: int) -> Samples:
    """`sound` cut to `length`, or repeated until it is as long."""
    if len(sound) < length:
        sound = np.tile(sound, (-(-length // max(1, len(sound))), 1))
    return sound[:length]
