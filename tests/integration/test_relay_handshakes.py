"""A WebSocket's handshake, answered from its first bytes or on the plain way through uvicorn: the same answers."""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import jwt
import pytest

from runrelay.api.handshake import _REQUEST, FirstBytes
from runrelay.api.http_protocol import RequestProtocol
from tests.support.clients import watch
from tests.support.relay import Producer, Served, StartRelay
from tests.support.servers import HOST

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
USUAL = {
    "Host": "relay.example",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
PING = b"\x81\x8f\0\0\0\0" + b'{"type":"ping"}'
SECRET = "s" * 32
TOKEN = jwt.encode({"sub": "me", "exp": time.time() + 3600}, SECRET)
NARROW = jwt.encode({"sub": "me", "runs": ["another"], "exp": time.time() + 3600}, SECRET)


def head(line: str = "GET /ws/known HTTP/1.1", more: str = "", **changed: str | None) -> bytes:
    """A handshake's head; None leaves a header out, `_` in a name stands for `-`."""
    headers = {**USUAL, **{name.replace("_", "-"): value for name, value in changed.items()}}
    lines = [line, *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return ("\r\n".join(lines) + "\r\n" + more + "\r\n").encode("latin-1")


AT_ONCE: dict[str, bytes] = {
    "usual": head(),
    "many": head("GET /ws HTTP/1.1"),
    "many, with a query": head("GET /ws?x=1 HTTP/1.1"),
    "a run in Korean": head(f"GET /ws/{quote('우주여행고양이')} HTTP/1.1"),
    "no run": head("GET /ws/ HTTP/1.1"),
    "a path below": head("GET /ws/a/b HTTP/1.1"),
    "a run that may not be": head("GET /ws/%0A HTTP/1.1"),
    "a cursor": head("GET /ws/known?after=0-0 HTTP/1.1"),
    "two cursors": head("GET /ws/known?after=nonsense&after=0-0 HTTP/1.1"),
    "an empty cursor": head("GET /ws/known?after= HTTP/1.1"),
    "a wrong cursor": head("GET /ws/known?after=nonsense HTTP/1.1"),
    "a fragment": head("GET /ws/known#x HTTP/1.1"),
    "our own page": head(Origin="https://relay.example"),
    "extensions": head(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"),
    "Firefox": head(Connection="keep-alive, Upgrade"),
    "other letters": head(Upgrade="WebSocket", Connection="upgrade", more="USER-AGENT: x\r\n"),
    "spaces around": head(Sec_WebSocket_Version=" 13 ", more="X: \t y \t \r\n"),
    "a header in Latin-1": head(more="X-Name: caf\xe9\r\n"),
    "a token nobody wants": head("GET /ws/known?token=x HTTP/1.1", Authorization="Bearer y"),
}
PLAIN: dict[str, bytes] = {
    "no key": head(Sec_WebSocket_Key=None),
    "a short key": head(Sec_WebSocket_Key=b64encode(b"short").decode()),
    "a key that is none": head(Sec_WebSocket_Key="!" * 24),
    "a key of 17 bytes": head(Sec_WebSocket_Key=b64encode(b"x" * 17).decode()),
    "two keys": head(more=f"Sec-WebSocket-Key: {KEY}\r\n"),
    "no version": head(Sec_WebSocket_Version=None),
    "version 8": head(Sec_WebSocket_Version="8"),
    "another upgrade": head(Upgrade="h2c"),
    "a foreign page": head(Origin="https://evil.example"),
    "a page without a place": head(Origin="null"),
    "two origins": head(Origin="https://relay.example", more="Origin: https://relay.example\r\n"),
    "a subprotocol": head(Sec_WebSocket_Protocol="chat"),
    "a wrong subprotocol": head(Sec_WebSocket_Protocol="a b"),
    "another path": head("GET /wsx HTTP/1.1"),
    "POST": head("POST /ws/known HTTP/1.1", Content_Length="0"),
    "HTTP/1.0": head("GET /ws/known HTTP/1.0"),
    "a body": head(Content_Length="3") + b"abc",
    "a folded header": head(more="X: y\r\n z\r\n"),
    "a header without a name": head(more=": y\r\n"),
    "a line feed alone": head().replace(b"\r\n", b"\n"),
    "65 headers more": head(more="X: y\r\n" * 65),
    "5 KB": head(more="X: " + "y" * 5000 + "\r\n"),
    "no ASCII in the path": head("GET /ws/caf\xe9 HTTP/1.1"),
}


async def _answer(port: int, *pieces: bytes) -> tuple[Any, ...]:
    """Status line, headers but for the date, and what follows up to the first frame's end or the connection's."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            try:
                answer = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionResetError) as error:
                return "closed", getattr(error, "partial", b"")
            status, *lines = answer[:-4].split(b"\r\n")
            headers = sorted(line.lower() for line in lines if not line.lower().startswith(b"date:"))
            if b" 101 " not in status:
                return status, headers
            if pieces[0].startswith((b"GET /ws ", b"GET /ws?")):  # there the client has the first word
                writer.write(PING)
            first = await reader.readexactly(2)
            size = first[1] if first[1] < 126 else int.from_bytes(await reader.readexactly(2), "big")
            return status, headers, first, await reader.readexactly(size)
    finally:
        writer.transport.abort()


async def _both_ways(
    relay: Served, monkeypatch: pytest.MonkeyPatch, *pieces: bytes
) -> tuple[tuple[Any, ...], tuple[Any, ...], bool]:
    answered: list[bool] = []
    answer = FirstBytes._answer

    def noted(self: FirstBytes, data: bytes) -> bool:
        answered.append(answer(self, data))
        return answered[-1]

    with monkeypatch.context() as patch:
        patch.setattr(FirstBytes, "_answer", noted)
        fast = await _answer(relay.port, *pieces)
        relay.relay.answers_handshakes = False
        plain = await _answer(relay.port, *pieces)
        relay.relay.answers_handshakes = True
    return fast, plain, answered == [True]


@pytest.mark.parametrize("kind", [*AT_ONCE, *PLAIN])
async def test_both_ways_give_the_same_answer(
    relay: Served, producer: Producer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused on one way would be let in on the other, or a client would need to know which one it met."""
    await producer.say("known", log="one")
    fast, plain, at_once = await _both_ways(relay, monkeypatch, {**AT_ONCE, **PLAIN}[kind])
    assert fast == plain
    assert at_once is (kind in AT_ONCE), "the usual ones are answered at once, the others are not"


@pytest.mark.parametrize(
    ("line", "authorization"),
    [
        ("GET /ws/known HTTP/1.1", None), ("GET /ws/known HTTP/1.1", "Bearer x"),
        ("GET /ws/known?token=x HTTP/1.1", None),
        ("GET /ws/known HTTP/1.1", f"Bearer {TOKEN}"), (f"GET /ws/known?token={TOKEN} HTTP/1.1", None),
        ("GET /ws/known HTTP/1.1", f"Bearer {NARROW}"), (f"GET /ws/another?token={NARROW} HTTP/1.1", None),
    ],
)  # fmt: skip
async def test_tokens_are_asked_for_on_both_ways(
    start_relay: StartRelay, line: str, authorization: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds the quick way would be let in without a token."""
    relay = await start_relay(jwt_secret=SECRET)
    fast, plain, at_once = await _both_ways(relay, monkeypatch, head(line, Authorization=authorization))
    assert fast == plain
    assert at_once
    let_in = b"initial_state" in fast[3]
    assert let_in is (TOKEN in line + str(authorization) or "another" in line)


async def test_limits_hold_on_both_ways(start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands from one address would be let in, or none at the limit be told why."""
    relay = await start_relay(max_connections_per_address=1, max_connections=2)
    async with watch(relay.ws()) as client:
        await client.ping()
        fast, plain, at_once = await _both_ways(relay, monkeypatch, head())
        assert b"too many connections from this address" in fast[3]
        assert fast == plain
        assert not at_once
    fast, _, at_once = await _both_ways(relay, monkeypatch, head())
    assert at_once


async def test_a_handshake_in_pieces_goes_the_plain_way(relay: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow link would make a client wait for ever."""
    begun, received = asyncio.Event(), RequestProtocol.data_received

    def noted(self: RequestProtocol, data: bytes) -> None:
        begun.set()
        received(self, data)

    monkeypatch.setattr(RequestProtocol, "data_received", noted)
    request = head()
    reader, writer = await asyncio.open_connection(HOST, relay.port)
    writer.write(request[:30])
    async with asyncio.timeout(10):
        await begun.wait()
        writer.write(request[30:])
        assert b" 101 " in await reader.readline()
    writer.transport.abort()


def test_the_time_that_a_request_takes_grows_with_its_length() -> None:
    """A pattern that goes back and forth could be kept busy for minutes with one packet."""
    hostile = [
        b"GET /ws/" + b"?" * 4000, b"GET /ws/" + b"a?" * 2000 + b" HTTP/1.1\r\n",
        b"GET /ws HTTP/1.1\r\n" + b"a:" * 2000,
        b"GET /ws HTTP/1.1\r\n" + b"a: \t" * 1000, b"GET /ws HTTP/1.1\r\n" + b"a:\r\n" * 800 + b"\n",
    ]  # fmt: skip
    began_s = time.process_time()
    for data in hostile:
        assert _REQUEST.fullmatch(data) is None
    assert time.process_time() - began_s < 0.1
