"""What is heard: notes, their sound, the voice, and the mix."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pipelines.shorts import voice
from pipelines.shorts.mix import duck, make_soundtrack
from pipelines.shorts.music import MUSIC_DBFS, make_music
from pipelines.shorts.sound import espeak
from pipelines.shorts.sound.harmony import Note, compose, key_for
from pipelines.shorts.sound.sound_files import RATE_HZ, decode, read_wav, speed_up, write_wav
from pipelines.shorts.sound.synth import Samples, fade, level_dbfs, normalise, synthesise
from pipelines.shorts.timeline import read_timeline
from pipelines.shorts.vocabulary import MOODS, Mood
from pipelines.shorts.voice import make_voice
from tests.support.pipelines import OFFLINE, Recorder, Reply, fake_openai, layout_for

SCALES = {
    "major": {0, 2, 4, 5, 7, 9, 11},
    "minor": {0, 2, 3, 5, 7, 8, 10},
    "dorian": {0, 2, 3, 5, 7, 9, 10},
    "lydian": {0, 2, 4, 6, 7, 9, 11},
}
ROOTS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def tone(seconds: float, hz: float = 220.0, size: float = 0.5) -> Samples:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (size * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def pitch_of(sound: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(sound))
    return float(np.fft.rfftfreq(len(sound), 1 / RATE_HZ)[spectrum.argmax()])


@pytest.mark.parametrize("mood", MOODS)
def test_music_stays_in_its_key(mood: Mood) -> None:
    """A note outside of the scale is a wrong note."""
    for seed in (1, 2, 3):
        key, tempo_bpm = key_for(mood, seed)
        root, mode = key.split(" ")
        notes = compose(key, tempo_bpm, mood, 8.0, seed)
        tuned = [note for note in notes if note.instrument in ("pad", "bass", "bell", "pluck")]
        assert {(note.pitch - ROOTS.index(root)) % 12 for note in tuned} <= SCALES[mode]
        assert {note.instrument for note in tuned} >= {"pad", "bass"}
        assert all(24 <= note.pitch <= 108 and 0 < note.velocity <= 1 for note in tuned)
        assert max(note.start_s + note.length_s for note in tuned) >= 7.5


def test_the_same_film_has_the_same_music_and_others_have_other() -> None:
    """A retry must not change the film, and two prompts must not share a tune."""
    first, again, other = (
        layout_for("우주를 여행하는 고양이"),
        layout_for("우주를 여행하는 고양이"),
        layout_for("겨울 바다"),
    )
    tunes = [compose(x.music.key, x.music.tempo_bpm, x.music.mood, 8, x.seed) for x in (first, again, other)]
    assert tunes[0] == tunes[1]
    assert tunes[0] != tunes[2]


def test_instruments_play_what_is_written() -> None:
    """An A4 has 440 Hz, whoever plays it, and lasts as long as the piece."""
    for instrument in ("pad", "bass", "pluck", "bell"):
        sound = synthesise([Note(instrument, 0.0, 1.0, 69, 1.0)], 1.0, RATE_HZ, 1)
        assert sound.shape == (RATE_HZ, 2)
        assert pitch_of(sound[:, 0]) == pytest.approx(440, abs=3)
    drums = [Note("kick", 0.1, 0.2, 36, 1.0), Note("hat", 0.3, 0.1, 42, 1.0), Note("snap", 0.5, 0.1, 39, 1.0)]
    assert level_dbfs(synthesise(drums, 1.0, RATE_HZ, 1)) > -60
    assert not synthesise([Note("kick", 5.0, 0.2, 36, 1.0)], 1.0, RATE_HZ, 1).any()


def test_levels_are_set_without_clipping() -> None:
    """Loud enough to hear on a phone, never so loud that it breaks."""
    for target in (-24.0, -16.0, -14.0):
        sound = normalise(tone(1.0, size=0.01), target)
        assert level_dbfs(sound) == pytest.approx(target, abs=1.0)
        assert float(np.abs(sound).max()) < 0.9
    silence = np.zeros(100, np.float32)
    assert normalise(silence, -14.0) is silence
    assert level_dbfs(silence) == -120
    assert level_dbfs(np.zeros(0, np.float32)) == -120


def test_fades_begin_and_end_in_silence() -> None:
    """A click at the end of a film is the last thing that one remembers."""
    faded = fade(np.ones((RATE_HZ, 2), np.float32), RATE_HZ, 0.1, 0.2)
    assert faded[0].tolist() == [0, 0]
    assert faded[-1].tolist() == [0, 0]
    assert faded[RATE_HZ // 2].tolist() == [1, 1]
    assert fade(np.ones(10, np.float32), RATE_HZ, 1.0, 1.0).shape == (10,)


def test_music_is_as_long_and_as_loud_as_planned(tmp_path: Path) -> None:
    """The film may become longer than planned, and the music must last."""
    layout, report = layout_for("축제"), Recorder()
    sound = read_wav(make_music(layout, tmp_path, report))
    assert len(sound) / RATE_HZ == pytest.approx(layout.music.duration_s, abs=0.01)
    assert level_dbfs(sound[RATE_HZ : 6 * RATE_HZ]) == pytest.approx(MUSIC_DBFS, abs=3)
    assert report.logs[0] == "작곡가: 배경음악 생성 중..."
    assert report.progress == sorted(report.progress)
    assert report.progress[-1] == 1.0


def test_sound_files_survive(tmp_path: Path) -> None:
    """Each step reads what another wrote."""
    mono, stereo = tone(0.3), np.stack([tone(0.3), tone(0.3, 440)], 1)
    for name, sound in (("mono.wav", mono), ("stereo.wav", stereo)):
        write_wav(tmp_path / name, sound)
        assert read_wav(tmp_path / name) == pytest.approx(sound, abs=1e-4)
    assert decode(tmp_path / "mono.wav", 1, 22050).shape == pytest.approx((len(mono) // 2,), abs=40)
    assert decode(tmp_path / "stereo.wav", 2) == pytest.approx(stereo, abs=1e-3)
    assert decode((tmp_path / "mono.wav").read_bytes(), 1) == pytest.approx(mono, abs=1e-3)


@pytest.mark.parametrize("junk", [b"", b"<html>not a sound</html>", b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_no_sound_is_refused(junk: bytes) -> None:
    """A proxy's error page, saved as speech, must fail where it is read."""
    with pytest.raises(ValueError, match=r"cannot be decoded|no audio stream"):
        decode(junk, 1)


def test_faster_speech_keeps_its_pitch() -> None:
    """A voice that must hurry must not become a chipmunk's."""
    fast = speed_up(tone(1.0), 1.5)
    assert len(fast) / RATE_HZ == pytest.approx(1 / 1.5, abs=0.06)
    assert pitch_of(fast) == pytest.approx(220, abs=4)
    with pytest.raises(ValueError, match=r"factor must be within 1..2, got 3"):
        speed_up(tone(0.1), 3)


@pytest.mark.parametrize("prompt", ["우주를 여행하는 고양이", "A paper boat crosses the sea"])
def test_espeak_speaks_both_languages(tmp_path: Path, prompt: str) -> None:
    """Offline, with nothing but what PyPI gave, the film still has a voice."""
    layout, report = layout_for(prompt, "ko" if prompt[0] == "우" else "en"), Recorder()
    timeline = make_voice(layout, tmp_path, report, OFFLINE)
    track = read_wav(tmp_path / "voice.wav")
    assert read_timeline(tmp_path) == timeline
    assert len(track) / RATE_HZ == pytest.approx(timeline.duration_s, abs=0.01)
    for line in layout.voice:
        span = timeline.spans[line.scene - 1]
        begin, end = (round(t * RATE_HZ) for t in (span.start_s + line.delay_s, span.start_s + span.duration_s))
        assert level_dbfs(track[begin:end]) > -35, f"scene {line.scene} is silent"
        assert level_dbfs(track[end - round(0.2 * RATE_HZ) : end]) < -50, f"scene {line.scene} runs into the next"
    assert not report.warnings
    assert "eSpeak NG" in report.logs[-1]


def test_the_speech_api_is_used_when_there_is_a_key(tmp_path: Path) -> None:
    """With a key the voice is the service's: each line is asked for once, as WAV."""
    write_wav(tmp_path / "said.wav", tone(0.8))
    layout, report = layout_for("고래"), Recorder()
    with fake_openai(speech=[Reply((tmp_path / "said.wav").read_bytes())]) as server:
        make_voice(layout, tmp_path, report, server.settings())
    asked = server.asked("/audio/speech")
    assert [request["input"] for request in asked] == [line.text for line in layout.voice]
    assert {request["response_format"] for request in asked} == {"wav"}
    assert not report.warnings
    track = read_wav(tmp_path / "voice.wav")
    assert pitch_of(track) == pytest.approx(220, abs=3)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(status=404), "404"),
        (Reply(status=500), "500"),
        (Reply(b"<html>"), "cannot be decoded"),
        (Reply(b""), "cannot be decoded"),
    ],
)
def test_a_missing_speech_api_falls_back_to_espeak(tmp_path: Path, reply: Reply, says: str) -> None:
    """Many servers that speak OpenAI's protocol have no speech: the film gets a voice all the same, and says whose."""
    report = Recorder()
    with fake_openai(speech=[reply]) as server:
        make_voice(layout_for("고래"), tmp_path, report, server.settings())
    assert says in report.warnings[0]
    assert "eSpeak NG" in report.logs[-1]
    assert (tmp_path / "voice.wav").exists()


def test_a_silent_answer_is_no_voice(tmp_path: Path) -> None:
    """A service that answers with silence has not spoken."""
    write_wav(tmp_path / "nothing.wav", np.zeros(RATE_HZ, np.float32))
    report = Recorder()
    with fake_openai(speech=[Reply((tmp_path / "nothing.wav").read_bytes())]) as server:
        make_voice(layout_for("고래"), tmp_path, report, server.settings())
    assert "silent" in report.warnings[0]


def test_without_any_voice_the_captions_remain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No speech at all is said in the log, and leaves a film that can be read."""
    broken = tmp_path / "weakened.py"
    broken.write_text("import sys\nsys.exit('no such library')\n")
    monkeypatch.setattr(espeak, "__file__", str(broken))
    layout, report = layout_for("고래"), Recorder()
    timeline = make_voice(layout, tmp_path / "run", report, OFFLINE)
    assert report.warnings == ["성우: 음성을 합성할 수 없어 자막만 넣습니다: no such library"]
    assert not (tmp_path / "run" / "voice.wav").exists()
    assert timeline.duration_s == pytest.approx(layout.duration_s, abs=0.5)
    assert report.progress[-1] == 1.0


def test_a_python_that_cannot_start_leaves_the_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The helper process may not even start."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    report = Recorder()
    make_voice(layout_for("고래"), tmp_path, report, OFFLINE)
    assert "did not run" in report.warnings[0]


def test_a_line_that_is_too_long_is_spoken_faster(tmp_path: Path) -> None:
    """A slow voice must neither run into the next scene nor make the film endless."""
    write_wav(tmp_path / "slow.wav", tone(5.0))
    layout = layout_for("고래")
    with fake_openai(speech=[Reply((tmp_path / "slow.wav").read_bytes())]) as server:
        timeline = make_voice(layout, tmp_path, Recorder(), server.settings())
    assert timeline.duration_s <= layout.duration_s * 1.5
    track = read_wav(tmp_path / "voice.wav")
    for before, after in pairwise(timeline.spans):
        gap = track[round((after.start_s - 0.2) * RATE_HZ) : round((before.start_s + before.duration_s) * RATE_HZ)]
        assert not gap.any()


def test_the_music_makes_room_for_the_voice() -> None:
    """A voice that cannot be understood over the music was spoken in vain."""
    music = np.stack([tone(3.0)] * 2, 1)
    spoken = np.concatenate([np.zeros(RATE_HZ, np.float32), tone(1.0, 330), np.zeros(RATE_HZ, np.float32)])
    ducked = duck(music, spoken)
    before, during, after = (
        level_dbfs(ducked[round(a * RATE_HZ) : round(b * RATE_HZ)]) for a, b in ((0.5, 0.9), (1.4, 1.9), (2.8, 3.0))
    )
    assert before - during == pytest.approx(8.4, abs=0.7)
    assert after == pytest.approx(before, abs=0.7)
    assert duck(music, np.zeros(0, np.float32)) == pytest.approx(music)


@pytest.mark.parametrize("voiced", [True, False])
def test_the_soundtrack_is_as_long_as_the_film(tmp_path: Path, voiced: bool) -> None:
    """Sound that ends before the picture, or after it, is heard at once. The music alone is enough."""
    layout = layout_for("고래")
    make_music(layout, tmp_path, Recorder())
    timeline = make_voice(layout, tmp_path, Recorder(), OFFLINE)
    if not voiced:
        (tmp_path / "voice.wav").unlink()
    report = Recorder()
    sound = read_wav(make_soundtrack(layout, tmp_path, report))
    assert len(sound) / RATE_HZ == pytest.approx(timeline.duration_s, abs=0.001)
    assert -20 < level_dbfs(sound) < -13
    assert float(np.abs(sound).max()) < 0.95
    assert report.progress == sorted(report.progress)
    assert report.progress[-1] == 1.0


def test_short_music_is_repeated(tmp_path: Path) -> None:
    """A piece that ends early must not leave the film silent."""
    layout = layout_for("고래")
    make_voice(layout, tmp_path, Recorder(), OFFLINE)
    (tmp_path / "voice.wav").unlink()
    write_wav(tmp_path / "music.wav", np.stack([tone(1.0)] * 2, 1))
    sound = read_wav(make_soundtrack(layout, tmp_path, Recorder()))
    assert level_dbfs(sound[-3 * RATE_HZ : -RATE_HZ]) > -25


def test_an_unknown_espeak_voice_is_an_error() -> None:
    """A silent film because of a mistyped voice would be hard to find."""
    with pytest.raises(RuntimeError, match="no voice 'xx-klingon'"):
        espeak.Speaker().speak("a", "xx-klingon", 160, 50)


def test_all_languages_have_a_voice() -> None:
    """A line in a language without a voice would have to be read by a stranger's."""
    speaker = espeak.Speaker()
    for name in voice.VOICES.values():
        assert len(speaker.speak("아 a", name, 160, 50)) > 1000
