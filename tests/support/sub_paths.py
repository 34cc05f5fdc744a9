"""A relay below a path: behind nginx, which serves it in three ways, mounted in an application, and included in one."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from string import Template
from typing import Any

from fastapi import FastAPI

from runrelay.api import create_app
from runrelay.cli import parent_death
from runrelay.fastapi import Settings, router
from tests.support.clients import eventually
from tests.support.relay import STANDARD, serve_here
from tests.support.servers import HOST, free_port

__all__ = ["BUILT", "NGINX", "SUB_PATHS", "under_a_path"]

BUILT = Path(__file__).resolve().parents[2] / "backend" / "runrelay" / "dashboard" / "index.html"
NGINX = shutil.which("nginx")
_CONFIGURATION = Path(__file__).with_name("sub_path.nginx")
SUB_PATHS = ("/relay", "/told", "/kept", "/included", "/mounted")


@asynccontextmanager
async def under_a_path(settings: dict[str, Any], folder: Path) -> AsyncIterator[dict[str, str]]:
    """The address of a relay below each of `SUB_PATHS`. The first three are nginx'."""
    given = {"drain_s": 0.5, "dashboard": True, **settings}
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(serve_here(given))
        rooted = await stack.enter_async_context(serve_here({**given, "root_path": "/kept"}))
        app = FastAPI()
        app.include_router(router(Settings(**given), {}, dashboard=True), prefix="/included")
        app.mount("/mounted", inner := create_app(Settings(**given), {}))
        await stack.enter_async_context(inner.router.lifespan_context(inner))
        application = await stack.enter_async_context(serve_here({}, app=app, ws=STANDARD))
        proxy = await stack.enter_async_context(_nginx(folder, relay=relay.port, rooted=rooted.port))
        ports = dict.fromkeys(SUB_PATHS[:3], proxy) | dict.fromkeys(SUB_PATHS[3:], application.port)
        yield {path: f"http://{HOST}:{port}{path}" for path, port in ports.items()}


@asynccontextmanager
async def _nginx(folder: Path, **ports: int) -> AsyncIterator[int]:
    assert NGINX is not None
    port = free_port()
    text = Template(_CONFIGURATION.read_text()).substitute(folder=folder, port=port, **ports)
    (folder / "nginx.conf").write_text(text)
    # `-e`: the log until the configuration is read
    command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log")]
    process = subprocess.Popen(parent_death.command(command, signal.SIGTERM))
    try:
        await eventually(lambda: (folder / "nginx.pid").exists() or process.poll() is not None, "nginx runs")
        assert process.poll() is None, (folder / "nginx.log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait()
