"""The settings of the shorts pipeline, from environment variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from pipelines.shorts.paint.scene import DEFAULT_FORMAT, FilmFormat

__all__ = ["ShortsSettings"]

_FORMAT: Final = re.compile(r"(\d{1,5})x(\d{1,5})@(\d{1,3})")


@dataclass(frozen=True)
class ShortsSettings:
    """The models that are asked. Without a key none is, and everything is made on this machine."""

    openai_api_key: str | None = field(default=None, repr=False)
    openai_base_url: str | None = None
    model: str = "gpt-4o-mini"
    speech_model: str = "gpt-4o-mini-tts"
    speech_voice: str = "alloy"
    image_model: str = "gpt-image-1"
    """`none`: no model is asked, and the scenes are drawn on this machine."""
    timeout_s: float = 60.0
    image_timeout_s: float = 100.0
    """Longer than for text, because a model paints slowly. With one retry it is within the task's time limit."""
    max_retries: int = 2
    film_format: FilmFormat = DEFAULT_FORMAT

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read `OPENAI_API_KEY`, `OPENAI_BASE_URL` and, after `RUNRELAY_SHORTS`, `_MODEL`, `_IMAGE_MODEL`,
        `_SPEECH_MODEL`, `_SPEECH_VOICE` and `_FORMAT`.

        An empty variable counts as absent. Raises ValueError for a format that is not `<width>x<height>@<fps>`, or one
        that cannot be encoded.
        """
        return cls(
            openai_api_key=environ.get("OPENAI_API_KEY") or None,
            openai_base_url=environ.get("OPENAI_BASE_URL") or None,
            model=environ.get("RUNRELAY_SHORTS_MODEL") or cls.model,
            speech_model=environ.get("RUNRELAY_SHORTS_SPEECH_MODEL") or cls.speech_model,
            speech_voice=environ.get("RUNRELAY_SHORTS_SPEECH_VOICE") or cls.speech_voice,
            image_model=environ.get("RUNRELAY_SHORTS_IMAGE_MODEL") or cls.image_model,
            film_format=_format(environ.get("RUNRELAY_SHORTS_FORMAT")),
        )


def _format(text: str | None) -> FilmFormat:
    if not text:
        return DEFAULT_FORMAT
    match = _FORMAT.fullmatch(text)
    if match is None:
        raise ValueError(f"RUNRELAY_SHORTS_FORMAT must be like 576x1024@24, got {text!r}")
    width, height, fps = map(int, match.groups())
    return FilmFormat(width=width, height=height, fps=fps)
