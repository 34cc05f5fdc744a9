"""The designer: a picture of each scene by OpenAI's images API, else drawn here; and the layers that the film moves."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from string import Template
from typing import Final

from PIL import Image

from pipelines.shorts.layout import Layout, Scene
from pipelines.shorts.openai_client import ServiceFailed, picture
from pipelines.shorts.paint.picture import (
    Layers,
    SceneView,
    captions_for,
    paint_layers,
    picture_layers,
    save_layers,
)
from pipelines.shorts.reporting import Report
from pipelines.shorts.settings import ShortsSettings
from pipelines.shorts.wording import say
from pipelines.shorts.workfiles import LAYERS, whole_file

__all__ = ["make_images"]

_PROMPT: Final = Path(__file__).with_name("image_prompt.md")
_NO_HERO: Final = "nobody, only the place"


def make_images(layout: Layout, folder: Path, report: Report, settings: ShortsSettings) -> list[Path]:
    """Write `scene-<n>.png` for each scene, and the layers that the renderer moves.

    With a key a model paints all scenes at once. A scene whose picture fails is drawn here, and the log says why.
    """
    report(state="ASSET_GENERATION", progress=0.02, log=say(layout.locale, "images"))
    by_model = settings.openai_api_key is not None and settings.image_model != "none"
    painted = _by_model(layout, report, settings) if by_model else _by_hand(layout)
    paths: dict[int, Path] = {}
    count = len(layout.scenes)
    for scene, layers in painted:
        save_layers(layers, folder / LAYERS, scene.index)
        report(progress=(len(paths) + 0.6) / count)
        view = SceneView(scene, layers, captions_for(layout.title, scene, layout.format), layout.format)
        path = folder / scene.image
        with whole_file(path) as part:
            view.frame(scene.duration_s / 2, scene.duration_s).save(part, compress_level=3)
        paths[scene.index] = path
        report(
            progress=len(paths) / count,
            log=say(layout.locale, "image_done", index=scene.index, count=count, caption=scene.caption),
        )
    return [paths[scene.index] for scene in layout.scenes]


def _by_hand(layout: Layout) -> Iterator[tuple[Scene, Layers]]:
    for scene in layout.scenes:
        yield scene, paint_layers(scene, layout.format)


def _by_model(layout: Layout, report: Report, settings: ShortsSettings) -> Iterator[tuple[Scene, Layers]]:
    """Yield each scene when its picture is ready. All are requested at once, so the slowest one sets the time."""
    with ThreadPoolExecutor(len(layout.scenes), thread_name_prefix="picture") as pool:
        asked: dict[Future[Image.Image], Scene] = {
            pool.submit(_ask_for, scene, layout, settings): scene for scene in layout.scenes
        }
        for answered in as_completed(asked):
            scene = asked[answered]
            try:
                layers = picture_layers(answered.result(), layout.format)
            except (ServiceFailed, ValueError, OSError) as error:
                report(level="warning", log=say(layout.locale, "image_fallback", index=scene.index, why=error))
                layers = paint_layers(scene, layout.format)
            yield scene, layers


def _ask_for(scene: Scene, layout: Layout, settings: ShortsSettings) -> Image.Image:
    """The model's picture of `scene`. Raises ServiceFailed, and OSError or ValueError if it is no image."""
    content = picture(settings, _prompt(scene, layout), layout.format.width, layout.format.height)
    image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP"))
    image.load()
    return image


def _prompt(scene: Scene, layout: Layout) -> str:
    return Template(_PROMPT.read_text(encoding="utf-8")).substitute(
        title=layout.title,
        caption=scene.caption,
        hero=scene.hero if scene.hero != "none" else _NO_HERO,
        backdrop=scene.backdrop,
        light=scene.light,
        weather=scene.weather,
        shot=scene.shot,
        mood=layout.mood,
        accent=scene.colours["accent"],
    )
