"""Writing the music: key, chords, bass, melody and a soft beat, as notes. No sound is made here."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import StringConstraints

from pipelines.shorts.vocabulary import Mood

__all__ = ["Instrument", "Key", "Note", "compose", "key_for"]

Key = Annotated[str, StringConstraints(pattern=r"^[A-G]#? (major|minor|dorian|lydian)$")]
Instrument = Literal["pad", "bass", "bell", "pluck", "kick", "hat", "snap"]

_BEATS_PER_BAR: Final = 4
_ROOTS: Final = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_SCALES: Final[Mapping[str, tuple[int, ...]]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
}


@dataclass(frozen=True)
class Note:
    """One note; `pitch` is a MIDI number (69 is A4, 440 Hz), `velocity` 0..1."""

    instrument: Instrument
    start_s: float
    length_s: float
    pitch: int
    velocity: float


@dataclass(frozen=True)
class _Style:
    mode: str
    tempo_bpm: tuple[int, int]
    progressions: tuple[tuple[int, ...], ...]  # scale degrees from 0
    lead: Instrument
    beat: Literal["none", "soft", "steady", "driving"]
    busyness: float  # how many of a bar's eighths carry a melody note, 0..1


_STYLES: Final[Mapping[Mood, _Style]] = {
    "calm": _Style("major", (72, 84), ((0, 4, 5, 3), (0, 2, 3, 4)), "bell", "none", 0.35),
    "joyful": _Style("major", (108, 122), ((0, 3, 4, 0), (0, 5, 3, 4)), "pluck", "steady", 0.65),
    "adventurous": _Style("lydian", (100, 116), ((0, 1, 5, 4), (0, 4, 1, 5)), "pluck", "steady", 0.55),
    "mysterious": _Style("dorian", (76, 90), ((0, 3, 0, 6), (0, 6, 3, 0)), "bell", "soft", 0.4),
    "wistful": _Style("minor", (68, 80), ((0, 5, 2, 6), (0, 3, 5, 4)), "bell", "none", 0.4),
    "tense": _Style("minor", (120, 136), ((0, 0, 5, 6), (0, 5, 3, 4)), "pluck", "driving", 0.7),
    "festive": _Style("major", (118, 128), ((0, 4, 5, 3), (0, 3, 0, 4)), "pluck", "driving", 0.7),
}


def key_for(mood: Mood, seed: int) -> tuple[str, int]:
    """The key and the tempo (beats a minute) that suit `mood`."""
    rng = random.Random(seed)
    style = _STYLES[mood]
    return f"{rng.choice(_ROOTS)} {style.mode}", rng.randint(*style.tempo_bpm)


def compose(key: str, tempo_bpm: int, mood: Mood, duration_s: float, seed: int) -> list[Note]:
    """Write a piece of at least `duration_s` seconds, in whole bars. The same arguments give the same piece."""
    rng = random.Random(seed)
    style = _STYLES[mood]
    root_name, mode = key.split(" ")
    scale = _Scale(48 + (_ROOTS.index(root_name) + 5) % 12 - 5, _SCALES[mode])
    beat_s = 60.0 / tempo_bpm
    bar_s = beat_s * _BEATS_PER_BAR
    progression = rng.choice(style.progressions)
    motif = _motif(style, rng)
    notes: list[Note] = []
    bar = 0
    while bar * bar_s < duration_s:
        start_s = bar * bar_s
        degree = progression[bar % len(progression)]
        notes += _chord(scale, degree, start_s, bar_s, beat_s)
        # The melody begins in the second bar, and is varied in every other bar.
        if bar > 0:
            notes += _melody(scale, degree, start_s, beat_s, style.lead, motif, rng if bar % 2 else None)
        notes += _drums(style.beat, start_s, beat_s, quiet=bar == 0)
        bar += 1
    return notes


@dataclass(frozen=True)
class _Scale:
    root: int
    steps: tuple[int, ...]

    def pitch(self, degree: int) -> int:
        octave, step = divmod(degree, len(self.steps))
        return self.root + 12 * octave + self.steps[step]


def _chord(scale: _Scale, degree: int, start_s: float, bar_s: float, beat_s: float) -> Iterator[Note]:
    for offset in (0, 2, 4, 8):  # a triad with a ninth: an open sound that suits every chord
        pitch = scale.pitch(degree + offset)
        yield Note("pad", start_s, bar_s * 1.08, pitch + (12 if pitch < 52 else 0), 0.55)
    bass = scale.pitch(degree) - 12
    bass += 12 if bass < 33 else 0
    yield Note("bass", start_s, beat_s * 1.9, bass, 0.9)
    yield Note("bass", start_s + beat_s * 2.5, beat_s * 1.2, bass, 0.7)


def _motif(style: _Style, rng: random.Random) -> list[tuple[int, int]]:
    """The motif: eighth-note places in a bar with steps relative to the chord. Its repetition makes the melody."""
    places = [0] + [place for place in range(1, 8) if rng.random() < style.busyness]
    step = rng.choice((0, 2, 4))
    motif = []
    for place in places:
        motif.append((place, step))
        step = max(-2, min(8, step + rng.choice((-2, -1, -1, 1, 1, 2))))
    return motif


def _melody(
    scale: _Scale,
    degree: int,
    start_s: float,
    beat_s: float,
    lead: Instrument,
    motif: list[tuple[int, int]],
    vary: random.Random | None,
) -> Iterator[Note]:
    for place, step in motif:
        if vary is not None and vary.random() < 0.2:
            continue
        # On the beat the melody has a chord tone, so that a dissonance is short.
        landed = min((0, 2, 4, 7), key=lambda tone: abs(tone - step)) if place % 4 == 0 else step
        yield Note(
            lead,
            start_s + place * beat_s / 2,
            beat_s * 1.5,
            scale.pitch(degree % 7 + landed) + 24 - (12 if degree % 7 > 3 else 0),
            0.75 if place % 4 == 0 else 0.55,
        )


def _drums(beat: str, start_s: float, beat_s: float, *, quiet: bool) -> Iterator[Note]:
    if beat == "none":
        return
    kicks = {"soft": (0.0,), "steady": (0.0, 2.0), "driving": (0.0, 1.0, 2.0, 3.0)}[beat]
    for place in kicks:
        yield Note("kick", start_s + place * beat_s, 0.3, 36, 0.5 if quiet else 0.8)
    if quiet:
        return
    for place in range(8 if beat != "soft" else 4):
        spacing = 0.5 if beat != "soft" else 1.0
        yield Note("hat", start_s + place * spacing * beat_s, 0.08, 42, 0.3 if place % 2 else 0.45)
    if beat != "soft":
        for place in (1.0, 3.0):
            yield Note("snap", start_s + place * beat_s, 0.18, 39, 0.5)
