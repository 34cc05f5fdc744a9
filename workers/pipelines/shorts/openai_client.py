"""The paid services: a scenario and a voice from OpenAI, or from any server that speaks its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pipelines.shorts.settings import ShortsSettings

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

__all__ = ["Message", "ServiceFailed", "ask", "speak"]

Message = tuple[Literal["system", "user", "assistant"], str]
_MAX_REASON_CHARS = 200


class ServiceFailed(Exception):
    """The service answered with an error, or not at all; the message is one readable line."""


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
