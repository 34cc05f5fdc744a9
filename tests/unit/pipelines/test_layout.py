"""The layout and the timeline: times, colours and lines in checked JSON."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.shorts.layout import Layout, read_layout, write_layout
from pipelines.shorts.paint.palette import from_hex, mix, palette_for, shade, to_hex
from pipelines.shorts.paint.scene import FilmFormat
from pipelines.shorts.timeline import longest_line_s, plan_timeline, read_timeline, write_timeline
from pipelines.shorts.vocabulary import BACKDROPS, LIGHTS, MOODS
from tests.support.pipelines import layout_for


def test_a_layout_survives_json(tmp_path: Path) -> None:
    """The steps run in different processes: what one wrote the next must read."""
    layout = layout_for("우주를 여행하는 고양이")
    write_layout(layout, tmp_path / "20251105_1430_우주여행고양이")
    assert read_layout(tmp_path / "20251105_1430_우주여행고양이") == layout


def test_scenes_follow_each_other_without_a_gap() -> None:
    """A gap would be a moment without a picture."""
    layout = layout_for("바다. 숲. 사막. 도시. 산.")
    assert len(layout.scenes) == 5
    for before, after in zip(layout.scenes, layout.scenes[1:], strict=False):
        assert after.start_s == pytest.approx(before.start_s + before.duration_s)
    assert 6 <= layout_for("우주를 여행하는 고양이").duration_s <= 11


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"scenes": [{"index": 2}]}, "must have index 1, got 2"),
        ({"scenes": [{"start_s": 1.0}]}, "must start at 0 s, got 1"),
        ({"voice": [{"scene": 9}]}, "names scene 9"),
        ({"scenes": [{"colours": {"ink": "black"}}]}, "String should match pattern"),
        ({"extra": 1}, "Extra inputs are not permitted"),
        ({"version": 2}, "Input should be 1"),
    ],
)
def test_a_broken_layout_is_refused(change: dict[str, object], says: str) -> None:
    """A layout edited by hand, or of another version, must fail where it is read and not in the renderer."""
    data = layout_for("바다").model_dump(mode="json")
    for key, value in change.items():
        if isinstance(value, list):
            for name, inner in value[0].items():
                if isinstance(inner, dict):
                    data[key][0][name].update(inner)
                else:
                    data[key][0][name] = inner
        else:
            data[key] = value
    with pytest.raises(ValidationError) as caught:
        Layout.model_validate(data)
    assert says in str(caught.value)


def test_an_odd_size_is_refused() -> None:
    """4:2:0 video cannot have odd sides; the encoder would fail minutes later."""
    with pytest.raises(ValidationError):
        FilmFormat(width=145, height=256, fps=8)


def test_lines_know_their_language() -> None:
    """A Korean line read by an English voice is noise."""
    assert {line.language for line in layout_for("우주", "ko").voice} == {"ko"}
    assert layout_for("우주", "en").voice[0].language == "ko"
    assert layout_for("우주", "en").voice[1].language == "en"


def test_a_long_line_stretches_its_scene_and_only_that() -> None:
    """A voice that is cut off by the next scene is worse than a longer film."""
    layout = layout_for("바다")
    plan = plan_timeline(layout, {})
    assert plan.duration_s == pytest.approx(layout.duration_s, abs=0.3)
    stretched = plan_timeline(layout, {2: layout.scenes[1].duration_s + 1})
    assert stretched.spans[0] == plan.spans[0]
    assert stretched.spans[1].duration_s > plan.spans[1].duration_s + 1
    assert stretched.spans[2].duration_s == plan.spans[2].duration_s
    assert stretched.duration_s * layout.format.fps == pytest.approx(round(stretched.duration_s * layout.format.fps))


def test_the_longest_lines_fit_into_the_music() -> None:
    """The music is written before the voice is known: it must last for the longest film that can come of it."""
    layout = layout_for("우주를 여행하는 고양이")
    longest = {scene.index: longest_line_s(layout, scene.index) for scene in layout.scenes}
    assert plan_timeline(layout, longest).duration_s <= layout.music.duration_s


def test_a_timeline_survives_json(tmp_path: Path) -> None:
    """The renderer reads what the narrator wrote."""
    timeline = plan_timeline(layout_for("바다"), {1: 2.0})
    write_timeline(timeline, tmp_path)
    assert read_timeline(tmp_path) == timeline
    with pytest.raises(FileNotFoundError):
        read_timeline(tmp_path / "elsewhere")


def test_two_films_in_one_place_have_their_own_colours() -> None:
    """Every sea at sunset would look the same otherwise."""
    assert palette_for("sea", "sunset", "calm", 1) != palette_for("sea", "sunset", "calm", 999_001)


def test_every_palette_is_in_colours() -> None:
    """A channel out of range would stop the painter."""
    for backdrop in BACKDROPS:
        for light in LIGHTS:
            for mood in MOODS:
                for name, colour in palette_for(backdrop, light, mood, 123_456_789).items():
                    assert from_hex(to_hex(colour)) == colour, name


def test_colours_mix() -> None:
    """Half of black and white is grey, and shading goes both ways."""
    assert mix((0, 0, 0), (255, 255, 255), 0.5) == (128, 128, 128)
    assert shade((100, 100, 100), 1) == (0, 0, 0)
    assert shade((100, 100, 100), -1) == (255, 255, 255)


def test_snow_lies_where_it_can() -> None:
    """It snows in the forest, and the ground shows it; it does not in space."""
    clear = palette_for("forest", "day", "calm", 7)
    snowed = palette_for("forest", "day", "calm", 7, "snow")
    assert sum(snowed["near"]) > sum(clear["near"]) + 60
    assert palette_for("space", "day", "calm", 7, "snow") == palette_for("space", "day", "calm", 7)
