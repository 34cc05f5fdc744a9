"""What the tests of the shorts pipeline share: a recording report, a small format, and a server in OpenAI's place."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipelines.shorts.layout import Layout, lay_out
from pipelines.shorts.paint.scene import FilmFormat
from pipelines.shorts.settings import ShortsSettings
from pipelines.shorts.story.storyteller import tell
from pipelines.shorts.vocabulary import Locale

SMALL = FilmFormat(width=144, height=256, fps=8)
OFFLINE = ShortsSettings(film_format=SMALL)
ORIGINAL_WEIGHTS = {"plan": 25, "images": 15, "music": 10, "voice": 15, "mix": 10, "render": 5, "qa": 20}
"""The steps' shares, in percent, with which the log lines stand where the original had them (REQUIREMENTS S1)."""


@dataclass
class Said:
    """One call of a report."""

    state: str | None
    progress: float | None
    log: str | None
    level: str
    data: dict[str, Any] | None


@dataclass
class Recorder:
    """A report that remembers."""

    said: list[Said] = field(default_factory=list)

    def __call__(
        self,
        *,
        state: str | None = None,
        progress: float | None = None,
        log: str | None = None,
        level: str = "info",
        data: dict[str, Any] | None = None,
    ) -> None:
        self.said.append(Said(state, progress, log, level, data))

    @property
    def logs(self) -> list[str]:
        return [said.log for said in self.said if said.log is not None]

    @property
    def warnings(self) -> list[str]:
        return [said.log for said in self.said if said.log is not None and said.level == "warning"]

    @property
    def progress(self) -> list[float]:
        return [said.progress for said in self.said if said.progress is not None]


def original_place(step: str, progress: float) -> float:
    """Where `progress` of `step` stood in the original system's run, 0..1, with all steps before it done."""
    names = list(ORIGINAL_WEIGHTS)
    before = sum(ORIGINAL_WEIGHTS[name] for name in names[: names.index(step)])
    return round((before + ORIGINAL_WEIGHTS[step] * progress) / 100, 4)


def layout_for(prompt: str, locale: Locale = "ko", film_format: FilmFormat = SMALL) -> Layout:
    return lay_out(tell(prompt, locale), prompt, locale, film_format)


@dataclass
class Reply:
    """What the server answers once: a chat message (text), sound or a picture (bytes), or an error (status)."""

    body: str | bytes = ""
    status: int = 200


@dataclass
class FakeOpenAI:
    """A server on loopback that speaks as much of OpenAI's protocol as the pipeline uses."""

    base_url: str
    chat: list[Reply]
    speech: list[Reply]
    images: list[Reply]
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def settings(self, max_retries: int = 0) -> ShortsSettings:
        return ShortsSettings(
            openai_api_key="test-key",
            openai_base_url=self.base_url,
            max_retries=max_retries,
            timeout_s=20.0,
            film_format=SMALL,
        )

    def asked(self, path: str) -> list[dict[str, Any]]:
        return [body for where, body in self.requests if where.endswith(path)]


@contextmanager
def fake_openai(
    chat: list[Reply] | None = None, speech: list[Reply] | None = None, images: list[Reply] | None = None
) -> Iterator[FakeOpenAI]:
    """Serve the replies in order; the last one of each kind is repeated, and without any the path is not found."""

    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append((self.path, body))
            kinds = {"completions": server.chat, "speech": server.speech, "generations": server.images}
            replies = kinds[self.path.rsplit("/", 1)[-1]]
            with lock:
                reply = Reply(status=404) if not replies else replies.pop(0) if len(replies) > 1 else replies[0]
            if reply.status != 200:
                self._answer(reply.status, b'{"error": {"message": "it is broken"}}', "application/json")
            elif replies is server.images:
                encoded = reply.body if isinstance(reply.body, str) else base64.b64encode(reply.body).decode()
                content = json.dumps({"created": 1, "data": [{"b64_json": encoded}]})
                self._answer(200, content.encode(), "application/json")
            elif isinstance(reply.body, bytes):
                self._answer(200, reply.body, "audio/wav")
            else:
                self._answer(200, json.dumps(_completion(reply.body)).encode(), "application/json")

        def _answer(self, status: int, body: bytes, media_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet: a request is not news."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = FakeOpenAI(f"http://127.0.0.1:{httpd.server_address[1]}/v1", chat or [], speech or [], images or [])
    thread = threading.Thread(target=httpd.serve_forever, name="fake-openai", kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def _completion(content: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "test",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
    }
