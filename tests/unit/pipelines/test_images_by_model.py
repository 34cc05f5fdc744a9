"""Pictures by a model: asked for over HTTP, checked, cut to the film's shape, and replaced where they fail."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipelines.shorts.images import make_images
from pipelines.shorts.layout import Layout
from pipelines.shorts.paint.picture import SceneView, load_layers, picture_layers
from pipelines.shorts.paint.scene import FilmFormat
from pipelines.shorts.settings import ShortsSettings
from pipelines.shorts.workfiles import LAYERS
from tests.support.pipelines import SMALL, Recorder, Reply, fake_openai, layout_for


def image_file(colour: tuple[int, int, int] = (10, 200, 90), size: tuple[int, int] = (1024, 1536)) -> bytes:
    """A PNG of one colour with a white frame of 5 %, as a model answers it."""
    image = Image.new("RGB", size, (255, 255, 255))
    inset = size[0] // 20
    ImageDraw.Draw(image).rectangle((inset, inset, size[0] - inset, size[1] - inset), fill=colour)
    written = io.BytesIO()
    image.save(written, "PNG", compress_level=1)
    return written.getvalue()


def middle_of(path: Path) -> tuple[int, ...]:
    with Image.open(path) as image:
        pixel = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    assert isinstance(pixel, tuple)
    return pixel


def asked_for(layout: Layout, folder: Path, images: list[Reply]) -> tuple[Recorder, list[dict[str, object]]]:
    report = Recorder()
    with fake_openai(images=images) as server:
        paths = make_images(layout, folder, report, server.settings())
    assert [path.name for path in paths] == [scene.image for scene in layout.scenes]
    return report, server.asked("/images/generations")


def test_with_a_key_each_scene_is_a_picture_by_the_model(tmp_path: Path) -> None:
    """Each scene is asked for by what is in it; its file and the layers of the film show what came."""
    layout = layout_for("우주를 여행하는 고양이")
    report, requests = asked_for(layout, tmp_path, [Reply(image_file())])
    assert not report.warnings
    assert report.progress == sorted(report.progress)
    assert report.progress[-1] == 1.0
    assert len(requests) == len(layout.scenes)
    assert {request["model"] for request in requests} == {"gpt-image-1"}
    assert {request["size"] for request in requests} == {"1024x1536"}
    for scene in layout.scenes:
        (prompt,) = [
            str(request["prompt"]) for request in requests if f"in it: {scene.caption}\n" in str(request["prompt"])
        ]
        for word in (layout.title, scene.hero, scene.backdrop, scene.light, scene.weather, "No text"):
            assert word in prompt
        assert "$" not in prompt
        assert np.abs(np.subtract(middle_of(tmp_path / scene.image), (10, 200, 90))).max() < 60
        layers = load_layers(tmp_path / LAYERS, scene.index)
        assert layers.back.getpixel((layers.back.width // 2, layers.back.height // 2)) == (10, 200, 90)
        assert layers.ground.getbbox() is None
        assert layers.hero.getbbox() is None


@pytest.mark.parametrize(("width", "height"), [(144, 256), (256, 144), (200, 200)])
def test_a_picture_fills_the_frame_whatever_the_camera_does(width: int, height: int) -> None:
    """Cut without a distortion, and painted beyond the frame on all sides: the edge of it must never be seen."""
    film_format = FilmFormat(width=width, height=height, fps=8)
    circle = Image.new("RGB", (1024, 1024), (20, 40, 220))
    ImageDraw.Draw(circle).ellipse((412, 412, 612, 612), fill=(255, 255, 255))
    layers = picture_layers(circle, film_format)
    white = np.asarray(layers.back).min(axis=2) > 128
    across, down = white.any(axis=0).sum(), white.any(axis=1).sum()
    assert across == pytest.approx(down, abs=2)
    layout = layout_for("바다", film_format=film_format)
    for scene in layout.scenes:
        view = SceneView(scene, layers, [], film_format)
        for time_s in (0.0, scene.duration_s):
            edges = np.asarray(view.frame(time_s, scene.duration_s))
            assert np.median(edges[[0, -1]].reshape(-1, 3), axis=0).tolist() == [20, 40, 220]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(status=500), "it is broken"),
        (Reply(status=401), "401"),
        (Reply(b"no image at all"), "cannot identify image file"),
        (Reply(image_file()[:4000]), "truncated"),
        (Reply("%%% not base64"), "not base64"),
        (Reply(b""), "no picture"),
    ],
)
def test_a_picture_that_fails_is_drawn_here(tmp_path: Path, reply: Reply, says: str) -> None:
    """One scene that fails must cost neither the film nor the others' pictures, and the log says why."""
    layout = layout_for("우주를 여행하는 고양이")
    good = Reply(image_file())
    report, _ = asked_for(layout, tmp_path, [reply, good])
    (line,) = report.warnings
    assert line.startswith("디자이너: 이미지 API를 쓸 수 없어 직접 그립니다 (장면 ")
    assert says in line
    drawn = [scene for scene in layout.scenes if load_layers(tmp_path / LAYERS, scene.index).ground.getbbox()]
    assert [f"(장면 {scene.index})" in line for scene in drawn] == [True]
    assert report.progress[-1] == 1.0


def test_a_service_that_is_not_there_costs_no_film(tmp_path: Path) -> None:
    """All scenes are drawn here, and each says so once, in the run's language."""
    with fake_openai() as server:
        settings = server.settings()
    layout, report = layout_for("a cat", "en"), Recorder()
    make_images(layout, tmp_path, report, settings)
    assert len(report.warnings) == len(layout.scenes)
    assert all("is drawn here instead: Connection error" in line for line in report.warnings)


def test_a_model_called_none_is_not_asked(tmp_path: Path) -> None:
    """Pictures are the dearest part: with a key for the words alone there must be none."""
    settings = ShortsSettings.from_env({"OPENAI_API_KEY": "k", "RUNRELAY_SHORTS_IMAGE_MODEL": "none"})
    layout, report = layout_for("바다"), Recorder()
    with fake_openai(images=[Reply(image_file())]) as server:
        assert settings.image_model == "none"
        chosen = ShortsSettings(openai_api_key="k", openai_base_url=server.base_url, image_model="none")
        make_images(layout.model_copy(update={"format": SMALL}), tmp_path, report, chosen)
    assert server.requests == []
    assert not report.warnings
    assert ShortsSettings.from_env({"RUNRELAY_SHORTS_IMAGE_MODEL": "m"}).image_model == "m"
