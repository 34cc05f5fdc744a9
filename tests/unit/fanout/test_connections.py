"""A client's queue: its bound, what is exempt from it, and how it closes."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from runrelay.codes import CloseCode
from runrelay.fanout.connections import QueuedConnection
from runrelay.fanout.frames import Batch, Frame, progress_frame, websocket_frames
from runrelay.progress import Cursor


def _batch(size_bytes: int) -> Batch:
    batch = Batch([Frame.of({"type": "x", "pad": "x" * (size_bytes - len(b'{"type":"x","pad":""}'))})])
    assert batch.size_bytes == size_bytes
    return batch


async def test_a_client_over_its_bound_is_cut_off_and_sent_nothing_more() -> None:
    """A client that does not read would fill the relay's memory."""
    connection = QueuedConnection(1000)
    assert connection.send(_batch(600))
    assert connection.send(_batch(400)), "up to the bound, and with it"
    assert not connection.send(_batch(100))
    assert connection.closed == (CloseCode.TOO_SLOW, "too slow")
    assert connection.waiting_bytes == 0, "what waited is dropped: it comes back with its cursor"
    assert await connection.next() is None
    assert not connection.send(_batch(50))


async def test_a_batch_that_is_being_sent_still_counts() -> None:
    """A client that reads nothing would cost one batch more than its bound."""
    connection = QueuedConnection(1000)
    connection.send(_batch(600))
    await connection.next()
    assert connection.waiting_bytes == 600
    connection.send(_batch(400))
    await connection.next()  # the first is sent
    assert connection.waiting_bytes == 400
    assert connection.closed is None


async def test_an_initial_state_does_not_count() -> None:
    """A run with a long log could never be watched."""
    connection = QueuedConnection(1000)
    assert connection.send(_batch(500_000), exempt=True)
    assert connection.send(_batch(1000))
    assert connection.waiting_bytes == 1000


async def test_initial_states_have_a_bound_of_their_own() -> None:
    """A stream that nobody reads would get new ones for as long as its run's log is replaced."""
    connection = QueuedConnection(1000)
    told: list[str] = []
    assert connection.when_drained(lambda: told.append("nothing waited"))
    for _ in range(16):
        assert connection.send(_batch(512 * 1024), exempt=True)
    assert not connection.when_drained(lambda: told.append("drained"))
    for _ in range(16):
        await connection.next()
    assert told == [], "the last is being sent"
    waiting = asyncio.create_task(connection.next())
    for _ in range(2):
        await asyncio.sleep(0)
    assert told == ["drained"]
    waiting.cancel()
    for _ in range(17):
        sent = connection.send(_batch(512 * 1024), exempt=True)
    assert not sent
    assert connection.closed == (CloseCode.TOO_SLOW, "too slow")


async def test_a_closed_connection_sends_what_waits_first() -> None:
    """The run's last event would be lost at its end."""
    connection = QueuedConnection(1000)
    last = _batch(100)
    connection.send(last)
    connection.close(CloseCode.NORMAL, "the run has ended")
    connection.close(CloseCode.TOO_MANY, "later")
    assert connection.closed == (CloseCode.NORMAL, "the run has ended"), "the first reason stays"
    assert await connection.next() is last
    assert await connection.next() is None
    await asyncio.wait_for(connection.wait_closed(), 5)


async def test_a_waiting_writer_is_woken_by_a_batch_and_by_the_close() -> None:
    """The client would get its frames, or its close, too late or never."""
    connection = QueuedConnection(1000)
    waiting = asyncio.create_task(connection.next())
    await asyncio.sleep(0)
    batch = _batch(100)
    connection.send(batch)
    assert await waiting is batch
    waiting = asyncio.create_task(connection.next())
    await asyncio.sleep(0)
    connection.close(CloseCode.NORMAL)
    assert await waiting is None


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"), (125, b"\x81\x7d"), (126, b"\x81\x7e\x00\x7e"), (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)  # fmt: skip
def test_websocket_frames_have_the_right_header(size: int, head: bytes) -> None:
    """A wrong length in one of the three forms of RFC 6455, section 5.2, would end the connection."""
    payload = b"x" * size
    assert websocket_frames([payload, b"y"]) == head + payload + b"\x81\x01y"


def test_a_progress_frame_has_current_values_and_no_nulls_for_text() -> None:
    """The original client reads `message` and `data.progress ?? prev`."""
    message = {
        "run_id": "x", "state": "QA", "progress": 0.5, "log": None, "status": "running", "seq": 7,
        "epoch": "k3x9m2p7q1za", "ts": 1, "attempt": 2, "data": {"a": 1}, "step": "qa", "seal": "0123456789abcdef",
    }  # fmt: skip
    frame = progress_frame(message)
    assert orjson.loads(frame.body) == {
        "type": "progress", "run_id": "x", "state": "QA", "progress": 0.5, "message": "", "status": "running",
        "level": "info", "attempt": 2, "seq": 7, "id": "k3x9m2p7q1za-7", "ts": 1, "data": {"a": 1}, "step": "qa",
    }  # fmt: skip
    assert frame.cursor == Cursor("k3x9m2p7q1za", 7)
    assert frame.sse == b"event: progress\nid: k3x9m2p7q1za-7\ndata: " + frame.body + b"\n\n"


def test_each_form_of_a_batch_is_made_once() -> None:
    """Each client would cost a serialisation."""
    batch = Batch([Frame.of({"type": "upstream", "status": "up"}), Frame.of({"type": "pong"})])
    assert batch.wire is batch.wire
    assert batch.texts is batch.texts
    assert batch.sse is batch.sse
    assert batch.texts == ['{"type":"upstream","status":"up"}', '{"type":"pong"}']
    assert batch.sse.count(b"\n\n") == 2
    assert b"id:" not in batch.sse
