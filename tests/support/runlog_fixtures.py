"""The run log's fixtures; tests/conftest.py makes them known to every test."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from runrelay.runlog import Keys, Retention
from tests.support.runlog import AsyncLog, Kind, Link, Log, SyncLog, Witness, fresh_keys
from tests.support.servers import Server, redis_server_binary


@pytest.fixture(scope="session")
def debian_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One redis-server of Debian's for all tests that change nothing of it."""
    binary = redis_server_binary()
    if binary is None:
        pytest.skip("no redis-server on this machine (Debian: apt-get install redis-server)")
    server = Server(binary, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["valkey", "redis"])
def store(request: pytest.FixtureRequest) -> Server:
    """Either of the two servers that the run log must work with."""
    name = {"valkey": "valkey_server", "redis": "debian_redis"}[request.param]
    server: Server = request.getfixturevalue(name)
    return server


@pytest.fixture(params=["valkey", "redis"])
def start_store(request: pytest.FixtureRequest) -> Callable[..., Server]:
    """Start one of the two servers for this test alone."""
    name = {"valkey": "start_valkey", "redis": "start_redis_server"}[request.param]
    start: Callable[..., Server] = request.getfixturevalue(name)
    return start


@pytest_asyncio.fixture
async def connect_log() -> AsyncIterator[Callable[..., Log]]:
    """Make clients that are closed at the end: `connect_log("sync", url, keys, retention)`."""
    made: list[Log] = []

    def connect(kind: Kind, url: str, keys: Keys, retention: Retention | None = None) -> Log:
        log: Log = SyncLog(url, keys, retention) if kind == "sync" else AsyncLog(url, keys, retention)
        made.append(log)
        return log

    yield connect
    for log in made:
        await log.close()


@pytest.fixture(params=["sync", "async"])
def client_kind(request: pytest.FixtureRequest) -> Kind:
    """Either client, for the tests in which it makes a difference."""
    kind: Kind = request.param
    return kind


@pytest.fixture
def log(store: Server, client_kind: Kind, connect_log: Callable[..., Log]) -> Log:
    """Either client on either server, with keys of the test's own."""
    return connect_log(client_kind, store.url, fresh_keys())


@pytest.fixture
def look(store: Server) -> Iterator[Any]:
    """A plain client to look with, or to do harm with."""
    with store.client() as client:
        yield client


@pytest.fixture
def witness(log: Log, store: Server) -> Iterator[Witness]:
    """Hears the channel of `log`."""
    with Witness.of(store, log.keys) as witness:
        yield witness


@pytest.fixture
def link(store: Server) -> Iterator[Link]:
    """A link to the server that can be broken."""
    link = Link(store.port)
    yield link
    link.close()
