"""What the shorts pipeline is told from outside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

__all__ = ["ShortsSettings"]


@dataclass(frozen=True)
class ShortsSettings:
    """Which models to ask, if any: without a key everything is made on this machine."""

    openai_api_key: str | None = field(default=None, repr=False)
    openai_base_url: str | None = None
    model: str = "gpt-4o-mini"
    speech_model: str = "gpt-4o-mini-tts"
    speech_voice: str = "alloy"
    timeout_s: float = 60.0
    max_retries: int = 2

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read `OPENAI_API_KEY`, `OPENAI_BASE_URL` and `RUNRELAY_SHORTS_MODEL`, `_SPEECH_MODEL`, `_SPEECH_VOICE`.

        An empty variable counts as absent.
        """
        return cls(
            openai_api_key=environ.get("OPENAI_API_KEY") or None,
            openai_base_url=environ.get("OPENAI_BASE_URL") or None,
            model=environ.get("RUNRELAY_SHORTS_MODEL") or cls.model,
            speech_model=environ.get("RUNRELAY_SHORTS_SPEECH_MODEL") or cls.speech_model,
            speech_voice=environ.get("RUNRELAY_SHORTS_SPEECH_VOICE") or cls.speech_voice,
        )
