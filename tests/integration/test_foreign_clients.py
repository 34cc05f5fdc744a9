"""Clients that are not ours, as they come from their registries: they read a run to its end, and no longer."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import httpx
import pytest
import sseclient
import websocket
import websockets
from httpx_sse import connect_sse

from runrelay import progress
from tests.support.clients import DEADLINE_S, eventually, watch
from tests.support.relay import Producer, RelayProcess, Served, StartProcess, StartRelay


def lines_of(frames: list[dict[str, Any]]) -> list[str]:
    """The log as a client puts it together that knows nothing but `logs` and `message`."""
    lines: list[str] = []
    for frame in frames:
        if frame["type"] == "initial_state":
            lines = list(frame["logs"])
        elif frame["type"] == "progress" and frame.get("message"):
            lines.append(frame["message"])
    return lines


class Reader:
    """A client that blocks, in a thread of its own, which hands over each frame that it reads."""

    def __init__(self, frames: Callable[[], Iterator[dict[str, Any]]]) -> None:
        self.frames: list[dict[str, Any]] = []
        self.error: BaseException | None = None
        self.ended = Event()
        self._read = frames
        Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            for frame in self._read():
                self.frames.append(frame)
        except Exception as error:
            self.error = error
        finally:
            self.ended.set()


def _httpx_sse(url: str) -> Iterator[dict[str, Any]]:
    with httpx.Client(trust_env=False, timeout=DEADLINE_S) as http, connect_sse(http, "GET", url) as source:
        for event in source.iter_sse():
            yield {"type": event.event, **json.loads(event.data)}


def _sseclient(url: str) -> Iterator[dict[str, Any]]:
    with httpx.Client(trust_env=False, timeout=DEADLINE_S) as http, http.stream("GET", url) as answer:
        for event in sseclient.SSEClient(answer.iter_bytes()).events():
            yield {"type": event.event, **json.loads(event.data)}


SSE = pytest.mark.parametrize("read", [_httpx_sse, _sseclient])


@SSE
async def test_a_stream_is_read_to_its_end(
    relay: Served, producer: Producer, run_id: str, read: Callable[[str], Iterator[dict[str, Any]]]
) -> None:
    """Each event of the stream has data, and it is JSON: a block of `retry:` alone was one without."""
    await producer.say(run_id, "RENDERING", 0.5, "before")
    reader = Reader(lambda: read(relay.run(run_id, "/events")))
    await eventually(lambda: reader.frames, "the first frame")
    await producer.say(run_id, log="after")
    await producer.say(run_id, "END")
    await eventually(reader.ended.is_set, "the stream has ended")
    assert reader.error is None
    assert lines_of(reader.frames) == ["before", "after"]
    assert reader.frames[-1]["type"] == "end"


@SSE
async def test_a_relay_that_goes_away_does_not_end_a_stream_well(
    start_process: StartProcess, producer: Producer, run_id: str, read: Callable[[str], Iterator[dict[str, Any]]]
) -> None:
    """A body that ends well is the end of all events to them: the rest of the run was never seen."""
    relay = start_process(drain_s=1)
    await producer.say(run_id, "RENDERING", 0.5, "before")
    reader = Reader(lambda: read(relay.run(run_id, "/events")))
    await eventually(lambda: reader.frames, "the first frame")
    await asyncio.to_thread(_end, relay)
    await eventually(reader.ended.is_set, "the stream is cut off")
    assert isinstance(reader.error, httpx.RemoteProtocolError)
    assert "Traceback" not in relay.log
    assert "without completing" not in relay.log


async def test_curl_knows_an_end_from_a_restart(start_process: StartProcess, producer: Producer, run_id: str) -> None:
    """`curl --retry` and every script around it: 0 is the end, 18 is a partial body."""
    relay = start_process(drain_s=1, end_after_s=0.1)

    def curl() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["curl", "-sN", "--noproxy", "*", relay.run(run_id, "/events")], stdout=subprocess.PIPE, bufsize=0
        )

    await producer.say(run_id, "RENDERING", 0.5, "before")
    cut_off = curl()
    assert cut_off.stdout is not None
    assert await asyncio.to_thread(cut_off.stdout.readline)
    await asyncio.to_thread(_end, relay)
    assert await asyncio.to_thread(cut_off.wait, DEADLINE_S) == 18
    cut_off.stdout.close()
    relay.launch()
    await asyncio.to_thread(relay.wait_ready)
    ended = curl()
    await producer.say(run_id, "END")
    output, _ = await asyncio.to_thread(ended.communicate, timeout=DEADLINE_S)
    assert ended.returncode == 0
    assert output.endswith(b'event: end\ndata: {"type":"end","run_id":"' + run_id.encode() + b'"}\n\n')


def _end(relay: RelayProcess) -> None:
    relay.signal(signal.SIGTERM)
    relay.wait()


@pytest.mark.parametrize("ping", ["ping", b"ping"])
async def test_a_text_ping_is_answered_with_a_text_pong(relay: Served, run_id: str, ping: str | bytes) -> None:
    """react-use-websocket's heartbeat: it was refused with 4400, came back, and was refused again, for ever."""
    for url in (relay.ws(run_id), relay.ws()):
        async with websockets.connect(url, proxy=None) as client:
            await client.send(ping)
            async with asyncio.timeout(DEADLINE_S):
                while await client.recv() != "pong":
                    pass
            await client.send(json.dumps({"type": "ping"}))
            async with asyncio.timeout(DEADLINE_S):
                while json.loads(await client.recv()) != {"type": "pong"}:
                    pass


async def test_whoever_comes_back_to_an_ended_run_is_kept_in_the_end(
    start_relay: StartRelay, producer: Producer, run_id: str
) -> None:
    """`async for` of the websockets package came back every few seconds for ever, each time for the whole state."""
    relay = await start_relay(end_after_s=0.05)
    await producer.say(run_id, "END", log="all")
    opened: list[list[dict[str, Any]]] = []

    async def follow() -> None:
        async for client in websockets.connect(relay.ws(run_id), proxy=None):
            opened.append([])
            with suppress(websockets.ConnectionClosed):
                async for text in client:
                    opened[-1].append(json.loads(text))

    following = asyncio.create_task(follow())
    try:
        await eventually(lambda: len(opened) == 4 and opened[-1], "it has come back three times")
        # a new attempt is shown to whoever was kept
        await producer.commit(run_id, [_queued()])
        await producer.say(run_id, log="once more")
        await eventually(lambda: lines_of(opened[-1]) == ["all", "once more"], "it is still there")
        assert len(opened) == 4
        # a client that knows how to come back is told of the end, whoever else has its address
        await producer.say(run_id, "END")
        async with watch(relay.ws(run_id, "after=0-0")) as client:
            assert await client.close_code() == 1000
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def _queued() -> progress.Event:
    return progress.Event(int(time.time() * 1000), state="QUEUED", kind="queue")


async def test_the_lines_of_the_guide_end_it(start_relay: StartRelay, producer: Producer, run_id: str) -> None:
    """websocket-client's `run_forever(reconnect=…)`, with the two lines that docs/clients.md prints."""
    relay = await start_relay(end_after_s=0.05)
    await producer.say(run_id, "END", log="all")
    frames: list[dict[str, Any]] = []

    def on_message(app: websocket.WebSocketApp, text: str) -> None:
        frames.append(frame := json.loads(text))
        if frame.get("state") in ("END", "FAILED", "CANCELLED"):
            app.close()

    app = websocket.WebSocketApp(relay.ws(run_id), on_message=on_message)
    running = Thread(target=lambda: app.run_forever(reconnect=1), daemon=True)
    running.start()
    await eventually(lambda: not running.is_alive(), "it has ended")
    assert lines_of(frames) == ["all"]
    assert [frame["type"] for frame in frames].count("initial_state") == 1
