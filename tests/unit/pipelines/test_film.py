"""The film itself: rendered, opened again as a player would, and rejected where something is wrong with it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import pytest
from PIL import Image

from pipelines.shorts import STEPS
from pipelines.shorts.images import make_images
from pipelines.shorts.layout import Layout
from pipelines.shorts.mix import make_soundtrack
from pipelines.shorts.music import make_music
from pipelines.shorts.plot import make_plot
from pipelines.shorts.qa import FilmRejected, check_film
from pipelines.shorts.render import make_film
from pipelines.shorts.request import ShortsInput
from pipelines.shorts.settings import ShortsSettings
from pipelines.shorts.sound.sound_files import RATE_HZ, decode
from pipelines.shorts.sound.synth import Samples, level_dbfs
from pipelines.shorts.timeline import read_timeline
from pipelines.shorts.vocabulary import Locale
from pipelines.shorts.voice import make_voice
from pipelines.shorts.workfiles import media_type, whole_file
from tests.support.pipelines import OFFLINE, SMALL, Recorder, original_place

ON_TIME_S = 20.0
_Made = TypeVar("_Made")


def assets(prompt: str, folder: Path, locale: Locale = "ko") -> Layout:
    """All that comes before the renderer."""
    layout = make_plot(ShortsInput(prompt=prompt, locale=locale), folder, Recorder(), OFFLINE)
    make_images(layout, folder, Recorder(), OFFLINE)
    make_music(layout, folder, Recorder())
    make_voice(layout, folder, Recorder(), OFFLINE)
    make_soundtrack(layout, folder, Recorder())
    return layout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, Path, Recorder]:
    """A small film, made once."""
    folder = tmp_path_factory.mktemp("runs") / "20251105_1430_우주여행고양이"
    layout = assets("우주를 여행하는 고양이", folder)
    report = Recorder()
    make_film(layout, folder, report)
    return layout, folder, report


def test_the_film_plays(made: tuple[Layout, Path, Recorder]) -> None:
    """A browser needs H.264 in 4:2:0 and AAC, of the same length, from beginning to end."""
    layout, folder, _ = made
    expected_s = read_timeline(folder).duration_s
    with av.open(str(folder / "film.mp4")) as film:
        video, audio = film.streams.video[0], film.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (audio.codec_context.name, audio.rate, audio.channels) == ("aac", RATE_HZ, 2)
        assert (video.width, video.height) == (layout.format.width, layout.format.height)
        frames = list(film.decode(video))
    assert len(frames) == round(expected_s * layout.format.fps)
    times = [float(frame.time or 0) for frame in frames]
    assert times == pytest.approx([number / layout.format.fps for number in range(len(frames))], abs=1e-3)
    sound = decode(folder / "film.mp4", 2)
    assert len(sound) / RATE_HZ == pytest.approx(expected_s, abs=0.1)
    assert -22 < level_dbfs(sound) < -12


def test_the_film_can_begin_before_it_is_loaded(made: tuple[Layout, Path, Recorder]) -> None:
    """With the index at the end a browser would have to load everything first."""
    raw = (made[1] / "film.mp4").read_bytes()
    assert 0 < raw.index(b"moov") < raw.index(b"mdat")


def test_rendering_reports_by_frames(made: tuple[Layout, Path, Recorder]) -> None:
    """The last step before the end is the longest: it must be seen to move."""
    _, folder, report = made
    assert report.said[0].state == "RENDERING"
    assert report.logs == ["렌더링 단계 시작", f"렌더링 완료: {folder.name}/film.mp4"]
    assert len(report.progress) > 20
    assert report.progress == sorted(report.progress)
    assert (report.progress[0], report.progress[-1]) == (0.0, 1.0)


def test_the_poster_shows_the_title(made: tuple[Layout, Path, Recorder]) -> None:
    """It stands in for the film before anybody presses play: not black, and of the same shape."""
    layout, folder, _ = made
    poster = Image.open(folder / "poster.jpg")
    assert poster.size == (layout.format.width, layout.format.height)
    assert np.asarray(poster).max() > 240


def test_good_films_pass(made: tuple[Layout, Path, Recorder]) -> None:
    """Quality control reports the original's rows and what it found."""
    layout, folder, _ = made
    report = Recorder()
    facts = check_film(layout, folder, report)
    assert facts.duration_s == pytest.approx(read_timeline(folder).duration_s, abs=0.2)
    assert facts.brightness > 0.03
    rows = [(said.state, original_place("qa", said.progress or 0), said.log) for said in report.said]
    assert rows[0] == ("QA", 0.85, "QA: 품질 검수 시작...")
    assert rows[1] == ("QA", 0.87, "QA: 영상 파일 확인 완료")
    assert [row[1] for row in rows[2:]] == [0.91, 0.95]


def _write(
    path: Path,
    *,
    seconds: float,
    size: tuple[int, int] = (SMALL.width, SMALL.height),
    picture: str = "lively",
    loudness: float | None = 0.2,
    sound_s: float | None = None,
    codec: str = "libx264",
) -> None:
    rng = np.random.default_rng(1)
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream(codec, rate=8)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio = container.add_stream("aac", rate=RATE_HZ, layout="stereo") if loudness is not None else None
        still = rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        for number in range(round(seconds * 8)):
            pixels = {
                "lively": rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8),
                "black": np.zeros((size[1], size[0], 3), np.uint8),
                "grey": np.full((size[1], size[0], 3), 128, np.uint8),
                "still": still,
            }[picture]
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 8)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and loudness is not None:
            times_s = np.arange(round((sound_s or seconds) * RATE_HZ)) / RATE_HZ
            tone = np.sin(2 * np.pi * 200 * times_s)
            sound: Samples = np.stack([np.clip(tone * loudness, -1, 1)] * 2).astype(np.float32)
            for begin in range(0, sound.shape[1], 1024):
                block = np.ascontiguousarray(sound[:, begin : begin + 1024])
                piece = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
                piece.sample_rate, piece.pts, piece.time_base = RATE_HZ, begin, Fraction(1, RATE_HZ)
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))


@pytest.mark.parametrize(
    ("defect", "says"),
    [
        ({"seconds": 1.0}, r"film\.mp4 must last .* s \(±0\.35 s\), got 1\."),
        ({"size": (64, 64)}, r"film\.mp4 must be 144×256, got 64×64"),
        ({"picture": "black"}, r"film\.mp4 goes black: brightness 0\.00\d, at least 0\.02 expected"),
        ({"picture": "grey"}, r"film\.mp4 shows an empty picture: contrast"),
        ({"loudness": 0.0}, r"the sound of film\.mp4 must lie within -32\.\.-6 dBFS, got -"),
        ({"loudness": 9.0}, r"the sound of film\.mp4 must lie within -32\.\.-6 dBFS, got -"),
        ({"sound_s": 2.0}, r"the sound of film\.mp4 must last .* s, got 2\.0"),
        ({"loudness": None}, r"film\.mp4 has no sound"),
        ({"codec": "mpeg4"}, r"film\.mp4 must be h264 with aac, got mpeg4 with aac"),
    ],
)
def test_bad_films_are_rejected(
    made: tuple[Layout, Path, Recorder], tmp_path: Path, defect: dict[str, object], says: str
) -> None:
    """Each check must be able to fail and say what was found."""
    layout, folder, _ = made
    seconds = read_timeline(folder).duration_s
    (tmp_path / "timeline.json").write_bytes((folder / "timeline.json").read_bytes())
    _write(tmp_path / "film.mp4", **{"seconds": seconds, **defect})  # type: ignore[arg-type]
    with pytest.raises(FilmRejected, match=says):
        check_film(layout, tmp_path, Recorder())


def test_the_same_film_without_a_defect_passes(made: tuple[Layout, Path, Recorder], tmp_path: Path) -> None:
    """Else the films above would be rejected for another reason than their defect."""
    layout, folder, _ = made
    (tmp_path / "timeline.json").write_bytes((folder / "timeline.json").read_bytes())
    _write(tmp_path / "film.mp4", seconds=read_timeline(folder).duration_s)
    assert check_film(layout, tmp_path, Recorder()).level_dbfs < -10


def test_a_film_that_is_none_is_rejected(made: tuple[Layout, Path, Recorder], tmp_path: Path) -> None:
    """A missing, an empty, a foreign and a half-written file each get a readable line."""
    layout, folder, _ = made
    (tmp_path / "timeline.json").write_bytes((folder / "timeline.json").read_bytes())
    with pytest.raises(FilmRejected, match=r"there is no film\.mp4"):
        check_film(layout, tmp_path, Recorder())
    whole = (folder / "film.mp4").read_bytes()
    for content in (b"", b"<html>", whole[: len(whole) // 20]):
        (tmp_path / "film.mp4").write_bytes(content)
        with pytest.raises(FilmRejected, match=r"film\.mp4 (cannot be opened|breaks off|must last|must have)"):
            check_film(layout, tmp_path, Recorder())


def test_a_film_breaks_off_in_the_middle(made: tuple[Layout, Path, Recorder], tmp_path: Path) -> None:
    """The index stands in front, so a cut-off file opens well: only decoding it tells."""
    layout, folder, _ = made
    (tmp_path / "timeline.json").write_bytes((folder / "timeline.json").read_bytes())
    whole = (folder / "film.mp4").read_bytes()
    (tmp_path / "film.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(FilmRejected, match=r"film\.mp4 (must have \d+ frames, got \d+|breaks off)"):
        check_film(layout, tmp_path, Recorder())


def test_two_prompts_give_visibly_and_audibly_different_films(
    made: tuple[Layout, Path, Recorder], tmp_path: Path
) -> None:
    """Else the prompt would not matter."""
    layout = assets("A quiet robot in the forest", tmp_path / "other", "en")
    make_film(layout, tmp_path / "other", Recorder())

    def middle(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        with av.open(str(path)) as film:
            frames = [frame.to_ndarray(format="rgb24").astype(np.float64) for frame in film.decode(video=0)]
        return frames[len(frames) // 3]

    films = [made[1] / "film.mp4", tmp_path / "other" / "film.mp4"]
    assert np.abs(middle(films[0]) - middle(films[1])).mean() > 12
    sounds = [decode(path, 1)[: 3 * RATE_HZ] for path in films]
    assert abs(float(np.corrcoef(sounds[0], sounds[1])[0, 1])) < 0.2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_whole_film_at_full_size(tmp_path: Path) -> None:
    """What people get: 576×1024 at 24 frames a second, six to eleven seconds, found good by quality control.

    And the steps' weights are their shares of the time, or the bar would stand still in the longest one.
    """
    settings = ShortsSettings()
    request = ShortsInput(prompt="비 오는 밤 카페에서 커피를 마시는 로봇")
    clock_s = [time.process_time()]

    def measured(step: Callable[[], _Made]) -> _Made:
        made = step()
        clock_s.append(time.process_time())
        return made

    layout = measured(lambda: make_plot(request, tmp_path, Recorder(), settings))
    measured(lambda: make_images(layout, tmp_path, Recorder(), settings))
    measured(lambda: make_music(layout, tmp_path, Recorder()))
    timeline = measured(lambda: make_voice(layout, tmp_path, Recorder(), settings))
    measured(lambda: make_soundtrack(layout, tmp_path, Recorder()))
    measured(lambda: make_film(layout, tmp_path, Recorder()))
    facts = measured(lambda: check_film(layout, tmp_path, Recorder()))
    took_s = {step: after - before for step, (before, after) in zip(STEPS, pairwise(clock_s), strict=True)}
    in_turn = {step: spent for step, spent in took_s.items() if step not in ("music", "voice")}  # beside the pictures
    for step, spent_s in in_turn.items():
        assert spent_s / sum(in_turn.values()) == pytest.approx(STEPS[step] / 100, abs=0.12), (step, took_s)
    assert 6 <= facts.duration_s <= 11
    with av.open(str(tmp_path / "film.mp4")) as film:
        frames = list(film.decode(video=0))
    assert (frames[0].width, frames[0].height) == (576, 1024)
    assert len(frames) == round(timeline.duration_s * 24)
    assert (tmp_path / "film.mp4").stat().st_size < 8_000_000


def test_half_a_file_never_has_its_name(tmp_path: Path) -> None:
    """What is being written has another name, and an error leaves neither."""
    target = tmp_path / "a" / "film.mp4"

    def write_and_fail() -> None:
        with whole_file(target) as part:
            part.write_text("half")
            assert part.suffix == ".mp4"
            assert not target.exists()
            raise RuntimeError("the encoder died")

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert list(target.parent.iterdir()) == []
    with whole_file(target) as part:
        part.write_text("whole")
    assert [path.name for path in target.parent.iterdir()] == ["film.mp4"]


def test_a_killed_renderer_leaves_no_film(made: tuple[Layout, Path, Recorder], tmp_path: Path) -> None:
    """A cancelled run's worker is killed in the middle: nobody may then find half a film under its final name."""
    _, folder, _ = made
    (folder / "film.mp4").rename(tmp_path / "kept.mp4")
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from pipelines.shorts.layout import read_layout\n"
        "from pipelines.shorts.render import make_film\n"
        "folder = Path(sys.argv[1])\n"
        "def report(*, progress=None, **rest):\n"
        "    if progress and progress > 0.3:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "make_film(read_layout(folder), folder, report)\n"
    )
    try:
        done = subprocess.run([sys.executable, "-c", program, str(folder)], timeout=ON_TIME_S * 3, check=False)
        assert done.returncode == -signal.SIGKILL
        assert (folder / "film.part.mp4").exists()
        assert not (folder / "film.mp4").exists()
    finally:
        (tmp_path / "kept.mp4").rename(folder / "film.mp4")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("film.mp4", "video/mp4"),
        ("scenario.csv", "text/csv"),
        ("layout.json", "application/json"),
        ("poster.jpg", "image/jpeg"),
        ("voice.wav", "audio/wav"),
        ("scene-1.png", "image/png"),
        ("other.bin", "application/octet-stream"),
    ],
)
def test_files_have_media_types(name: str, expected: str) -> None:
    """A browser plays what it is told is a film."""
    assert media_type(name) == expected
