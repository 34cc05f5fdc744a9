"""A connection that was taken over from uvicorn, against a transport that only records calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from runrelay.codes import CloseCode
from runrelay.fanout import direct_connection
from runrelay.fanout.bounds import ClientBounds
from runrelay.fanout.direct_connection import DirectConnection, Message
from runrelay.fanout.frames import Batch

MASKED_PONG = b"\x8a\x80abcd"


class Transport:
    """A transport to nowhere."""

    waiting = 0

    def __init__(self) -> None:
        self.written: list[bytes | memoryview] = []
        self.aborted = False

    def write(self, data: bytes | memoryview) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def can_write_eof(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> Any:
        return None


class Protocol:
    """uvicorn's protocol, as far as the hand-over needs it."""

    def __init__(self, transport: Transport) -> None:
        self.connections: set[Any] = set()
        self._transport = transport

    def hand_over(self, connection: DirectConnection) -> Transport:
        return self._transport


@pytest.fixture
def heard() -> list[Message]:
    """The client's messages."""
    return []


@pytest.fixture
def transport() -> Transport:
    """The transport to which the connection writes."""
    return Transport()


@pytest.fixture
def connection(transport: Transport, heard: list[Message]) -> Iterator[DirectConnection]:
    """A connection after the handshake."""
    connection = DirectConnection(ClientBounds(1000, 1000))
    protocol: Any = Protocol(transport)
    assert connection.take_over(protocol, heard.append, lambda: None)
    yield connection
    connection.connection_lost(None)


def test_the_rest_of_a_batch_is_not_copied(connection: DirectConnection, transport: Transport) -> None:
    """Copies for thousands of slow clients would fill the memory; a view costs nothing."""
    batch = Batch.of({"type": "said", "pad": "x" * 1000})
    assert connection.send_rest(batch, 600)
    (rest,) = transport.written
    assert isinstance(rest, memoryview)
    assert rest.obj is batch.wire
    assert rest == batch.wire[600:]


async def test_a_close_with_a_long_reason_closes(connection: DirectConnection, transport: Transport) -> None:
    """The reason may be an error's text: more than 123 bytes raised an exception, and the client stayed."""
    connection.close(CloseCode.BAD_REQUEST, "고양이" * 100)
    (frame,) = transport.written
    assert frame[:2] == bytes((0x88, 2 + 123))
    assert bytes(frame[4:]).decode() == "고양이" * 13 + "고양"
    assert connection.closed == (CloseCode.BAD_REQUEST, "고양이" * 13 + "고양")


async def test_the_bound_is_for_bytes_that_wait_not_for_bytes_sent(
    connection: DirectConnection, transport: Transport
) -> None:
    """Behind TLS all bytes go through the transport: a client that reads everything would be cut off as slow."""
    assert connection.send(Batch.of({"type": "said", "pad": "x" * 2000}))
    transport.waiting = 900
    assert connection.send(Batch.of({"type": "said"}))
    assert not connection.send(Batch.of({"type": "said", "pad": "x" * 100}))
    assert connection.closed == (CloseCode.TOO_SLOW, "too slow")


def test_a_client_that_answers_pings_stays_and_a_dead_peer_is_aborted(
    connection: DirectConnection, transport: Transport
) -> None:
    """A phone that has lost its network sends nothing: the connection would stay for ever."""
    for _ in range(3):
        connection.tick()
        assert transport.written.pop() == b"\x89\x00"
        connection.data_received(MASKED_PONG)
    connection.tick()
    connection.tick()
    assert transport.aborted


@pytest.mark.parametrize("cut", [2, 3, 7, 9])
def test_bytes_that_look_like_a_pong_within_a_message_are_the_message_s(
    connection: DirectConnection, heard: list[Message], cut: int
) -> None:
    """The fast check for pongs would take bytes out of a message."""
    payload = b"x" * (cut - 2) + MASKED_PONG + b"y"
    frame = b"\x82" + bytes((0x80 | len(payload),)) + bytes(4) + payload
    begin = frame.index(MASKED_PONG)
    connection.data_received(frame[:begin])
    connection.data_received(MASKED_PONG)
    connection.data_received(b"y")
    assert heard == [payload]


def test_pongs_among_other_frames_are_ignored(connection: DirectConnection, heard: list[Message]) -> None:
    """A pong in the same read, with a payload, or cut in two, would break the frames around it."""
    message = Frame(Opcode.TEXT, b"hello").serialize(mask=True)
    pong = Frame(Opcode.PONG, b"12").serialize(mask=True)
    connection.data_received(MASKED_PONG + message)
    connection.data_received(pong)
    connection.data_received(MASKED_PONG[:3])
    connection.data_received(MASKED_PONG[3:] + message)
    assert heard == ["hello", "hello"]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (Frame(Opcode.TEXT, b"\xff").serialize(mask=True), 1007),
        (Frame(Opcode.TEXT, b"ok \xff", fin=False).serialize(mask=True), 1007),
        (Frame(Opcode.CLOSE, b"\x03\xe8\xff").serialize(mask=True), 1007),
        (Frame(Opcode.CLOSE, b"\x03").serialize(mask=True), 1002),
        (Frame(Opcode.CLOSE, (1005).to_bytes(2, "big")).serialize(mask=True), 1002),
    ],
    ids=["text", "unfinished text", "reason", "one byte", "a code that is never sent"],
)
async def test_frames_that_rfc_6455_forbids_close_the_connection(
    connection: DirectConnection, transport: Transport, heard: list[Message], frame: bytes, code: int
) -> None:
    """Text that is no UTF-8 reached the JSON parser, and a forbidden close code was echoed (the whole suite runs
    in tests/acceptance/test_autobahn.py).
    """
    connection.data_received(frame)
    (answer,) = transport.written
    assert answer[0] == 0x88
    assert int.from_bytes(answer[2:4], "big") == code
    assert connection.closed is not None
    assert connection.closed[0] is CloseCode.BAD_REQUEST
    assert not heard


async def test_exempt_frames_have_a_bound_too(connection: DirectConnection, transport: Transport) -> None:
    """New initial_states, again and again, would fill the memory for a client that reads nothing."""
    states = Batch.of({"type": "initial_state", "pad": "x" * (512 * 1024 - 100)})
    sent = 0
    while connection.send(states, exempt=True):
        sent += 1
        transport.waiting += len(states.wire)
        assert sent < 100
    assert sent == 16
    assert connection.closed == (CloseCode.TOO_SLOW, "too slow")


async def test_when_drained_calls_back_when_nothing_waits(connection: DirectConnection, transport: Transport) -> None:
    """More joins would begin than the client reads, or none ever again."""
    told: list[str] = []
    assert connection.when_drained(lambda: told.append("nothing waited"))
    connection.send(Batch.of({"type": "initial_state"}), exempt=True)
    transport.waiting = 100
    assert not connection.when_drained(lambda: told.append("drained"))
    assert told == []
    transport.waiting = 0
    connection.resume_writing()
    await asyncio.sleep(0)
    assert told == ["drained"]
    connection.send(Batch.of({"type": "initial_state"}), exempt=True)
    transport.waiting = 100
    assert not connection.when_drained(lambda: told.append("gone"))
    connection.connection_lost(None)
    await asyncio.sleep(0)
    assert told == ["drained", "gone"]


async def test_a_client_that_answers_pings_but_reads_nothing_is_cut_off(
    connection: DirectConnection, transport: Transport
) -> None:
    """It would keep its connection, and the bytes that wait, for ever. A client that has caught up meanwhile stays."""
    for waiting in (500, 400, 0, 400):
        transport.waiting = waiting
        connection.tick()
        connection.data_received(MASKED_PONG)
    transport.waiting = 0
    connection.resume_writing()
    transport.waiting = 450
    connection.tick()
    connection.data_received(MASKED_PONG)
    before: object = connection.closed
    connection.tick()
    assert (before, connection.closed) == (None, (CloseCode.TOO_SLOW, "too slow"))


async def test_only_the_last_ping_is_answered_once_nothing_waits(
    connection: DirectConnection, transport: Transport
) -> None:
    """RFC 6455, section 5.5.3: the answers to all of them could fill the memory."""
    connection.data_received(Frame(Opcode.PING, b"1").serialize(mask=True))
    assert transport.written == [b"\x8a\x011"]
    transport.waiting = 10
    for number in (b"2", b"3", b"4"):
        connection.data_received(Frame(Opcode.PING, number).serialize(mask=True))
    assert len(transport.written) == 1
    transport.waiting = 0
    connection.resume_writing()
    connection.resume_writing()
    assert transport.written == [b"\x8a\x011", b"\x8a\x014"]


async def test_an_idle_client_has_no_meter(connection: DirectConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand idle clients would each need the memory of one."""
    clock = [1000.0]
    monkeypatch.setattr(direct_connection, "monotonic", lambda: clock[0])

    def has_meter() -> bool:
        return connection._meter is not None

    connection.tick()
    connection.data_received(MASKED_PONG)
    assert not has_meter(), "the answer to our ping is none of its frames"
    connection.data_received(MASKED_PONG)
    assert has_meter(), "but one that nobody asked for is"
    connection.tick()
    assert has_meter()
    clock[0] += 1
    connection.data_received(MASKED_PONG)
    connection.tick()
    assert not has_meter(), "its buckets are full again"
