"""Fixtures that every test may use: real servers, a key prefix of one's own, and an empty environment."""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.servers import Server, redis_server_binary, valkey_binary

pytest_plugins = ["tests.support.relay_fixtures", "tests.support.runlog_fixtures", "tests.support.stage_fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long forms of the fault tests (make test-faults)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        for item in items:
            item.add_marker(pytest.mark.timeout(600))
        return
    kept = [item for item in items if item.get_closest_marker("long") is None]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """Whether tests run in their long form."""
    return bool(request.config.getoption("--long"))


def pytest_configure() -> None:
    # What the developer has set for their own runs must neither change the tests nor be written to by them.
    for name in list(os.environ):
        if name.startswith(("RUNRELAY_", "OPENAI_")) or name in ("REDIS_URL", "CELERY_BROKER_URL", "PORT"):
            del os.environ[name]


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One Valkey for all tests that neither stop it nor change its settings; keep to your own `prefix`."""
    server = Server(valkey_binary(), tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(valkey_server: Server) -> str:
    """The URL of the shared Valkey."""
    return valkey_server.url


@pytest.fixture
def prefix() -> str:
    """A key and channel prefix that no other test has."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture
def start_valkey(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a Valkey of the test's own, `start_valkey(maxmemory="10mb")`; `_` stands for `-`."""
    yield from _factory(valkey_binary(), tmp_path)


@pytest.fixture
def start_redis_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start Debian's redis-server in the same way; skips where it is not installed."""
    binary = redis_server_binary()
    if binary is None:
        pytest.skip("no redis-server on this machine (Debian: apt-get install redis-server)")
    yield from _factory(binary, tmp_path)


def _factory(binary: Path, folder: Path) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(**config: str) -> Server:
        data_dir = folder / f"{binary.name}-{len(started)}"
        data_dir.mkdir()
        server = Server(binary, data_dir, {name.replace("_", "-"): value for name, value in config.items()})
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.kill()
