"""Fixtures for tests of the relay; tests/conftest.py makes them known to every test.

What tests import is in relay.py, clients.py and recording_pipeline.py.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from runrelay.pipelines import Pipeline
from runrelay.runlog import Keys
from tests.support.recording_pipeline import Input, Works
from tests.support.relay import FAST, Producer, RelayProcess, Served, StartProcess, StartRelay, serve_here


@pytest.fixture
def run_id() -> str:
    """A run id that no other test has; in Korean, as is normal."""
    return f"20251105_1430_우주여행고양이_{secrets.token_hex(3)}"


@pytest.fixture
def keys(prefix: str) -> Keys:
    """The keys under the test's own prefix."""
    return Keys(prefix, f"{prefix}:progress")


@pytest_asyncio.fixture
async def producer(redis_url: str, keys: Keys) -> AsyncIterator[Producer]:
    """Publishes runs to the shared Valkey."""
    producer = Producer(redis_url, keys)
    yield producer
    await producer.runlog.close()


@pytest.fixture
def protocol() -> str:
    """How uvicorn serves WebSockets. Tests of what a client sees run with both: `pytestmark = BOTH_PROTOCOLS`."""
    return FAST


@pytest_asyncio.fixture
async def start_relay(redis_url: str, prefix: str, tmp_path: Path, protocol: str) -> AsyncIterator[StartRelay]:
    """Start relays on the shared Valkey, stopped at the end."""
    async with AsyncExitStack() as stack:

        async def start(pipelines: Any = None, *, ready: bool = True, **settings: Any) -> Served:
            given = {"redis_url": redis_url, "prefix": prefix, "files": tmp_path / "files", **settings}
            return await stack.enter_async_context(serve_here(given, pipelines, ready=ready, ws=protocol))

        yield start


@pytest_asyncio.fixture
async def relay(start_relay: StartRelay) -> Served:
    """A relay in this loop, with times that suit a test."""
    return await start_relay(end_after_s=0.2)


@pytest.fixture
def start_process(redis_url: str, prefix: str, tmp_path: Path) -> Iterator[StartProcess]:
    """Start `runrelay serve` on the shared Valkey (or another: redis_url=…), killed at the end."""
    started: list[RelayProcess] = []

    def start(**settings: Any) -> RelayProcess:
        process = RelayProcess(tmp_path, settings.pop("redis_url", redis_url), prefix, **settings)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def works() -> Works:
    """The pipeline `test` of `working_relay`."""
    return Works()


@pytest_asyncio.fixture
async def working_relay(start_relay: StartRelay, works: Works, tmp_path: Path) -> AsyncIterator[Served]:
    """A relay with the pipelines `test` and `bare`; the second can neither cancel nor name its steps."""
    bare = Pipeline("bare", "Bare", Input, lambda run_id, value, attempt: None)
    yield await start_relay({"test": works.pipeline(), "bare": bare}, end_after_s=0.2, files=tmp_path / "files")
