"""The input of the shorts pipeline."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pipelines.shorts.vocabulary import Locale

__all__ = ["ShortsInput"]

Prompt = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class ShortsInput(BaseModel):
    """Prompt and language of a film. The dashboard makes its start form from the schema."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        title="Short film",
        json_schema_extra={
            "examples": [
                {"prompt": "우주를 여행하는 고양이", "locale": "ko"},
                {"prompt": "A paper boat crosses the sea at sunset", "locale": "en"},
            ]
        },
    )

    prompt: Prompt = Field(
        title="Prompt",
        description="What the film is about, in Korean or English. Several sentences become several scenes.",
        examples=["우주를 여행하는 고양이", "A robot plants a flower in the desert"],
    )
    locale: Locale = Field(
        default="ko",
        title="Language",
        description="Language of the captions, the voice and the log: Korean (ko) or English (en).",
        examples=["ko", "en"],
    )
