"""A Redis that wants TLS and a password, as those that are rented do: worker, relay and viewers over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from runrelay.errors import RunlogError, RunlogUnavailable
from runrelay.progress import make_event
from runrelay.runlog import AsyncRunLog, Batch, Keys, ProducerSequence, RunLog
from tests.support.clients import eventually, watch
from tests.support.relay import Producer, StartRelay
from tests.support.servers import HOST, Server, free_port, make_certificate

PASSWORD = "s3cret-스프링"


@dataclass(frozen=True)
class Guarded:
    """A server that shows only a PING to who has no password, and all else over TLS."""

    server: Server
    port: int
    authority: Path

    def url(self, password: str = PASSWORD) -> str:
        return f"rediss://app:{password}@{HOST}:{self.port}/0?ssl_ca_certs={self.authority}"


@pytest.fixture
def guarded(start_redis_server: Callable[..., Server], tmp_path: Path) -> Guarded:
    """Debian's redis-server with a certificate of its own. Valkey from PyPI is built without TLS."""
    (key, certificate), users = make_certificate(tmp_path), tmp_path / "users.acl"
    users.write_text(f"user default on nopass -@all +ping\nuser app on >{PASSWORD} ~* &* +@all\n", encoding="utf-8")
    port = free_port()
    server = start_redis_server(
        tls_port=str(port),
        tls_cert_file=str(certificate),
        tls_key_file=str(key),
        tls_ca_cert_file=str(certificate),
        tls_auth_clients="no",
        aclfile=str(users),
        appendonly="yes",
    )
    return Guarded(server, port, certificate)


async def test_viewers_over_tls_miss_nothing_when_it_restarts(
    guarded: Guarded, start_relay: StartRelay, keys: Keys, run_id: str
) -> None:
    """The listener reads the parser of redis-py's connection itself: it must do so behind TLS and AUTH, too."""
    relay = await start_relay(redis_url=guarded.url())
    producer = Producer(guarded.url(), keys)
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        # many times what one read of the socket brings: TLS records and pushes end in different places
        first = await producer.commit(run_id, [make_event(log=f"{n} " + "긴 줄 " * 300) for n in range(200)])
        await client.reached(str(first.cursor))
        guarded.server.kill()
        await client.frame("upstream", status="down")
        guarded.server.start()
        await client.frame("upstream", status="up")
        await client.reached(await producer.lines(run_id, 1, 3))
    await producer.runlog.close()


async def test_a_worker_commits_over_tls(guarded: Guarded, keys: Keys, run_id: str) -> None:
    """The worker's client is another one than the relay's."""
    runlog = RunLog(guarded.url(), keys)
    (done,) = runlog.commit_many([Batch(run_id, ProducerSequence.fresh().producer, 1, [make_event(log="over TLS")])])
    runlog.close()
    reader = AsyncRunLog(guarded.url(), keys)
    assert [line.message for line in (await reader.read(run_id)).snapshot.logs] == ["over TLS"], done
    await reader.close()


@pytest.mark.parametrize("spelling", ["CERT_NONE", "none", "CERT_REQUIRED", "required"])
async def test_both_of_celery_s_spellings_of_ssl_cert_reqs_work(
    guarded: Guarded, keys: Keys, run_id: str, spelling: str
) -> None:
    """A URL with which Celery works, and every event is given up (redis-py knows the short names only)."""
    url = f"{guarded.url()}&ssl_cert_reqs={spelling}"
    if spelling.lower().endswith("none"):
        url = f"{guarded.url().partition('?')[0]}?ssl_cert_reqs={spelling}"
    runlog = RunLog(url, keys)
    (done,) = runlog.commit_many([Batch(run_id, ProducerSequence.fresh().producer, 1, [make_event(log="over TLS")])])
    runlog.close()
    assert not isinstance(done, RunlogError)
    reader = AsyncRunLog(url, keys)
    assert [line.message for line in (await reader.read(run_id)).snapshot.logs] == ["over TLS"]
    await reader.close()


@pytest.mark.parametrize("wrong", ["password", "authority"])
async def test_who_is_not_let_in_says_so(
    guarded: Guarded, start_relay: StartRelay, keys: Keys, run_id: str, wrong: str
) -> None:
    """The controls: without the password, or with a certificate that nobody vouches for, there is no connection."""
    url = guarded.url("guessed") if wrong == "password" else guarded.url().partition("?")[0]
    runlog = AsyncRunLog(url, keys)
    with pytest.raises(RunlogUnavailable, match=r"(?i)password|certificate"):
        await runlog.commit(run_id, [make_event(log="let me in")])
    await runlog.close()
    relay = await start_relay(ready=False, redis_url=url)
    async with watch(relay.ws(run_id), run_id) as client:
        assert await client.frame("upstream") == {"type": "upstream", "status": "down"}
        await eventually(lambda: not relay.relay.ready, "the relay says that it is not ready")
        assert (await relay.http.get("/readyz")).status_code == 503
