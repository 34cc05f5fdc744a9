"""The steps of the shorts pipeline as Celery tasks, and the canvas that they make.

The relay imports this module only to send the canvas. Therefore the heavy packages (PyAV, NumPy, Pillow, openai) are
imported when a step runs.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from celery import Signature, chain, chord

from pipelines.app import settings, task
from pipelines.shorts.reporting import Report
from pipelines.shorts.request import ShortsInput
from pipelines.shorts.settings import ShortsSettings
from runrelay import publish_progress
from runrelay.files import run_folder

__all__ = ["film", "images", "mix", "music", "plan", "qa", "render", "voice"]


def film(run_id: str, request: ShortsInput) -> Signature:
    """The whole film as a canvas: plan, then images, music and voice at once, then mix, render and qa."""
    assets = [images.si(run_id), music.si(run_id), voice.si(run_id)]
    return chain(
        plan.si(run_id, request.model_dump()), chord(assets, chain(mix.si(run_id), render.si(run_id), qa.si(run_id)))
    )


# Only the members of the chord store a result: the chord counts them there. The other tasks ignore theirs, because the
# sender would subscribe to each result that is stored.
@task("shorts.plan", ignore_result=True)
def plan(run_id: str, request: dict[str, Any]) -> None:
    """From the prompt to scenario.csv and layout.json. Begins with an empty folder."""
    from pipelines.shorts.plot import make_plot

    folder = _folder(run_id)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    make_plot(ShortsInput.model_validate(request), folder, _reporter(run_id), ShortsSettings.from_env(os.environ))


@task("shorts.images")
def images(run_id: str) -> None:
    """The scenes' pictures."""
    from pipelines.shorts.images import make_images
    from pipelines.shorts.layout import read_layout

    folder = _folder(run_id)
    make_images(read_layout(folder), folder, _reporter(run_id), ShortsSettings.from_env(os.environ))


@task("shorts.music")
def music(run_id: str) -> None:
    """The music."""
    from pipelines.shorts.layout import read_layout
    from pipelines.shorts.music import make_music

    folder = _folder(run_id)
    make_music(read_layout(folder), folder, _reporter(run_id))


@task("shorts.voice")
def voice(run_id: str) -> None:
    """The spoken lines, and with them the film's timeline."""
    from pipelines.shorts.layout import read_layout
    from pipelines.shorts.voice import make_voice

    folder = _folder(run_id)
    make_voice(read_layout(folder), folder, _reporter(run_id), ShortsSettings.from_env(os.environ))


@task("shorts.mix", ignore_result=True)
def mix(run_id: str) -> None:
    """Music and voice as one soundtrack."""
    from pipelines.shorts.layout import read_layout
    from pipelines.shorts.mix import make_soundtrack

    folder = _folder(run_id)
    make_soundtrack(read_layout(folder), folder, _reporter(run_id))


@task("shorts.render", ignore_result=True)
def render(run_id: str) -> None:
    """The film and its poster."""
    from pipelines.shorts.layout import read_layout
    from pipelines.shorts.render import make_film

    folder = _folder(run_id)
    make_film(read_layout(folder), folder, _reporter(run_id))


@task("shorts.qa", ignore_result=True)
def qa(run_id: str) -> dict[str, Any]:
    """Opens the film and checks it. The return value is the run's result."""
    from pipelines.shorts.layout import read_layout
    from pipelines.shorts.qa import check_film
    from pipelines.shorts.workfiles import film_result

    folder = _folder(run_id)
    facts = check_film(read_layout(folder), folder, _reporter(run_id))
    return film_result(folder, facts.duration_s)


def _folder(run_id: str) -> Path:
    return run_folder(settings.files, run_id)


def _reporter(run_id: str) -> Report:
    """A report that publishes events of the run. Inside a task they carry its step and are fenced by its attempt."""

    def report(
        *,
        state: str | None = None,
        progress: float | None = None,
        log: str | None = None,
        level: str = "info",
        data: dict[str, Any] | None = None,
    ) -> None:
        publish_progress(run_id, state, progress, log, level=level, data=data)

    return report
