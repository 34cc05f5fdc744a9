"""What is seen: places, heroes, weather, captions, and how they move."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from xml.dom import minidom

import numpy as np
import pytest
from PIL import Image, ImageFont

from pipelines.shorts.images import make_images
from pipelines.shorts.paint import captions
from pipelines.shorts.paint.captions import draw_caption, typeset, wrap
from pipelines.shorts.paint.drawings import Box, Inks, box_of, drawing, placed, render
from pipelines.shorts.paint.palette import Colour, palette_for, to_hex
from pipelines.shorts.paint.particles import draw_specks, specks_at
from pipelines.shorts.paint.picture import SceneView, captions_for, load_layers, paint_layers, save_layers
from pipelines.shorts.paint.scene import FilmFormat, Scene
from pipelines.shorts.paint.staging import OVERSCAN, stage
from pipelines.shorts.vocabulary import (
    BACKDROPS,
    HEROES,
    LIGHTS,
    OVERCAST,
    SHOTS,
    WEATHERS,
    Backdrop,
    Hero,
    Light,
    Weather,
)
from tests.support.pipelines import OFFLINE, SMALL, Recorder, layout_for

FONTS = Path(captions.__file__).parent / "fonts"
DRAWINGS = Path(captions.__file__).parent / "drawings"


def pixels(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(image.convert("RGB"), dtype=np.float64)


def scene(**changes: object) -> Scene:
    base = layout_for("바다").scenes[1]
    backdrop, light = changes.get("backdrop", base.backdrop), changes.get("light", base.light)
    palette = palette_for(backdrop, light, "calm", 7)  # type: ignore[arg-type]
    colours = {name: to_hex(colour) for name, colour in palette.items()}
    return Scene.model_validate({**base.model_dump(), "weather": "clear", **changes, "colours": colours})


def view(of: Scene, film_format: FilmFormat = SMALL) -> SceneView:
    return SceneView(of, paint_layers(of, film_format), [], film_format)


def test_the_font_has_every_hangul_syllable() -> None:
    """A prompt with a rare syllable must not show a box. The missing glyph's box is what each is compared with."""
    font = ImageFont.truetype(str(FONTS / "Pretendard-Bold.otf"), 16)
    missing = bytes(font.getmask("\ue123"))
    wanted = [chr(code) for code in range(0xAC00, 0xD7A4)] + [chr(code) for code in range(0x21, 0x7F)]
    wanted += list("…·—–“”‘’「」『』~♪★☆♥→←㎏℃€£¥")
    assert len(wanted) > 11_172
    boxes = [char for char in wanted if bytes(font.getmask(char)) == missing]
    assert boxes == []


def test_the_font_comes_with_its_licence() -> None:
    """The Open Font License must be distributed with the font."""
    assert "SIL OPEN FONT LICENSE" in (FONTS / "LICENSE-Pretendard.txt").read_text(encoding="utf-8").upper()
    assert sum(path.stat().st_size for path in FONTS.glob("*.otf")) < 2_000_000


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("backdrop", BACKDROPS)
def test_every_place_is_a_picture(backdrop: Backdrop, light: Light) -> None:
    """A place must fill the frame, overscan and all, and be neither flat nor black."""
    layers = paint_layers(scene(backdrop=backdrop, light=light), SMALL)
    margin = round(SMALL.width * OVERSCAN)
    assert layers.back.size == (SMALL.width + 2 * margin, SMALL.height + 2 * margin)
    assert layers.back.mode == "RGB"
    assert layers.ground.getbbox() is not None
    frame = pixels(view(scene(backdrop=backdrop, light=light)).frame(0.5, 2.0))
    assert frame.std() > 8
    assert frame.mean() > 8


@pytest.mark.parametrize("hero", [hero for hero in HEROES if hero != "none"])
def test_every_hero_is_seen(hero: Hero) -> None:
    """A hero that is not painted is a film about nobody."""
    with_hero, without = (pixels(view(scene(hero=name, backdrop="meadow")).frame(0.5, 2.0)) for name in (hero, "none"))
    changed = np.abs(with_hero - without).max(axis=2) > 12
    assert changed.mean() > 0.02


def test_heroes_differ_from_each_other() -> None:
    """A cat must not look like a dog."""
    sprites = [paint_layers(scene(hero=hero, backdrop="meadow"), SMALL).hero for hero in HEROES if hero != "none"]
    for one, other in pairwise(sprites):
        assert one.size == other.size
        assert np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).mean() > 2


def test_who_would_drown_or_suffocate_is_equipped() -> None:
    """A cat in space has a helmet, a bear at sea has a boat, and a whale needs neither."""
    assert stage(scene(hero="cat", backdrop="space")).helmet
    assert not stage(scene(hero="robot", backdrop="space")).helmet
    assert stage(scene(hero="bear", backdrop="sea")).hull
    assert not stage(scene(hero="whale", backdrop="sea")).hull
    assert not stage(scene(hero="bird", backdrop="sea")).in_water
    assert not stage(scene(hero="cat", backdrop="meadow")).floats
    for helmet in ("person", "cat"):
        assert stage(scene(hero=helmet, backdrop="underwater")).helmet
        assert pixels(view(scene(hero=helmet, backdrop="underwater")).frame(0.2, 2)).mean() > 0


@pytest.mark.parametrize("shot", SHOTS)
def test_the_camera_stays_within_what_is_painted(shot: str) -> None:
    """A camera that looks past the painted edge shows black."""
    staging = stage(scene(shot=shot))
    for share in (0.0, 0.3, 0.7, 1.0):
        camera = staging.camera(share)
        reach = 0.5 / camera.zoom + abs(camera.dx)
        assert reach <= 0.5 + OVERSCAN
        near = camera.nearer()
        assert 0.5 / near.zoom + abs(near.dx) <= 0.5 + OVERSCAN


@pytest.mark.parametrize("weather", WEATHERS)
def test_weather_moves_and_repeats(weather: Weather) -> None:
    """Frames are drawn without memory: the same moment must look the same, and another one must not."""
    first = specks_at(weather, 5, 0.4, 16 / 9)
    assert first == specks_at(weather, 5, 0.4, 16 / 9)
    assert first != specks_at(weather, 5, 0.9, 16 / 9)
    assert first != specks_at(weather, 6, 0.4, 16 / 9)
    assert all(0 <= speck.opacity <= 1.01 and 0 < speck.size < 0.1 for speck in first)
    frame = Image.new("RGB", (180, 320), (40, 60, 90))
    before = pixels(frame)
    for near in (True, False):
        draw_specks(frame, first, near=near, clip=None)
    assert np.abs(pixels(frame) - before).max() > 20


def test_rain_stays_outside_of_the_room() -> None:
    """It must not rain on the table."""
    frame = Image.new("RGB", (180, 320), (40, 60, 90))
    draw_specks(frame, specks_at("rain", 5, 0.4, 16 / 9), near=True, clip=(20, 30, 160, 200))
    inside = pixels(frame)[30:200, 20:160]
    assert np.abs(inside - (40, 60, 90)).max() > 10
    outside = pixels(frame).copy()
    outside[30:200, 20:160] = (40, 60, 90)
    assert np.abs(outside - (40, 60, 90)).max() == 0
    room = view(scene(backdrop="room", weather="rain"))
    assert np.abs(pixels(room.frame(0.4, 2)) - pixels(room.frame(0.6, 2))).max() > 10


def test_a_scene_moves() -> None:
    """A film of standing pictures would be a slide show."""
    moving = view(scene(hero="cat", backdrop="space", weather="stars"))
    assert np.abs(pixels(moving.frame(0.2, 2.0)) - pixels(moving.frame(1.8, 2.0))).mean() > 2


def test_slow_moves_do_not_tremble() -> None:
    """Rounding to whole pixels makes a slow camera shake: the change from frame to frame must be even."""
    still = view(scene(hero="none", backdrop="mountain"), FilmFormat(width=288, height=512, fps=24))
    frames = [pixels(still.frame(0.5 + step / 24, 4.0))[:200] for step in range(8)]
    changes = [np.abs(after - before).mean() for before, after in pairwise(frames)]
    assert max(changes) < 2.5 * min(changes)


@pytest.mark.parametrize(
    "text",
    ["짧다", "아주 긴 자막은 세 줄까지 나뉘고 그보다 길면 글자가 작아집니다 그래도 읽혀야 해요", "W" * 70, "한" * 60],
)
@pytest.mark.parametrize("style", ["title", "line"])
def test_captions_fit_into_the_picture(text: str, style: captions.CaptionStyle) -> None:
    """Text that runs out of the frame cannot be read."""
    caption = typeset(text, style, 576, 1024, (255, 0, 0))
    x, y = caption.corner
    letters = np.asarray(caption.image)[:, :, :3].min(axis=2) > 200
    columns = np.flatnonzero(letters.any(axis=0))
    assert columns.size
    assert columns[0] >= 20
    assert columns[-1] <= 556
    assert x >= 0
    assert y >= 0
    assert y + caption.image.height <= 1024


def test_lines_are_balanced_and_lose_nothing() -> None:
    """One word alone on the last line looks like a mistake."""
    font = ImageFont.truetype(str(FONTS / "Pretendard-Bold.otf"), 40)
    text = "Between the stars a very small cat sets out"
    lines = wrap(text, 420, font)
    assert " ".join(lines) == text
    widths = [font.getlength(line) for line in lines]
    assert max(widths) <= 420
    assert min(widths) > 0.5 * max(widths)
    assert "".join(wrap("가나다라마바사아자차카타파하" * 3, 200, font)) == "가나다라마바사아자차카타파하" * 3


def test_a_caption_comes_and_goes() -> None:
    """It must be readable in the middle of its scene, and gone at its ends."""
    caption = typeset("안녕", "line", 288, 512, (255, 0, 0))

    def whiteness(time_s: float) -> float:
        frame = Image.new("RGB", (288, 512))
        draw_caption(frame, caption, time_s, 2.0)
        return float(pixels(frame).max())

    assert whiteness(0.0) == 0
    assert 0 < whiteness(0.3) < 255
    assert whiteness(1.0) == 255
    assert whiteness(2.0) == 0


def test_the_first_scene_carries_the_title() -> None:
    """A model's title is shown, and is not lost where its first caption says something else."""
    layout = layout_for("바다")
    assert len(captions_for(layout.title, layout.scenes[0], layout.format)) == 1
    assert len(captions_for(layout.title, layout.scenes[1], layout.format)) == 1
    titled = layout.model_copy(update={"title": "고요한 바다의 노래"})
    assert len(captions_for(titled.title, titled.scenes[0], titled.format)) == 2


def test_layers_survive_files(tmp_path: Path) -> None:
    """The renderer runs in another process than the designer."""
    layers = paint_layers(scene(), SMALL)
    save_layers(layers, tmp_path, 3)
    loaded = load_layers(tmp_path, 3)
    for name in ("back", "ground", "hero"):
        assert np.array_equal(np.asarray(getattr(layers, name)), np.asarray(getattr(loaded, name)))


def test_the_designer_paints_every_scene(tmp_path: Path) -> None:
    """Each scene is a file that can be downloaded, with its own picture, and progress goes up."""
    layout, report = layout_for("우주를 여행하는 고양이"), Recorder()
    folder = tmp_path / "20251105_1430_우주여행고양이"
    paths = make_images(layout, folder, report, OFFLINE)
    assert [path.name for path in paths] == ["scene-1.png", "scene-2.png", "scene-3.png", "scene-4.png"]
    shots = [pixels(Image.open(path)) for path in paths]
    for one, other in pairwise(shots):
        assert np.abs(one - other).mean() > 3
    assert report.logs[0] == "디자이너: 이미지 생성 중..."
    assert report.progress == sorted(report.progress)
    assert report.progress[-1] == 1.0
    assert not list(folder.rglob("*.part*"))


def test_two_prompts_give_visibly_different_pictures(tmp_path: Path) -> None:
    """Else the prompt would not matter."""
    one, other = (
        pixels(Image.open(make_images(layout_for(prompt), tmp_path / name, Recorder(), OFFLINE)[1]))
        for prompt, name in (("우주를 여행하는 고양이", "a"), ("숲속의 로봇", "b"))
    )
    assert np.abs(one - other).mean() > 15


NAMES = sorted(str(path.relative_to(DRAWINGS).with_suffix("")) for path in DRAWINGS.rglob("*.svg"))


def test_shapes_are_where_they_are_said_to_be() -> None:
    """The unit is the width, y goes down, and a part of a drawing can be looked at alone."""
    elements = '<rect width="500" height="2000" fill="#ff0000"/><circle cx="750" cy="1000" r="200" fill="#00ff00"/>'

    def at(image: Image.Image, x: float, y: float) -> tuple[int, ...]:
        pixel = image.getpixel((round(x * 100) + 10, round(y * 100) + 10))
        assert isinstance(pixel, tuple)
        return pixel

    box = Box(-0.1, -0.1, 1.2, 2.2)
    image = render(elements, box, (120, 220))
    assert at(image, 0.25, 1.0) == (255, 0, 0, 255)
    assert at(image, 0.75, 1.0) == (0, 255, 0, 255)
    assert at(image, 0.55, 1.9)[3] == 0
    assert at(image, -0.05, 1.0)[3] == 0
    moved = render(placed(elements, 0.5, 0.0), box, (120, 220))
    assert at(moved, 0.25, 1.0)[3] == 0
    assert at(moved, 0.75, 1.0) == (255, 0, 0, 255)
    mirrored = render(placed(elements, 1.0, 0.0, mirrored=True), box, (120, 220))
    assert at(mirrored, 0.25, 1.0) == (0, 255, 0, 255)
    assert at(mirrored, 0.75, 1.0) == (255, 0, 0, 255)


def test_colours_are_mixed_by_weight() -> None:
    """A drawing that says 70 % of one colour must get it, and what is `lit` takes on the sky's colour at night."""
    colours: dict[str, Colour] = {
        "far": (200, 100, 0),
        "low": (0, 100, 200),
        "top": (0, 0, 100),
        "middle": (0, 0, 100),
    }
    inks = Inks(colours, "night")
    assert inks.mixture("75 far, 25 low") == "#966432"
    assert inks.mixture("100 #102030") == "#102030"
    assert inks.mixture("50 #000000, 50 far") == "#643200"
    assert inks.mixture("100 lit #ffffff") == "#b2b2d0"
    assert Inks(colours, "day").mixture("100 lit #ffffff") == "#ffffff"
    with pytest.raises(KeyError):
        inks.mixture("100 fur")


@pytest.mark.parametrize("name", NAMES)
def test_every_drawing_can_be_rendered_and_edited(name: str) -> None:
    """A colour that no scene has would fail in the middle of a film; a drawing that is no SVG cannot be edited."""
    minidom.parse(str(DRAWINGS / f"{name}.svg"))  # noqa: S318  our own file
    colours = palette_for("meadow", "day", "calm", 7)
    more = dict.fromkeys(("fur", "skin", "hair", "feathers", "hide", "cloud", "speck"), "#808080")
    elements = drawing(name, Inks(colours, "day").with_colours(more))
    assert "/*" not in elements
    image = render(elements, box_of(name), (96, 96))
    assert np.asarray(image)[:, :, 3].max() > 100


def test_drawings_on_one_picture_do_not_take_each_others_colours() -> None:
    """All are rendered as one document: a class or an id that two share would colour one as the other."""
    owners: dict[str, str] = {}
    for name in NAMES:
        text = (DRAWINGS / f"{name}.svg").read_text(encoding="utf-8")
        for word in {*re.findall(r"^\.([\w-]+) \{", text, re.MULTILINE), *re.findall(r'id="([\w-]+)"', text)}:
            assert owners.setdefault(word, name) == name, word


def test_it_does_not_rain_from_a_clear_sky() -> None:
    """Under rain and snow there is neither sun nor moon, and the sky is greyer than without."""

    def sky(weather: Weather, light: Light) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        colours = {name: to_hex(colour) for name, colour in palette_for("desert", light, "calm", 7, weather).items()}
        desert = Scene.model_validate({**scene(backdrop="desert", light=light).model_dump(), "weather": weather})
        layers = paint_layers(desert.model_copy(update={"colours": colours}), SMALL)
        return pixels(layers.back)[: round(0.9 * SMALL.width)]

    for weather in OVERCAST:
        for light in LIGHTS:
            clear, covered = sky("clear", light), sky(weather, light)
            assert covered.min(axis=2).max() < clear.min(axis=2).max() - 10, (weather, light)
            assert np.ptp(covered, axis=2).mean() < 0.7 * np.ptp(clear, axis=2).mean(), (weather, light)
