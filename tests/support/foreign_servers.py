"""Other people's servers, as their users start them, with an application that has the relay in it."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.relay import RelayProcess
from tests.support.servers import HOST

__all__ = ["ForeignServer"]

_APP = "tests.support.foreign_app:app"
_GRACE_S = "40"
"""Longer than a test waits: a server that waits so long for its clients has failed it."""


class ForeignServer(RelayProcess):
    """A server's own command. `kind` is one of `KINDS`."""

    KINDS = ("uvicorn", "uvicorn-reload", "gunicorn", "hypercorn")

    def __init__(self, kind: str, folder: Path, redis_url: str, prefix: str) -> None:
        super().__init__(folder, redis_url, prefix)
        self.watched = folder / "watched"
        self.watched.mkdir(exist_ok=True)
        port = str(self.port)
        commands = {
            "uvicorn": ["uvicorn", "--port", port, _APP],
            "uvicorn-reload": ["uvicorn", "--port", port, "--reload", "--reload-dir", str(self.watched), _APP],
            "gunicorn": [
                "gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-b", f"{HOST}:{port}",
                "--graceful-timeout", _GRACE_S, _APP,
            ],
            "hypercorn": ["hypercorn", "-b", f"{HOST}:{port}", "--graceful-timeout", _GRACE_S, _APP],
        }  # fmt: skip
        self._program = [sys.executable, "-m", *commands[kind]]
