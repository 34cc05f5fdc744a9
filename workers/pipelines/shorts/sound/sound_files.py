"""Reading and writing sound: writes 16-bit WAV, reads every format that FFmpeg decodes."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import av
import numpy as np

from pipelines.shorts.sound.synth import Samples
from pipelines.shorts.workfiles import whole_file

__all__ = ["RATE_HZ", "decode", "read_wav", "speed_up", "write_wav"]

RATE_HZ: Final = 44_100


def write_wav(path: Path, sound: Samples, rate_hz: int = RATE_HZ) -> None:
    """Write samples, shape (n,) or (n, channels), as 16-bit WAV."""
    pcm = np.clip(np.round(sound * 32767), -32768, 32767).astype("<i2")
    with whole_file(path) as part, wave.open(str(part), "wb") as out:
        out.setnchannels(1 if sound.ndim == 1 else sound.shape[1])
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(pcm.tobytes())


def read_wav(path: Path) -> Samples:
    """Read a 16-bit WAV that `write_wav` wrote: shape (n,) for one channel, else (n, channels)."""
    with wave.open(str(path), "rb") as source:
        channels = source.getnchannels()
        pcm = np.frombuffer(source.readframes(source.getnframes()), dtype="<i2")
    sound: Samples = pcm.astype(np.float32) / np.float32(32768)
    return sound if channels == 1 else sound.reshape(-1, channels)


def decode(source: Path | bytes, channels: Literal[1, 2], rate_hz: int = RATE_HZ) -> Samples:
    """Decode any sound file (WAV, MP3, the sound of a film …) to samples at `rate_hz`.

    The shape is (n,) for one channel and (n, 2) for two. Raises ValueError if `source` holds no sound that can
    be decoded.
    """
    try:
        with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source), "r") as container:
            if not container.streams.audio:
                raise ValueError("the file has no audio stream")
            layout = "mono" if channels == 1 else "stereo"
            resampler = av.AudioResampler(format="flt", layout=layout, rate=rate_hz)
            pieces = [
                _samples(piece)
                for frame in [*container.decode(container.streams.audio[0]), None]
                for piece in resampler.resample(frame)
            ]
    except av.FFmpegError as error:
        raise ValueError(f"the sound cannot be decoded: {error}") from error
    sound = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    return sound if channels == 1 else sound.reshape(-1, channels)


def speed_up(sound: Samples, factor: float, rate_hz: int = RATE_HZ) -> Samples:
    """Play mono `sound` `factor` (1..2) times as fast at the same pitch, by FFmpeg's atempo."""
    if not 1.0 <= factor <= 2.0:
        raise ValueError(f"factor must be within 1..2, got {factor:g}")
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate_hz, format="flt", layout="mono", channels=1)
    tempo = graph.add("atempo", f"{factor:.4f}")
    sink = graph.add("abuffersink")
    source.link_to(tempo)
    tempo.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="flt", layout="mono")
    frame.sample_rate = rate_hz
    graph.push(frame)
    graph.push(None)
    return np.concatenate(list(_drain(graph)))


def _drain(graph: av.filter.Graph) -> Iterator[Samples]:
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        if isinstance(frame, av.AudioFrame):
            yield _samples(frame)


def _samples(frame: av.AudioFrame) -> Samples:
    return frame.to_ndarray().reshape(-1).astype(np.float32)
