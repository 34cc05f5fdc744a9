"""Honest clients on each transport: they come back with their cursor as our own does, and check what they are told.

`Viewer.run()` ends when the relay has said that all of its runs are over, or when something was wrong (`broken`).
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import orjson
import websockets
from websockets.asyncio.client import ClientConnection

from runrelay.codes import CloseCode
from tests.support.readings import Ledger, Reading

__all__ = ["KINDS", "ManyViewer", "Place", "PollingViewer", "SocketViewer", "StreamViewer", "Viewer"]

Place = Callable[[], str]
"""Where a relay is, `http://…`; asked before each connection, so that it may be another one each time."""

QUIET_S = 10.0
"""A connection over which nothing has come for so long is dead: a client gives it up."""
_FATAL = {CloseCode.BAD_REQUEST, CloseCode.FRAME_TOO_BIG, CloseCode.FORBIDDEN, CloseCode.UNAUTHORIZED}
_LOST = (OSError, EOFError, TimeoutError, websockets.WebSocketException, httpx.TransportError)
"""What a broken connection raises."""


class Viewer(ABC):
    """Watches runs until they are over. keeps_cursor=False is the control: a client that comes back with nothing."""

    kind: str

    def __init__(
        self,
        run_ids: Iterable[str],
        place: Place,
        ledger: Ledger,
        *,
        lossy: bool = False,
        keeps_cursor: bool = True,
        quiet_s: float = QUIET_S,
    ) -> None:
        self.readings = {run_id: Reading(run_id, ledger, lossy=lossy) for run_id in run_ids}
        self.place = place
        self.keeps_cursor = keeps_cursor
        self.quiet_s = quiet_s
        self.broken: AssertionError | None = None
        self.connects = 0
        self.closes: Counter[object] = Counter()
        """How connections ended: a close code, an HTTP status, or what was raised."""
        self.downs = 0
        """How often it was told that Redis is away."""
        self.told_down = False
        self._failures = 0

    def __repr__(self) -> str:
        where = ", ".join(f"{run_id} at {one.position}" for run_id, one in self.readings.items() if not one.closed)
        return f"{self.kind} ({self.connects} connections, ended {dict(self.closes)}, watching {where})"

    @property
    def reading(self) -> Reading:
        """The only run's."""
        (reading,) = self.readings.values()
        return reading

    @property
    def done(self) -> bool:
        """Whether all of its runs are over."""
        return all(reading.closed for reading in self.readings.values())

    @property
    def unrecovered(self) -> int:
        """How many initial_states it was given in place of what it had missed."""
        return sum(reading.unrecovered for reading in self.readings.values())

    async def run(self) -> None:
        """Watch, and come back, until all is over."""
        try:
            while not self.done:
                pause_s: float | None
                try:
                    pause_s = await self._visit()
                except _LOST as error:
                    self.closes[type(error).__name__] += 1
                    pause_s = None
                if pause_s is None:
                    self._failures += 1
                    pause_s = min(1.0, 0.05 * 2 ** min(self._failures, 6)) * random.uniform(0.5, 1.0)
                if not self.done:
                    await asyncio.sleep(pause_s)
        except AssertionError as error:
            self.broken = error

    @abstractmethod
    async def _visit(self) -> float | None:
        """One connection, or one request. Returns the seconds until the next; None: after the usual, growing, pause."""

    @abstractmethod
    def drop(self) -> None:
        """Lose the connection, as when a train goes into a tunnel."""

    def _after(self, reading: Reading) -> str | None:
        return reading.position if self.keeps_cursor else None

    def _take(self, frame: dict[str, Any]) -> None:
        """Take a frame of any transport's."""
        self._failures = 0
        kind = frame["type"]
        if kind == "upstream":
            self.told_down = frame["status"] == "down"
            self.downs += self.told_down
            return
        reading = self.readings.get(frame.get("run_id") or "")
        if reading is None:
            return
        if kind == "end":
            assert reading.ended, f"{reading.run_id} is said to be over at {reading.position}, which is no end"
            reading.closed = True
        elif kind in ("initial_state", "progress", "resumed", "stale"):
            reading.add(frame)


class _OverSocket(Viewer):
    """What both kinds of WebSocket share."""

    _socket: ClientConnection | None = None

    def drop(self) -> None:
        """See Viewer."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def _connect(self, path: str) -> float | None:
        url = self.place().replace("http", "ws", 1) + path
        connecting = websockets.connect(
            url, max_size=None, compression=None, proxy=None, close_timeout=1.0,
            ping_interval=self.quiet_s / 2, ping_timeout=self.quiet_s / 2,
        )  # fmt: skip
        socket: ClientConnection | None = None
        try:
            async with connecting as socket:
                self.connects += 1
                self._socket = socket
                await self._greet(socket)
                while not self.done:
                    self._take(orjson.loads(await socket.recv()))
        except websockets.ConnectionClosed:
            pass
        finally:
            self._socket = None
            if socket is not None:
                socket.transport.abort()  # also when the goodbye was cut short
        assert socket is not None
        code, reason = socket.close_code, socket.close_reason
        self.closes[code] += 1
        assert code not in _FATAL, f"refused with {code}: {reason}"
        if code == CloseCode.NORMAL:
            self._over()
        with suppress(ValueError, KeyError, TypeError):
            return float(orjson.loads(reason or "")["retry_in_ms"]) / 1000
        return None

    async def _greet(self, socket: ClientConnection) -> None:
        """Say what is wanted."""

    def _over(self) -> None:
        """The relay has closed with 1000."""


class SocketViewer(_OverSocket):
    """`/ws/{run_id}`."""

    kind = "socket"

    async def _visit(self) -> float | None:
        after = self._after(self.reading)
        return await self._connect(f"/ws/{quote(self.reading.run_id, safe='')}" + (f"?after={after}" if after else ""))

    def _over(self) -> None:
        assert self.reading.ended, f"{self.reading.run_id}: closed with 1000 at {self.reading.position}"
        self.reading.closed = True


class ManyViewer(_OverSocket):
    """`/ws`: all of its runs on one connection."""

    kind = "many"

    async def _visit(self) -> float | None:
        self._again: set[asyncio.Task[None]] = set()
        try:
            return await self._connect("/ws")
        finally:
            for task in self._again:
                task.cancel()

    async def _greet(self, socket: ClientConnection) -> None:
        for reading in self.readings.values():
            if not reading.closed:
                await self._subscribe(socket, reading)

    async def _subscribe(self, socket: ClientConnection, reading: Reading, pause_s: float = 0.0) -> None:
        await asyncio.sleep(pause_s)
        with suppress(websockets.ConnectionClosed):
            request = {"type": "subscribe", "run_id": reading.run_id, "after": self._after(reading)}
            await socket.send(orjson.dumps(request).decode())

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "error" and frame.get("run_id") in self.readings:
            assert frame["code"] not in _FATAL, f"refused: {frame}"
            self.closes[f"error {frame['code']}"] += 1
            pause_s = frame.get("retry_in_ms", 500) / 1000
            assert self._socket is not None, "a frame without a connection"
            task = asyncio.create_task(
                self._subscribe(self._socket, self.readings[frame["run_id"]], pause_s), name="subscribe again"
            )
            self._again.add(task)
            task.add_done_callback(self._again.discard)
            return
        super()._take(frame)


class StreamViewer(Viewer):
    """Server-sent events, read as EventSource does."""

    kind = "stream"
    _writer: asyncio.StreamWriter | None = None

    def drop(self) -> None:
        """See Viewer."""
        if self._writer is not None:
            self._writer.transport.abort()

    async def _visit(self) -> float | None:
        reading, place = self.reading, urlsplit(self.place())
        after = self._after(reading)
        async with asyncio.timeout(self.quiet_s):
            reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1 << 22)
        self._writer = writer
        try:
            path = f"/api/runs/{quote(reading.run_id, safe='')}/events"
            last = f"Last-Event-ID: {after}\r\n" if after else ""
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\n{last}\r\n".encode())
            async with asyncio.timeout(self.quiet_s):
                head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            self.closes[status] += 1
            if status == 204:
                assert reading.ended, f"{reading.run_id}: 204 at {reading.position}"
                reading.closed = True
            assert status in (200, 204, 429, 503), f"an honest client got {status}: {head.decode()}"
            if status == 200:
                self.connects += 1
                await self._read(reader)
        finally:
            self._writer = None
            writer.transport.abort()
        return None

    async def _read(self, reader: asyncio.StreamReader) -> None:
        rest = b""
        while not self.done:
            async with asyncio.timeout(self.quiet_s):
                size = int(await reader.readline() or b"0", 16)
                chunk = await reader.readexactly(size + 2)
            if size == 0:
                return
            *events, rest = (rest + chunk[:-2]).split(b"\n\n")
            for event in events:
                fields = dict(line.split(b": ", 1) for line in event.split(b"\n"))
                name = fields.get(b"event", b"").decode()
                if b"data" not in fields or name == "heartbeat":
                    continue
                frame = {"type": name, **orjson.loads(fields[b"data"])}
                assert frame["type"] == name, f"the event is {name}, its frame {frame['type']}"
                if b"id" in fields:
                    assert frame["id"] == fields[b"id"].decode(), f"the event's id is {fields[b'id']!r}: {frame['id']}"
                self._take(frame)


class PollingViewer(Viewer):
    """`GET …?after=<cursor>&wait=…`."""

    kind = "polling"
    _request: asyncio.Task[httpx.Response] | None = None

    def __init__(self, *given: Any, http: httpx.AsyncClient, pace_s: float = 0.0, **more: Any) -> None:
        super().__init__(*given, **more)
        self._http = http
        self._pace_s = pace_s
        """Between two answers; a held request answers at each event, which is a load."""

    def drop(self) -> None:
        """See Viewer."""
        if self._request is not None:
            self._request.cancel()

    async def _visit(self) -> float | None:
        reading = self.reading
        url = f"{self.place()}/api/runs/{quote(reading.run_id, safe='')}"
        after = self._after(reading)
        asked = {"after": after, "wait": "3"} if after else {}
        self._request = asyncio.create_task(self._http.get(url, params=asked, timeout=3 + self.quiet_s), name="poll")
        request = self._request
        try:
            await asyncio.wait([request])
        except asyncio.CancelledError:
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            raise
        finally:
            self._request = None
        if request.cancelled():
            return 0.0
        answer = request.result()
        self.closes[answer.status_code] += 1
        if answer.status_code in (429, 503):
            return 0.5
        if answer.status_code == 404:  # nobody has heard of it, or its log is gone
            return 0.2
        assert answer.status_code == 200, f"an honest client got {answer.status_code}: {answer.text[:300]}"
        self.connects += 1
        body = answer.json()
        if body["stale"] and "events" not in body and (after or "etag" not in answer.headers):
            self._take({"type": "upstream", "status": "down"})
            return 0.2
        self._read(body, after)
        if reading.ended:
            reading.closed = True
        return self._pace_s if after else 0.05

    def _read(self, body: dict[str, Any], after: str | None) -> None:
        reading = self.reading
        if after is None or not body["recovered"]:
            self._take({"type": "initial_state", "recovered": after is None, **body})
            return
        for frame in body["events"]:
            self._take(frame)
        assert reading.position == body["id"], f"polled up to {reading.position}, the run is at {body['id']}"


KINDS: dict[str, type[Viewer]] = {one.kind: one for one in (SocketViewer, ManyViewer, StreamViewer, PollingViewer)}
