"""Clients of a relay that keep what they were shown and hold it against the contract as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import orjson
import websockets
from websockets.asyncio.client import ClientConnection

__all__ = ["DEADLINE_S", "Client", "Story", "StreamClient", "asked_until", "eventually", "watch", "watch_stream"]

DEADLINE_S = 15.0
T = TypeVar("T")


async def eventually(met: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until a condition holds that nobody announces; after the deadline say which did not."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + deadline_s
    while not met():
        if loop.time() > deadline:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        await asyncio.sleep(0.01)


async def asked_until(
    http: httpx.AsyncClient, url: str, met: Callable[[httpx.Response], bool], deadline_s: float = DEADLINE_S
) -> httpx.Response:
    """Ask a URL again until its answer meets a condition; returns that answer."""
    async with asyncio.timeout(deadline_s):
        while True:
            answer = await http.get(url)
            if met(answer):
                return answer
            await asyncio.sleep(0.01)


class Story:
    """What one viewer was shown of one run: every seq once and in order, or a new initial_state in their place.

    `seqs` are the progress frames' numbers since the viewer's first frame; `states` counts the initial_states.
    """

    def __init__(self, after: str | None = None) -> None:
        self.position = after
        self.frames: list[dict[str, Any]] = []
        self.seqs: list[int] = []
        self.states = 0

    @property
    def last(self) -> dict[str, Any]:
        """The newest frame that told the run's state."""
        return next(f for f in reversed(self.frames) if f["type"] in ("initial_state", "progress"))

    @property
    def messages(self) -> list[str]:
        """The log lines that came event by event."""
        return [frame["message"] for frame in self.frames if frame["type"] == "progress" and frame["message"]]

    def add(self, frame: dict[str, Any]) -> None:
        """Take the next frame; AssertionError if it may not follow what was shown before."""
        kind, before = frame["type"], self.position
        if kind == "initial_state":
            first = before is None
            assert frame["recovered"] is first, f"recovered {frame['recovered']} after {before}: {_short(frame)}"
            self.states += 1
            self.position = frame["id"]
            assert frame["seq"] == int(frame["id"].rpartition("-")[2]), _short(frame)
        elif kind == "progress":
            assert before is not None, f"progress before anything else: {_short(frame)}"
            epoch, _, number = frame["id"].partition("-")
            assert frame["seq"] == int(number), _short(frame)
            if before == "0-0":
                assert frame["seq"] == 1, f"the run began at {frame['seq']}"
            else:
                assert before == f"{epoch}-{frame['seq'] - 1}", f"{frame['id']} came after {before}"
            self.seqs.append(frame["seq"])
            self.position = frame["id"]
        elif kind == "resumed":
            assert frame["id"] == before, f"resumed at {frame['id']}, asked for {before}"
        self.frames.append(frame)


def _short(frame: dict[str, Any]) -> str:
    return str({name: value for name, value in frame.items() if name not in ("logs", "data")})[:500]


class _Watching:
    """Frames as they come, and a way to wait for them."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.stories: dict[str, Story] = {}
        self.closed = False
        self.broken: BaseException | None = None
        self._news = asyncio.Event()

    def expect(self, run_id: str, after: str | None = None) -> Story:
        """Begin a story of a run: what comes from now on is its."""
        self.stories[run_id] = Story(after)
        return self.stories[run_id]

    @property
    def story(self) -> Story:
        """The story of the only run."""
        (story,) = self.stories.values()
        return story

    def _take(self, frame: dict[str, Any]) -> None:
        self.frames.append(frame)
        try:
            story = self.stories.get(frame.get("run_id", ""))
            if story is not None and frame["type"] in ("initial_state", "progress", "resumed", "end", "stale"):
                story.add(frame)
        except AssertionError as error:
            self.broken = self.broken or error
        self._news.set()

    def _end(self) -> None:
        self.closed = True
        self._news.set()

    async def until(self, met: Callable[[], T], what: str) -> T:
        """Wait until a condition on what has come holds; the contract is held against every frame meanwhile."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    if self.broken is not None:
                        raise self.broken
                    if value := met():
                        return value
                    assert not self.closed, f"closed before {what}; got {[_short(f) for f in self.frames[-3:]]}"
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            last = [_short(frame) for frame in self.frames[-3:]]
            raise AssertionError(f"not within {DEADLINE_S} s: {what}; the last were {last}") from None

    async def frame(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The first frame of a type (with these fields), when it has come."""

        def found() -> dict[str, Any] | None:
            return next(
                (f for f in self.frames if f["type"] == kind and all(f.get(k) == v for k, v in fields.items())), None
            )

        return await self.until(found, f"a frame {kind} {fields or ''}") or {}

    async def reached(self, cursor: str, run_id: str | None = None) -> Story:
        """Wait until a run's story has come to a position."""
        story = self.story if run_id is None else self.stories[run_id]
        await self.until(lambda: story.position == cursor, f"position {cursor}")
        return story


class Client(_Watching):
    """A WebSocket client."""

    def __init__(self, connection: ClientConnection) -> None:
        super().__init__()
        self.connection = connection
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def say(self, **fields: Any) -> None:
        """Send a message."""
        await self.connection.send(orjson.dumps(fields).decode())

    async def ping(self) -> None:
        """A round trip: everything that the relay had sent before is here afterwards."""
        pongs = sum(frame["type"] == "pong" for frame in self.frames)
        await self.say(type="ping")
        await self.until(lambda: sum(f["type"] == "pong" for f in self.frames) > pongs, "pong")

    async def close_code(self) -> int:
        """The code with which the relay closes, when it has."""
        await self.until(lambda: self.closed, "the close")
        return self.connection.close_code or 0

    async def read(self) -> None:
        """Read until the end; `may_read` holds it up."""
        try:
            while True:
                await self.may_read.wait()
                frame = await self.connection.recv()
                assert isinstance(frame, str), "the relay sends text frames"
                self._take(orjson.loads(frame))
        except websockets.ConnectionClosed:
            pass
        finally:
            self._end()


@asynccontextmanager
async def watch(url: str, run_id: str | None = None, after: str | None = None, **options: Any) -> AsyncIterator[Client]:
    """Connect to `url`, `/ws…`; with a run id its story is kept."""
    async with websockets.connect(url, max_size=None, compression=None, proxy=None, **options) as connection:
        client = Client(connection)
        if run_id is not None:
            client.expect(run_id, after)
        reading = asyncio.create_task(client.read(), name="client reads")
        try:
            yield client
            if client.broken is not None:
                raise client.broken
        finally:
            client.may_read.set()
            await connection.close()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


class StreamClient(_Watching):
    """A client of a stream of server-sent events, as EventSource reads it: `frames` have the event's name as type."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self.response = response
        self.retry_ms: int | None = None
        self.last_event_id = ""
        self.ids: list[str | None] = []

    async def read(self) -> None:
        """Read until the stream's end."""
        event: dict[str, str] = {}
        try:
            async for line in self.response.aiter_lines():
                if line:
                    name, _, value = line.partition(":")
                    event[name] = value.removeprefix(" ")
                    continue
                if "retry" in event:
                    self.retry_ms = int(event["retry"])
                if "data" in event:
                    self._dispatch(event)
                event = {}
        except httpx.ReadError:
            pass
        finally:
            self._end()

    def _dispatch(self, event: dict[str, str]) -> None:
        self.ids.append(event.get("id"))
        self.last_event_id = event.get("id", self.last_event_id)
        fields = orjson.loads(event["data"])
        if "type" in fields:
            assert fields["type"] == event["event"], "the event's name and the frame's type are one"
        if "id" in fields:
            assert fields["id"] == event["id"], "the event's id and the frame's are one"
        self._take({**fields, "type": event["event"]})


@asynccontextmanager
async def watch_stream(
    http: httpx.AsyncClient, url: str, run_id: str, after: str | None = None, **options: Any
) -> AsyncIterator[StreamClient]:
    """Open an event stream; `after` is what the story begins from, the request is the caller's."""
    async with http.stream("GET", url, **options) as response:
        client = StreamClient(response)
        client.expect(run_id, after)
        reading = asyncio.create_task(client.read(), name="stream client reads")
        try:
            yield client
            if client.broken is not None:
                raise client.broken
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
