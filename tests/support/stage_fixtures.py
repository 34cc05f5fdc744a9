"""The fixture for tests with a whole stage (stage.py); tests/conftest.py makes it known to every test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.servers import Server
from tests.support.stage import OpenStage, Stage


@pytest.fixture
def open_stage(tmp_path: Path, prefix: str) -> OpenStage:
    """`open_stage(server, patience_s=…, lossy=…)`."""

    @asynccontextmanager
    async def opened(server: Server, *, patience_s: float = 40.0, lossy: bool = False) -> AsyncIterator[Stage]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(trust_env=False, timeout=10, limits=limits) as http:
            stage = Stage(tmp_path, server, prefix, http, patience_s=patience_s, lossy=lossy)
            try:
                yield stage
            finally:
                await stage.close()

    return opened
