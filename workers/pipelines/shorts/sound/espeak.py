"""Speaks lines with eSpeak NG, in a process of its own: `python espeak.py` with a JSON request on standard input.

The library keeps global state, may leave threads behind and ends the process when it cannot find its data; a
forked Celery child is no place for that. This file imports nothing of the package, so that it starts quickly.
"""

from __future__ import annotations

import ctypes
import json
import sys
import wave
from pathlib import Path
from typing import Any, Final

# From speak_lib.h of eSpeak NG 1.52.
_AUDIO_OUTPUT_SYNCHRONOUS: Final = 2
_DONT_EXIT: Final = 0x8000
_CHARS_UTF8: Final = 1
_POSITION_CHARACTER: Final = 1
_RATE, _PITCH, _RANGE = 1, 3, 4

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(ctypes.c_char))


class Speaker:
    """The library, loaded and initialised. Raises RuntimeError if that fails."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(espeakng_loader.get_data_path()).encode()
        self.rate_hz = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data, _DONT_EXIT)
        if self.rate_hz <= 0:
            raise RuntimeError(f"eSpeak NG cannot start (error {self.rate_hz})")
        self._pcm = bytearray()
        self._callback = _Callback(self._receive)  # kept, or it would be freed while C still calls it
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._pcm += ctypes.string_at(samples, count * 2)
        return 0

    def speak(self, text: str, voice: str, words_per_minute: int, pitch: int) -> bytes:
        """`text` as 16-bit mono samples at `rate_hz`. Raises RuntimeError for an unknown voice."""
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f"eSpeak NG has no voice {voice!r}")
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        self._library.espeak_SetParameter(_RANGE, 60, 0)
        self._pcm.clear()
        raw = text.encode()
        code = self._library.espeak_Synth(
            raw, ctypes.c_size_t(len(raw) + 1), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        if code != 0:
            raise RuntimeError(f"eSpeak NG cannot speak this line (error {code})")
        return bytes(self._pcm)


def main() -> int:
    """Speak each line of the request `[{text, voice, words_per_minute, pitch, path}]` into its WAV file."""
    try:
        speaker = Speaker()
        for line in json.load(sys.stdin):
            pcm = speaker.speak(line["text"], line["voice"], line["words_per_minute"], line["pitch"])
            with wave.open(str(Path(line["path"])), "wb") as out:
                out.setnchannels(1)
                out.setsampwidth(2)
                out.setframerate(speaker.rate_hz)
                out.writeframes(pcm)
    except (RuntimeError, ImportError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
