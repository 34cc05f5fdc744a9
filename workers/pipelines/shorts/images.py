"""The designer: paints each scene and saves its picture and its layers."""

from __future__ import annotations

from pathlib import Path

from pipelines.shorts.layout import Layout
from pipelines.shorts.paint.picture import SceneView, captions_for, paint_layers, save_layers
from pipelines.shorts.reporting import Report
from pipelines.shorts.wording import say
from pipelines.shorts.workfiles import LAYERS, whole_file

__all__ = ["make_images"]


def make_images(layout: Layout, folder: Path, report: Report) -> list[Path]:
    """Write `scene-<n>.png` for each scene, and the layers that the renderer moves."""
    report(state="ASSET_GENERATION", progress=0.02, log=say(layout.locale, "images"))
    paths: list[Path] = []
    count = len(layout.scenes)
    for scene in layout.scenes:
        layers = paint_layers(scene, layout.format)
        save_layers(layers, folder / LAYERS, scene.index)
        report(progress=(scene.index - 0.4) / count)
        view = SceneView(scene, layers, captions_for(layout.title, scene, layout.format), layout.format)
        path = folder / scene.image
        with whole_file(path) as part:
            view.frame(scene.duration_s / 2, scene.duration_s).save(part, compress_level=3)
        paths.append(path)
        report(
            progress=scene.index / count,
            log=say(layout.locale, "image_done", index=scene.index, count=count, caption=scene.caption),
        )
    return paths
