"""The paid services: a scenario, pictures and a voice from OpenAI, or from any server that speaks its protocol."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final, Literal

from pipelines.shorts.settings import ShortsSettings

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

__all__ = ["Message", "ServiceFailed", "ask", "picture", "speak"]

Message = tuple[Literal["system", "user", "assistant"], str]
_MAX_REASON_CHARS = 200
_ImageSize = Literal["1024x1536", "1024x1024", "1536x1024"]
_IMAGE_SIZES: Final[tuple[tuple[_ImageSize, float], ...]] = (
    ("1024x1536", 1024 / 1536),
    ("1024x1024", 1.0),
    ("1536x1024", 1536 / 1024),
)
"""The sizes that the gpt-image models paint, with their ratio of width to height."""


class ServiceFailed(Exception):
    """The service answered with an error, or did not answer. The message is one line for the log."""


def ask(settings: ShortsSettings, messages: list[Message]) -> str:
    """The model's answer to a conversation. Raises ServiceFailed, after the SDK's own retries."""
    import openai

    with _client(settings) as client:
        try:
            answer = client.chat.completions.create(
                model=settings.model,
                messages=[_param(role, content) for role, content in messages],
                temperature=0.8,
            )
        except openai.OpenAIError as error:
            raise ServiceFailed(_reason(error)) from error
    content = answer.choices[0].message.content if answer.choices else None
    if not content:
        raise ServiceFailed(f"the model {settings.model} gave an empty answer")
    return content


def speak(settings: ShortsSettings, text: str) -> bytes:
    """`text` spoken, as the bytes of a WAV file. Raises ServiceFailed, after the SDK's own retries."""
    import openai

    with _client(settings) as client:
        try:
            speech = client.audio.speech.create(
                model=settings.speech_model, voice=settings.speech_voice, input=text, response_format="wav"
            )
            return speech.read()
        except openai.OpenAIError as error:
            raise ServiceFailed(_reason(error)) from error


def picture(settings: ShortsSettings, prompt: str, width: int, height: int) -> bytes:
    """A picture of `prompt` as the bytes of an image file, in the shape that is nearest to `width` × `height`.

    Raises ServiceFailed, after one retry by the SDK.
    """
    import openai

    size = min(_IMAGE_SIZES, key=lambda known: abs(known[1] - width / height))[0]
    with _client(settings) as client:
        one_retry = client.with_options(timeout=settings.image_timeout_s, max_retries=min(1, settings.max_retries))
        try:
            answer = one_retry.images.generate(model=settings.image_model, prompt=prompt, size=size, n=1)
        except openai.OpenAIError as error:
            raise ServiceFailed(_reason(error)) from error
    encoded = answer.data[0].b64_json if answer.data else None
    if not encoded:
        raise ServiceFailed(f"the model {settings.image_model} gave no picture")
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ServiceFailed(f"the model {settings.image_model} gave a picture that is not base64: {error}") from error


def _param(role: str, content: str) -> ChatCompletionMessageParam:
    match role:
        case "system":
            return {"role": "system", "content": content}
        case "assistant":
            return {"role": "assistant", "content": content}
        case _:
            return {"role": "user", "content": content}


def _client(settings: ShortsSettings) -> OpenAI:
    # The SDK is slow to import, and most steps never need it.
    from openai import OpenAI

    return OpenAI(
        api_key=settings.openai_api_key,
        base_url=settings.openai_base_url,
        timeout=settings.timeout_s,
        max_retries=settings.max_retries,
    )


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MAX_REASON_CHARS else text[: _MAX_REASON_CHARS - 1] + "…"
