"""The README's first lines of code: they are what a stranger pastes into an empty folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from runrelay.cli import parent_death
from tests.support.clients import eventually
from tests.support.servers import HOST, Server, free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
_FILES = ("tasks.py", "start.py", "web.py")


def blocks(server: Server) -> list[str]:
    """The README's Python blocks, with this server instead of a Redis on port 6379, and less work."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [
        block.replace("redis://localhost:6379/", server.url.removesuffix("0")).replace("sleep(0.5)", "sleep(0.01)")
        for block in found
    ]


@pytest.fixture
def server(start_valkey: Callable[..., Server]) -> Server:
    return start_valkey()


@pytest.fixture
def folder(tmp_path: Path, server: Server) -> Path:
    """An empty folder with the three files."""
    made = tmp_path / "empty"
    made.mkdir()
    for name, block in zip(_FILES, blocks(server), strict=True):
        (made / name).write_text(block)
    return made


@pytest.fixture
def start(folder: Path, server: Server) -> Iterator[Callable[..., None]]:
    """Start a program in the folder; it is ended after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*module: str) -> None:
        command = parent_death.command([sys.executable, "-m", *module], signal.SIGTERM)
        started.append(subprocess.Popen(command, cwd=folder, env={**os.environ, "REDIS_URL": server.url}))

    yield begin
    for process in started:
        process.terminate()
    for process in started:
        process.wait(20)


async def test_the_three_files_do_what_the_readme_says(
    folder: Path, server: Server, start: Callable[..., None]
) -> None:
    """The worker's block raised NameError, and sent a task whenever it was imported."""
    environment = {**os.environ, "REDIS_URL": server.url}
    subprocess.run([sys.executable, "-c", "import tasks"], cwd=folder, env=environment, check=True, timeout=60)
    with server.client() as redis:
        assert redis.info("keyspace") == {}, "an import sends nothing"
    port = free_port()
    start("celery", "-A", "tasks", "worker", "--pool", "solo", "--loglevel", "warning")
    start("uvicorn", "web:app", "--port", str(port), "--log-level", "warning")
    subprocess.run([sys.executable, "start.py"], cwd=folder, env=environment, check=True, timeout=60)
    with httpx.Client(base_url=f"http://{HOST}:{port}", trust_env=False) as http:
        snapshot: dict[str, object] = {}

        def ended() -> bool:
            try:
                snapshot.update(http.get("/api/runs/film-7").json())
            except httpx.TransportError:
                return False
            return snapshot.get("status") == "succeeded"

        await eventually(ended, "the run has succeeded", deadline_s=30)
    assert snapshot["title"] == "A film"
    assert snapshot["result"] == {"file": "film.mp4"}
    assert snapshot["logs"] == ["reading the plan", "the film is ready"]
