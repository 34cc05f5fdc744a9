"""The editor: encodes all frames and the sound as one MP4 that a browser can play while it is loading."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from pipelines.shorts.layout import Layout
from pipelines.shorts.paint.picture import SceneView, captions_for, load_layers
from pipelines.shorts.reporting import Report
from pipelines.shorts.sound.sound_files import RATE_HZ, read_wav
from pipelines.shorts.timeline import Timeline, read_timeline
from pipelines.shorts.wording import say
from pipelines.shorts.workfiles import FILM, LAYERS, POSTER, SOUNDTRACK, whole_file

__all__ = ["frames", "make_film"]

_FADE_S: Final = 0.5
_BT709: Final = 1
_REPORT_EVERY: Final = 0.02
"""Progress is reported about every 2 % of the frames."""


def make_film(layout: Layout, folder: Path, report: Report) -> Path:
    """Write `film.mp4` (H.264 and AAC) and `poster.jpg` from the layers, the soundtrack and the timeline."""
    report(state="RENDERING", progress=0.0, log=say(layout.locale, "render_begins"))
    timeline = read_timeline(folder)
    views = [
        SceneView(
            scene,
            load_layers(folder / LAYERS, scene.index),
            captions_for(layout.title, scene, layout.format),
            layout.format,
        )
        for scene in layout.scenes
    ]
    path = folder / FILM
    total = round(timeline.duration_s * layout.format.fps)
    with whole_file(path) as part:
        _encode(part, layout, total, frames(layout, timeline, views), folder / SOUNDTRACK, report)
    with whole_file(folder / POSTER) as part:
        first = timeline.spans[0].duration_s
        views[0].frame(first * 0.55, first).save(part, quality=88)
    report(
        state="RENDERING",
        progress=1.0,
        log=say(layout.locale, "render_done", output_path=f"{folder.name}/{FILM}"),
    )
    return path


def frames(layout: Layout, timeline: Timeline, views: list[SceneView]) -> Iterator[Image.Image]:
    """Every frame of the film, in order. Scenes cross-fade; the film fades from black and to black."""
    fps = layout.format.fps
    half_s = layout.transition_s / 2
    film_s = timeline.duration_s
    for number in range(round(film_s * fps)):
        time_s = number / fps
        frame: Image.Image | None = None
        for span, view in zip(timeline.spans, views, strict=True):
            begin_s, end_s = span.start_s, span.start_s + span.duration_s
            if not begin_s - half_s <= time_s < end_s + half_s:
                continue
            shown = view.frame(max(0.0, time_s - begin_s), span.duration_s)
            if frame is None:
                frame = shown
            else:
                share = (time_s - (begin_s - half_s)) / max(1e-6, layout.transition_s)
                frame = Image.blend(frame, shown, min(1.0, max(0.0, share)))
        if frame is None:
            raise ValueError(f"there is no scene at {time_s:.3f} s of {film_s:.3f} s")
        light = min(1.0, 0.35 + time_s / _FADE_S, (film_s - time_s) / _FADE_S)
        if light < 1:
            frame = Image.blend(Image.new("RGB", frame.size), frame, max(0.0, light))
        yield frame


def _encode(
    path: Path,
    layout: Layout,
    total: int,
    pictures: Iterator[Image.Image],
    soundtrack: Path,
    report: Report,
) -> None:
    # faststart puts the index in front, so that a browser can play before it has loaded the whole file.
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=layout.format.fps, options={"crf": "20", "preset": "superfast"})
        audio = container.add_stream("aac", rate=RATE_HZ, layout="stereo", bit_rate=160_000)
        video.width, video.height = layout.format.width, layout.format.height
        video.pix_fmt = "yuv420p"
        video.codec_context.gop_size = layout.format.fps * 2
        context = video.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG

        sound = _sound_frames(soundtrack)
        step = max(1, round(total * _REPORT_EVERY))
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24").reformat(
                format="yuv420p",
                src_color_range=ColorRange.JPEG,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
            frame.pts = number
            frame.time_base = Fraction(1, layout.format.fps)
            container.mux(video.encode(frame))
            # Interleave sound and picture by time, so that a player need not seek in the file.
            for piece in sound:
                container.mux(audio.encode(piece))
                if (piece.pts or 0) / RATE_HZ > number / layout.format.fps:
                    break
            if number % step == 0:
                report(progress=min(0.99, (number + 1) / total))
        for piece in sound:
            container.mux(audio.encode(piece))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _sound_frames(path: Path) -> Iterator[av.AudioFrame]:
    """The soundtrack in pieces of one AAC frame, as floats, with their times."""
    samples = read_wav(path)
    size = 1024
    for begin in range(0, len(samples), size):
        piece = np.ascontiguousarray(samples[begin : begin + size].T)
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
        frame.sample_rate = RATE_HZ
        frame.pts = begin
        frame.time_base = Fraction(1, RATE_HZ)
        yield frame
