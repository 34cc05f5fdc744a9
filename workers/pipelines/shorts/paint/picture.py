"""A scene as layers, and the frame of any moment of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from pipelines.shorts.paint.captions import Caption, draw_caption, typeset
from pipelines.shorts.paint.drawings import Box
from pipelines.shorts.paint.heroes import paint_hero
from pipelines.shorts.paint.palette import from_hex
from pipelines.shorts.paint.particles import draw_specks, specks_at
from pipelines.shorts.paint.places import paint_ground, paint_place
from pipelines.shorts.paint.scene import FilmFormat, Scene
from pipelines.shorts.paint.sprites import Sprite
from pipelines.shorts.paint.staging import OVERSCAN, Camera, stage
from pipelines.shorts.workfiles import whole_file

__all__ = ["Layers", "SceneView", "captions_for", "load_layers", "paint_layers", "picture_layers", "save_layers"]

_NAMES: Final = ("back", "ground", "hero")
# The window of the drawn room, in units of the width: weather is drawn only inside it.
_WINDOW: Final = (0.12, 0.16, 0.88, 1.12)
_INDOORS: Final = frozenset({"fireflies", "confetti", "clear"})


@dataclass(frozen=True)
class Layers:
    """The painted parts of a scene: all overscanned; the hero is a square on its own."""

    back: Image.Image
    ground: Image.Image
    hero: Image.Image


def paint_layers(scene: Scene, film_format: FilmFormat) -> Layers:
    """Paint a scene's backdrop (RGB), near ground (RGBA) and hero (RGBA)."""
    inks = scene.inks()
    width, height = film_format.width, film_format.height
    margin_px = round(width * OVERSCAN)
    size_px = (width + 2 * margin_px, height + 2 * margin_px)
    box = Box(-margin_px / width, -margin_px / width, size_px[0] / width, size_px[1] / width)
    staging = stage(scene)
    return Layers(
        back=paint_place(scene, inks, box, size_px),
        ground=paint_ground(scene, inks, box, size_px),
        hero=paint_hero(scene.hero, staging, inks, round(staging.size * width)),
    )


def picture_layers(picture: Image.Image, film_format: FilmFormat) -> Layers:
    """A finished picture of a scene as layers: cut to the film's shape, as large as the camera needs."""
    margin_px = round(film_format.width * OVERSCAN)
    size_px = (film_format.width + 2 * margin_px, film_format.height + 2 * margin_px)
    fitted = ImageOps.fit(picture.convert("RGB"), size_px, Image.Resampling.LANCZOS)
    nothing = Image.new("RGBA", (4, 4))
    return Layers(back=fitted, ground=nothing, hero=nothing)


def save_layers(layers: Layers, folder: Path, index: int) -> None:
    """Save the layers of scene `index`; quick compression, because only the renderer reads them."""
    for name in _NAMES:
        with whole_file(folder / f"scene-{index}-{name}.png") as part:
            getattr(layers, name).save(part, compress_level=1)


def load_layers(folder: Path, index: int) -> Layers:
    """Read the layers of scene `index` back."""
    back, ground, hero = (Image.open(folder / f"scene-{index}-{name}.png") for name in _NAMES)
    return Layers(back.convert("RGB"), ground.convert("RGBA"), hero.convert("RGBA"))


def captions_for(film_title: str, scene: Scene, film_format: FilmFormat) -> list[Caption]:
    """The texts of a scene. The first scene shows the film's title, and its own caption if that is another text."""
    width, height = film_format.width, film_format.height
    accent = from_hex(scene.colours["accent"])
    if scene.index > 1:
        return [typeset(scene.caption, "line", width, height, accent)]
    title = scene.caption if _same(scene.caption, film_title) else film_title
    texts = [typeset(title, "title", width, height, accent)]
    if title != scene.caption:
        texts.append(typeset(scene.caption, "line", width, height, accent))
    return texts


def _same(caption: str, title: str) -> bool:
    return caption.startswith(title.rstrip("…")) or title == caption


class SceneView:
    """A scene whose frame can be computed for any moment."""

    def __init__(self, scene: Scene, layers: Layers, captions: list[Caption], film_format: FilmFormat) -> None:
        self._scene = scene
        self._captions = captions
        self._staging = stage(scene)
        self._width = film_format.width
        self._height = film_format.height
        # Pillow resizes four bytes a pixel faster than three.
        self._back = layers.back.convert("RGBX")
        self._ground = Sprite(layers.ground)
        self._hero = Sprite(layers.hero)
        self._hero_side_px = layers.hero.width
        # The place of the window is known only for the drawn room, not for a picture by a model.
        self._is_drawn = layers.ground.getbbox() is not None

    def frame(self, time_s: float, duration_s: float) -> Image.Image:
        """The picture at `time_s` of a scene that lasts `duration_s`."""
        camera = self._staging.camera(min(1.0, max(0.0, time_s / duration_s)))
        outside = self._scene.backdrop == "room" and self._scene.weather not in _INDOORS
        specks = specks_at(self._scene.weather, self._scene.seed, time_s, self._height / self._width)
        if outside and not self._is_drawn:
            specks = []
        frame = self._look_at_back(camera)
        if outside:
            window = self._window(camera)
            draw_specks(frame, specks, near=False, clip=window)
            draw_specks(frame, specks, near=True, clip=window)
        else:
            draw_specks(frame, specks, near=False, clip=None)
        if self._staging.in_water:
            self._draw_hero(frame, camera, time_s)
            self._draw_ground(frame, camera)
        else:
            self._draw_ground(frame, camera)
            self._draw_hero(frame, camera, time_s)
        if not outside:
            draw_specks(frame, specks, near=True, clip=None)
        for caption in self._captions:
            draw_caption(frame, caption, time_s, duration_s)
        return frame

    def _look_at_back(self, camera: Camera) -> Image.Image:
        margin = round(self._width * OVERSCAN)
        half_w, half_h = self._width / 2 / camera.zoom, self._height / 2 / camera.zoom
        x = margin + self._width / 2 - camera.dx * self._width
        y = margin + self._height / 2 - camera.dy * self._width
        box = (x - half_w, y - half_h, x + half_w, y + half_h)
        return self._back.resize((self._width, self._height), Image.Resampling.BILINEAR, box).convert("RGB")

    def _on_screen(self, x: float, y: float, camera: Camera) -> tuple[float, float]:
        """Pixels of a painted point (in units of the width) as `camera` sees it."""
        aspect = self._height / self._width
        return (
            (0.5 + (x - 0.5 + camera.dx) * camera.zoom) * self._width,
            (aspect / 2 + (y - aspect / 2 + camera.dy) * camera.zoom) * self._width,
        )

    def _window(self, camera: Camera) -> tuple[int, int, int, int]:
        left, top = self._on_screen(_WINDOW[0], _WINDOW[1], camera)
        right, bottom = self._on_screen(_WINDOW[2], _WINDOW[3], camera)
        return (
            max(0, round(left)),
            max(0, round(top)),
            min(self._width, round(right)),
            min(self._height, round(bottom)),
        )

    def _draw_ground(self, frame: Image.Image, camera: Camera) -> None:
        margin = round(self._width * OVERSCAN) / self._width
        near = camera.nearer()
        left, top = self._on_screen(-margin, -margin, near)
        self._ground.draw(frame, left, top, near.zoom)

    def _draw_hero(self, frame: Image.Image, camera: Camera, time_s: float) -> None:
        if self._scene.hero == "none":
            return
        staging = self._staging
        seen = camera if staging.floats else camera.nearer()
        dx, dy = staging.hero_offset(time_s)
        x, y = self._on_screen(staging.x + dx, staging.y + dy, seen)
        half = self._hero_side_px / 2 * seen.zoom
        self._hero.draw(frame, x - half, y - half, seen.zoom)
