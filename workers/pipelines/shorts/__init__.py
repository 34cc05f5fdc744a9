"""The shorts pipeline: a real short film from a prompt.

plan → images, music, voice at once → mix → render → qa. Each step is a function of plain inputs, a folder and a report
(plot, images, music, voice, mix, render, qa). tasks.py makes them Celery tasks of a run.
"""

from __future__ import annotations

from typing import Final

from pipelines.shorts.request import ShortsInput
from runrelay.pipelines import Pipeline

__all__ = ["STEPS", "pipeline"]

STEPS: Final = {"plan": 1.0, "images": 24.0, "music": 1.0, "voice": 1.0, "mix": 1.0, "render": 66.0, "qa": 6.0}
"""The steps' shares of a run's time, in percent. They make the bar move evenly and the remaining time right.

Measured for a film of the default format without a key. Music and voice have small shares, because they are made
at the same time as the pictures. tests/unit/pipelines/test_film.py measures them again.
"""

_TITLE_CHARS: Final = 80


def _start(run_id: str, request: ShortsInput, attempt: int) -> None:
    """Send the canvas. Raises kombu's OperationalError when the broker is away."""
    # Celery is imported here: a relay that only shows runs does not need it.
    from pipelines.shorts.tasks import film
    from pipelines.shorts.wording import say
    from runrelay.celery import send

    send(film(run_id, request), run_id, weights=STEPS, closing=say(request.locale, "done"), attempt=attempt)


def _cancel(run_id: str, attempt: int) -> None:
    from pipelines.app import app
    from runrelay.celery import cancel

    cancel(app, run_id, attempt, STEPS)


def _title_of(request: ShortsInput) -> str:
    line = " ".join(request.prompt.split())
    return line if len(line) <= _TITLE_CHARS else line[: _TITLE_CHARS - 1].rstrip() + "…"


pipeline: Final = Pipeline(
    name="shorts",
    title="Short film",
    description="A short vertical film from a prompt: plot, pictures, music, voice, rendering and quality control.",
    input_model=ShortsInput,
    start=_start,
    cancel=_cancel,
    steps=STEPS,
    title_of=_title_of,
)
