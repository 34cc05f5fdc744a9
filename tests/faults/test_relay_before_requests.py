"""What a client can send before there is a request: slowly, without end, too much, or nothing at all."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from runrelay.api import http_protocol
from runrelay.fastapi import router
from runrelay.relay import Settings
from tests.support.clients import eventually, watch
from tests.support.raw_http import UPGRADE, answer_to, read_answer, silent_sockets, status_of, trickle
from tests.support.relay import Producer, RelayProcess, StartProcess, StartRelay, serve_here
from tests.support.servers import HOST, Server

SECRET = "a secret of thirty-two characters"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /api/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CLOSE = b"Connection: close\r\n\r\n"
UNBOUNDED = {"max_half_open": 0, "max_half_open_per_address": 0}
NO_SIZES = {"max_url_bytes": 0, "max_header_bytes": 0, "max_headers": 0, "max_body_bytes": 0}
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="counts the files of another process in /proc")


def _problem(answer: bytes) -> dict[str, object]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head, answer
    assert b"connection: close" in head, answer
    problem: dict[str, object] = json.loads(body)
    assert problem["status"] == status_of(answer)
    return problem


# Time


def _slow_headers(relay: RelayProcess) -> None:
    began = time.monotonic()
    assert status_of(trickle(relay.port, GET + b"X-Slow: ", b"x", 5)) == 408
    assert time.monotonic() - began > 0.9
    assert trickle(relay.port, b"", b"", 5) == b"", "one that says nothing at all is closed without a word"
    assert status_of(trickle(relay.port, b"\r\n", b"\r\n", 5)) == 408, "empty lines are no request"


@pytest.mark.slow
def test_headers_have_a_deadline(start_process: StartProcess) -> None:
    """A byte every tenth of a second would hold a connection for ever (slowloris)."""
    _slow_headers(start_process(headers_within_s=1))
    with pytest.raises(AssertionError, match="still listens"):
        _slow_headers(start_process(headers_within_s=0))


def _slow_bodies(relay: RelayProcess) -> None:
    assert status_of(trickle(relay.port, POST + b"Content-Length: 1000\r\n\r\n{", b" ", 5)) == 408
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    assert status_of(trickle(relay.port, chunked, b"1\r\n \r\n", 5)) == 408
    assert status_of(trickle(relay.port, chunked + b"1;", b"x", 5)) == 408, "a chunk's extension may be endless, too"


@pytest.mark.slow
def test_bodies_have_a_deadline(start_process: StartProcess) -> None:
    """A body that comes byte by byte would hold a connection, and the request's task."""
    relay = start_process(body_within_s=1)
    _slow_bodies(relay)
    assert "Traceback" not in relay.log, "a client that is too slow is no error of ours"
    with pytest.raises(AssertionError, match="still listens"):
        _slow_bodies(start_process(body_within_s=0))


@LINUX
def test_idle_connections_are_closed(start_process: StartProcess) -> None:
    """Whoever has asked once would hold a connection."""
    relay = start_process(keep_alive_s=1, headers_within_s=1)
    with socket.create_connection((HOST, relay.port)) as connection:
        connection.sendall(GET + b"\r\n" + GET + b"\r\n")
        answer = read_answer(connection)
        assert answer.count(b"HTTP/1.1 200 OK") == 2, "both, and then the end"
    with socket.create_connection((HOST, relay.port)) as connection:
        connection.sendall(GET + b"\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")
        connection.sendall(GET)
        assert b"HTTP/1.1 408" in read_answer(connection), "the deadline holds for the second request, too"


async def test_who_does_not_take_the_answer_is_gone(
    start_relay: StartRelay, producer: Producer, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for much and reads nothing would hold a connection, and what waits for it."""
    monkeypatch.setattr(http_protocol, "_STALLED_S", 0.3)
    relay = await start_relay()
    for number in range(500):
        await producer.say(run_id, log=f"{number} " + "x" * 16_000)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((HOST, relay.port))
        connection.sendall(b"GET " + relay.run(run_id, "/logs").removeprefix(relay.url).encode() + b" HTTP/1.1\r\n\r\n")
        await eventually(lambda: relay.server.server_state.tasks, "the answer is on its way")
        await eventually(lambda: not relay.server.server_state.connections, "the connection is closed")
        await eventually(lambda: not relay.server.server_state.tasks, "and the request's task is over")


# Sizes


def _sizes(relay: RelayProcess) -> None:
    many = b"".join(b"X-%d: a\r\n" % number for number in range(1000))
    assert "100 headers" in str(_problem(answer_to(relay.port, GET, many, CLOSE))["detail"])
    long = answer_to(relay.port, b"GET /healthz?x=", b"a" * 60_000, b" HTTP/1.1\r\nHost: x\r\n", CLOSE)
    assert _problem(long)["status"] == 414
    large = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 7000) for number in range(5))
    assert _problem(answer_to(relay.port, GET, large, CLOSE))["status"] == 431
    assert _problem(answer_to(relay.port, b"GET /", b"a" * 200_000))["status"] == 414, "nor that of a URL"
    endless = answer_to(relay.port, GET, b"X-Endless: " + b"a" * 200_000)
    assert _problem(endless)["status"] == 431, "the end of a header is not waited for"


def test_urls_and_headers_are_bounded(start_process: StartProcess) -> None:
    """The parser has no limits: a header without an end would fill the relay."""
    _sizes(start_process())
    with pytest.raises(AssertionError):
        _sizes(start_process(**NO_SIZES))


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (b"/ws/x?token=" + b"a" * 6_000, b"", 101),
        (b"/ws/x", b"Authorization: Bearer " + b"a" * 7_000 + b"\r\n", 101),
        (b"/ws/x", b"".join(b"X-%d: a\r\n" % number for number in range(90)), 101),
        (b"/ws/x?token=" + b"a" * 9_000, b"", 414),
        (b"/ws/x?token=" + b"a" * 16_000, b"", 414),
        (b"/ws/x", b"Cookie: " + b"a" * 9_000 + b"\r\n", 431),
        (b"/ws/x", b"".join(b"X-%d: a\r\n" % number for number in range(130)), 431),
        (b"/ws/x", b"Content-Length: 5\r\n", 400),
        (b"/ws/x", b"X y: z\r\n", 400),
    ],
    ids=["token", "bearer", "headers", "9 KB URL", "16 KB URL", "9 KB header", "130 headers", "body", "bad name"],
)
def test_every_handshake_is_answered(
    path: bytes, headers: bytes, status: int, sized: RelayProcess, unsized: RelayProcess
) -> None:
    """A handshake that the WebSocket parser could not read was never answered, and its connection never closed."""
    for relay in (sized, unsized):  # without our limits, the parser's own are left
        answer = answer_to(relay.port, b"GET ", path, b" HTTP/1.1\r\n", UPGRADE, headers, b"\r\n")
        assert status_of(answer) == status
        if status != 101:
            assert _problem(answer)["detail"]


@pytest.fixture(scope="module")
def sized(valkey_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """A relay with the limits that it has by default."""
    yield from _relay(valkey_server, tmp_path_factory)


@pytest.fixture(scope="module")
def unsized(valkey_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """A relay without limits on sizes."""
    yield from _relay(valkey_server, tmp_path_factory, **NO_SIZES)


def _relay(server: Server, folders: pytest.TempPathFactory, **settings: Any) -> Iterator[RelayProcess]:
    relay = RelayProcess(folders.mktemp("relay"), server.url, f"t{secrets.token_hex(4)}", **settings)
    relay.start()
    yield relay
    relay.kill()


# Bodies


def _chunks(count: int) -> bytes:
    return (b"1000\r\n" + b" " * 4096 + b"\r\n") * count


def _large_bodies(relay: RelayProcess) -> None:
    declared = answer_to(relay.port, POST, b"Content-Length: 10000000\r\n\r\n")
    assert "131072" in str(_problem(declared)["detail"]), "refused without a byte of it"
    assert _problem(declared)["status"] == 413
    asked = answer_to(relay.port, POST, b"Expect: 100-continue\r\nContent-Length: 10000000\r\n\r\n")
    assert status_of(asked) == 413, "and it is not asked for"
    chunked = answer_to(relay.port, POST, b"Transfer-Encoding: chunked\r\n\r\n", _chunks(40))
    assert _problem(chunked)["status"] == 413, "a body without an end is cut when it is too long"


def test_bodies_are_bounded(sized: RelayProcess, unsized: RelayProcess) -> None:
    """A body was read into memory as long as it came, from whoever sent it."""
    _large_bodies(sized)
    fits = answer_to(
        sized.port,
        POST,
        CLOSE.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        _chunks(31),
        b"0\r\n\r\n",
    )
    assert status_of(fits) == 422, "131,072 bytes are read, and are no JSON"
    with pytest.raises(AssertionError):
        _large_bodies(unsized)


def test_what_stands_around_a_body_is_bounded(sized: RelayProcess) -> None:
    """Headers after a chunked body, or a chunk's extension, would be read for as long as the body's deadline allows."""
    for endless in (b"0\r\nX-Endless: ", b"1;", b"0\r\n"):
        sent = [POST, b"Transfer-Encoding: chunked\r\n\r\n", endless]
        more = b"X: a\r\n" if endless == b"0\r\n" else b"aaaaaa"
        assert status_of(answer_to(sized.port, *sent, more * 250_000)) == 400
    # and are not taken for headers of the request
    after = b"0\r\nAuthorization: Bearer x\r\n\r\n"
    chunked = POST + CLOSE.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert status_of(answer_to(sized.port, chunked, b"2\r\n{}\r\n", after)) == 422


def test_an_answer_arrives_although_the_body_is_still_sent(sized: RelayProcess) -> None:
    """A connection that is closed with unread data is reset: the client would not learn why."""
    for _ in range(20):
        with socket.create_connection((HOST, sized.port)) as connection:
            connection.sendall(POST + b"Content-Length: 2000000\r\n\r\n")
            connection.sendall(b" " * 2_000_000)
            assert status_of(read_answer(connection)) == 413


def test_the_token_is_looked_at_before_the_body(start_process: StartProcess) -> None:
    """Whoever has no token could make the relay read for as long as they liked."""
    relay = start_process(jwt_secret=SECRET, max_body_bytes=0)
    covers = {"exp": time.time() + 60, "runs": ["another"]}
    forged = jwt.encode({"exp": time.time() + 60}, "another secret of thirty-two chars", "HS256")
    for token, status in (("", 401), (forged, 401), (jwt.encode(covers, SECRET, "HS256"), 403)):
        bearer = b"Authorization: Bearer " + token.encode() + b"\r\n"
        answer = answer_to(relay.port, POST, bearer, b"Content-Length: 100000000\r\n\r\n")
        assert _problem(answer)["status"] == status
    enough = jwt.encode({"exp": time.time() + 60}, SECRET, "HS256").encode()
    wanted = b"Authorization: Bearer " + enough + b"\r\nContent-Length: 2\r\n" + CLOSE + b"{}"
    assert status_of(answer_to(relay.port, POST, wanted)) == 422


async def test_the_limits_hold_in_an_application_of_somebody_else(redis_url: str, prefix: str, tmp_path: Path) -> None:
    """Under another server, in another application, there is none of our protocol classes."""
    app = FastAPI()
    settings = Settings(redis_url=redis_url, prefix=prefix, files=tmp_path, jwt_secret=SecretStr(SECRET))
    app.include_router(router(settings), prefix="/relay")
    token = jwt.encode({"exp": time.time() + 60}, SECRET, "HS256")
    async with serve_here({}, app=app, http="h11") as served:

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b" " * 4096

        answer = await served.http.post(
            "/relay/api/runs", content=endless(), headers={"Authorization": f"Bearer {token}"}
        )
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
        post = POST.replace(b"/api", b"/relay/api") + b"Content-Length: 100000000\r\n\r\n"
        answered = await asyncio.to_thread(_first_line, served.port, post)
        assert b" 401 " in answered, "before a byte of the body"


def _first_line(port: int, sent: bytes) -> bytes:
    with socket.create_connection((HOST, port), 5) as connection:
        connection.sendall(sent)
        return connection.recv(65536).partition(b"\r\n")[0]


# Floods


def _flooded(relay: RelayProcess, run_id: str, count: int) -> int:
    """How many files the relay has open under a flood of sockets that say nothing, or the half of something."""
    words = (b"", b"GET /ws/x HTTP/1.1\r\nUpgrade: web", POST + b"Content-Length: 100\r\n\r\n{")
    with silent_sockets(relay.port, count, words):
        with httpx.Client(trust_env=False, timeout=5) as http:
            assert http.get(f"{relay.url}/healthz").status_code == 200, "an honest client is served"
        answer = answer_to(relay.port, b"GET /ws/", quote(run_id).encode(), b" HTTP/1.1\r\n", UPGRADE, b"\r\n")
        assert status_of(answer) == 101
        until = time.monotonic() + 5
        while (opened := relay.open_files) > 200 and time.monotonic() < until:
            time.sleep(0.1)
        return opened


@LINUX
@pytest.mark.slow
def test_silent_sockets_are_bounded(start_process: StartProcess, run_id: str) -> None:
    """Sockets that say nothing would use up the relay's files, and the connections behind a load balancer."""
    bounds = {"max_half_open": 100, "headers_within_s": 60, "body_within_s": 60}
    assert _flooded(start_process(**bounds), run_id, 2000) < 200
    bounds = {"max_half_open_per_address": 100, "headers_within_s": 60, "body_within_s": 60}
    assert _flooded(start_process(**bounds), run_id, 2000) < 200
    assert _flooded(start_process(**UNBOUNDED, headers_within_s=60, body_within_s=60), run_id, 2000) > 2000


@LINUX
@pytest.mark.long
def test_a_flood_does_not_use_up_the_open_files(start_process: StartProcess, run_id: str) -> None:
    """With no file left, nobody is accepted any more: not even by a health check."""
    relay = start_process(ulimit="-n 256")
    assert "RUNRELAY_MAX_CONNECTIONS is 10000, but the limit on open files (256) leaves room for 160" in relay.log
    assert _flooded(relay, run_id, 1000) < 256
    with pytest.raises((httpx.TransportError, OSError, AssertionError)):
        _flooded(start_process(ulimit="-n 256", **UNBOUNDED), run_id, 1000)


@LINUX
def test_the_limit_on_open_files_is_raised(start_process: StartProcess) -> None:
    """It is 1,024 on most machines, below the number of connections that a relay takes by default."""
    relay = start_process(ulimit="-Sn 1024", max_connections=3000)
    soft, hard = next(
        line.split()[3:5] for line in Path(f"/proc/{relay.pid}/limits").read_text().splitlines() if "open files" in line
    )
    assert soft == hard
    assert int(hard) < 6000 or "MAX_CONNECTIONS" not in relay.log, "it fits, so nothing is said"


@LINUX
@pytest.mark.slow
def test_refused_handshakes_are_bounded(start_process: StartProcess) -> None:
    """Who is refused with 4429 need not answer the close: they would hold as many connections as they like."""

    def held(relay: RelayProcess) -> int:
        with silent_sockets(relay.port, 120, [b"GET /ws/x HTTP/1.1\r\n" + UPGRADE + b"\r\n"]) as opened:
            said = b""
            while b"4429" not in said:
                said += opened[-1].recv(4096)
            until = time.monotonic() + 2.5
            while (files := relay.open_files) >= 70 and time.monotonic() < until:
                time.sleep(0.1)
            return files

    assert held(start_process(max_connections_per_address=1, max_half_open=20)) < 70
    assert held(start_process(max_connections_per_address=1, **UNBOUNDED)) > 120


async def test_honest_clients_that_come_at_once_are_not_thinned(start_relay: StartRelay) -> None:
    """After a restart of a relay all of its clients come in the same second, many of them behind one address."""
    relay = await start_relay(max_half_open=10, max_half_open_per_address=5)
    async with AsyncExitStack() as stack:
        clients = [stack.enter_async_context(watch(relay.ws("a run"), "a run")) for _ in range(200)]
        for client in await asyncio.gather(*clients):
            await client.frame("initial_state")
    assert relay.relay.metrics.half_open_closed == 0
    await eventually(lambda: relay.relay.half_open.total == 0, "nothing is left behind")


@LINUX
@pytest.mark.slow
def test_a_busy_relay_reads_before_it_closes(start_process: StartProcess) -> None:
    """A relay that was stopped or busy for seconds would close all who came meanwhile, with their requests unread."""
    relay = start_process(headers_within_s=3)
    with ExitStack() as opened:
        connections = [opened.enter_context(socket.create_connection((HOST, relay.port))) for _ in range(50)]
        assert status_of(answer_to(relay.port, GET, CLOSE)) == 200, "all of them are accepted"
        relay.signal(signal.SIGSTOP)
        for connection in connections:
            connection.sendall(GET + CLOSE)
        time.sleep(3.5)  # the fault: so long is it busy
        relay.signal(signal.SIGCONT)
        assert [status_of(read_answer(connection, 10)) for connection in connections] == [200] * 50
