"""Making sound from notes: five small instruments, a room around them, and a level that is safe to play."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.shorts.sound.harmony import Instrument, Note

__all__ = ["Samples", "fade", "level_dbfs", "normalise", "reverberate", "synthesise"]

Samples = NDArray[np.float32]
"""Stereo or mono samples within -1..1, shape (n, 2) or (n,)."""

_PAN: Final[Mapping[Instrument, float]] = {
    "pad": 0.0,
    "bass": 0.0,
    "bell": 0.25,
    "pluck": -0.2,
    "kick": 0.0,
    "hat": 0.35,
    "snap": -0.1,
}
_GAIN: Final[Mapping[Instrument, float]] = {
    "pad": 0.085,
    "bass": 0.24,
    "bell": 0.17,
    "pluck": 0.17,
    "kick": 0.5,
    "hat": 0.05,
    "snap": 0.14,
}
_SEND: Final[Mapping[Instrument, float]] = {
    "pad": 0.5,
    "bass": 0.05,
    "bell": 0.7,
    "pluck": 0.45,
    "kick": 0.05,
    "hat": 0.2,
    "snap": 0.4,
}


def synthesise(notes: Sequence[Note], duration_s: float, rate_hz: int, seed: int) -> Samples:
    """Play `notes` as stereo, shape (n, 2), exactly `duration_s` long; sound after that is cut."""
    rng = np.random.default_rng(seed)
    length = round(duration_s * rate_hz)
    dry = np.zeros((length, 2))
    wet = np.zeros((length, 2))
    cache: dict[tuple[Instrument, int, float], NDArray[np.float64]] = {}
    for note in notes:
        begin = round(note.start_s * rate_hz)
        if begin >= length:
            continue
        key = (note.instrument, note.pitch, note.length_s)
        if key not in cache:
            cache[key] = _INSTRUMENTS[note.instrument](note.pitch, note.length_s, rate_hz, rng)
        sound = cache[key][: length - begin] * (note.velocity * _GAIN[note.instrument])
        pan = _PAN[note.instrument]
        for side, share in ((0, 1.0 - max(0.0, pan)), (1, 1.0 + min(0.0, pan))):
            dry[begin : begin + len(sound), side] += sound * share
            wet[begin : begin + len(sound), side] += sound * share * _SEND[note.instrument]
    return (dry + 0.55 * reverberate(wet, rate_hz, seed)).astype(np.float32)


def reverberate(sound: NDArray[np.float64], rate_hz: int, seed: int, decay_s: float = 1.4) -> NDArray[np.float64]:
    """The sound of a room: convolution with noise that dies away, different on both sides; shape (n, 2)."""
    rng = np.random.default_rng(seed ^ 0x5EED)
    length = round(decay_s * rate_hz)
    time_s = np.arange(length) / rate_hz
    tail = rng.standard_normal((length, 2)) * np.exp(-time_s * 6.9 / decay_s)[:, None]
    tail = _lowpass(tail, 5200.0, rate_hz)
    tail /= np.sqrt((tail**2).sum(axis=0)) + 1e-12
    size = 1 << (len(sound) + length - 1).bit_length()
    spectrum = np.fft.rfft(sound, size, axis=0) * np.fft.rfft(tail, size, axis=0)
    return np.fft.irfft(spectrum, size, axis=0)[: len(sound)]


def level_dbfs(sound: Samples) -> float:
    """The root mean square level in dB below full scale; -120 for silence."""
    power = float(np.mean(np.square(sound, dtype=np.float64))) if sound.size else 0.0
    return 10 * float(np.log10(max(power, 1e-12)))


def normalise(sound: Samples, target_dbfs: float, ceiling: float = 0.89) -> Samples:
    """Bring the level of `sound` to `target_dbfs` (RMS), with a soft limit for peaks at `ceiling` (0..1)."""
    level = level_dbfs(sound)
    if level <= -100:
        return sound
    louder = sound * np.float32(10 ** ((target_dbfs - level) / 20))
    # Samples below half of the ceiling do not change; those above go through tanh, which never reaches it.
    knee = ceiling * 0.5
    size = np.abs(louder)
    bent = knee + (ceiling - knee) * np.tanh((size - knee) / (ceiling - knee))
    return np.where(size > knee, np.sign(louder) * bent, louder).astype(np.float32)


def _lowpass(sound: NDArray[np.float64], cutoff_hz: float, rate_hz: int) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(sound, axis=0)
    frequency = np.fft.rfftfreq(len(sound), 1 / rate_hz)
    gain = 1 / (1 + (frequency / cutoff_hz) ** 4)
    return np.fft.irfft(spectrum * (gain[:, None] if sound.ndim == 2 else gain), len(sound), axis=0)


def _time(length_s: float, release_s: float, rate_hz: int) -> NDArray[np.float64]:
    return np.arange(round((length_s + release_s) * rate_hz)) / rate_hz


def _envelope(time_s: NDArray[np.float64], attack_s: float, length_s: float, release_s: float) -> NDArray[np.float64]:
    rise = np.clip(time_s / attack_s, 0, 1)
    fall = np.clip(1 - (time_s - length_s) / release_s, 0, 1)
    return np.sin(rise * np.pi / 2) * fall**2


def _hz(pitch: int) -> float:
    return 440.0 * float(2.0 ** ((pitch - 69) / 12))


def _pad(pitch: int, length_s: float, rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    time_s = _time(length_s, 0.7, rate_hz)
    sound = np.zeros_like(time_s)
    for detune in (-0.0035, 0.0, 0.0042):
        phase = 2 * np.pi * _hz(pitch) * (1 + detune) * time_s + rng.uniform(0, 6.28)
        for harmonic, weight in ((1, 1.0), (2, 0.45), (3, 0.22), (4, 0.1), (5, 0.05)):
            sound += weight * np.sin(phase * harmonic)
    swell = 0.85 + 0.15 * np.sin(2 * np.pi * 0.35 * time_s)
    return sound / 2 * swell * _envelope(time_s, 0.35, length_s, 0.7)


def _bass(pitch: int, length_s: float, rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    time_s = _time(length_s, 0.12, rate_hz)
    phase = 2 * np.pi * _hz(pitch) * time_s
    sound = np.sin(phase) + 0.35 * np.sin(2 * phase) + 0.12 * np.sin(3 * phase)
    return np.tanh(sound * 1.2) * np.exp(-time_s * 0.9) * _envelope(time_s, 0.012, length_s, 0.12)


def _bell(pitch: int, length_s: float, rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    time_s = _time(length_s, 1.6, rate_hz)
    phase = 2 * np.pi * _hz(pitch) * time_s
    glint = np.sin(phase * 3.5) * np.exp(-time_s * 9) * 1.1  # an FM bell: the modulator dies first
    return np.sin(phase + glint) * np.exp(-time_s * 2.6) * _envelope(time_s, 0.004, length_s, 1.6)


def _pluck(pitch: int, length_s: float, rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    time_s = _time(length_s, 0.5, rate_hz)
    phase = 2 * np.pi * _hz(pitch) * time_s
    sound = np.zeros_like(time_s)
    for harmonic in range(1, 8):  # high partials die faster, as on a string
        sound += np.sin(phase * harmonic) / harmonic**1.25 * np.exp(-time_s * (2.5 + 1.6 * harmonic))
    return sound * _envelope(time_s, 0.003, length_s, 0.5)


def _kick(pitch: int, length_s: float, rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    time_s = _time(length_s, 0.05, rate_hz)
    frequency = 48 + 90 * np.exp(-time_s * 32)
    phase = 2 * np.pi * np.cumsum(frequency) / rate_hz
    return np.sin(phase) * np.exp(-time_s * 11) * _envelope(time_s, 0.002, length_s, 0.05)


def _hat(pitch: int, length_s: float, rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    time_s = _time(length_s, 0.03, rate_hz)
    noise = rng.standard_normal(len(time_s))
    return (noise - _lowpass(noise, 7000.0, rate_hz)) * np.exp(-time_s * 60)


def _snap(pitch: int, length_s: float, rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    time_s = _time(length_s, 0.03, rate_hz)
    noise = _lowpass(rng.standard_normal(len(time_s)), 3600.0, rate_hz)
    return noise * np.exp(-time_s * 26) * _envelope(time_s, 0.002, length_s, 0.03)


_INSTRUMENTS: Final[Mapping[Instrument, Callable[[int, float, int, np.random.Generator], NDArray[np.float64]]]] = {
    "pad": _pad,
    "bass": _bass,
    "bell": _bell,
    "pluck": _pluck,
    "kick": _kick,
    "hat": _hat,
    "snap": _snap,
}


def fade(sound: Samples, rate_hz: int, fade_in_s: float, fade_out_s: float) -> Samples:
    """`sound` rising from and falling to silence; a fade longer than the sound takes all of it."""
    gain = np.ones(len(sound), np.float32)
    rise = min(len(sound), round(fade_in_s * rate_hz))
    fall = min(len(sound), round(fade_out_s * rate_hz))
    gain[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    gain[len(sound) - fall :] *= np.linspace(1, 0, fall, dtype=np.float32) ** 1.5
    return (sound * (gain[:, None] if sound.ndim == 2 else gain)).astype(np.float32)
