"""What the run log's tests share: both clients, a witness of all that is announced, a link that breaks."""

import hashlib
import secrets
import selectors
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal, Protocol, cast

import orjson
import redis

from runrelay.progress import Event
from runrelay.runlog import AsyncRunLog, Batch, Committed, Keys, ProducerSequence, Retention, RunLog, RunView
from runrelay.runlog.reads import parse_view, read_args
from runrelay.runlog.scripts import READ, Script
from tests.support.servers import HOST, Server

__all__ = [
    "AsyncLog",
    "Kind",
    "Link",
    "Log",
    "SyncLog",
    "Witness",
    "contradictions",
    "ended",
    "eventually",
    "fields_of",
    "fresh_keys",
    "holes",
    "keys_without_expiry",
    "look_at",
    "queued",
    "read",
    "said",
    "started",
    "weakened",
]

DEADLINE_S = 10.0
Kind = Literal["sync", "async"]


def fresh_keys() -> Keys:
    """Keys and a channel that nobody else has."""
    prefix = f"t{secrets.token_hex(4)}"
    return Keys(prefix, f"{prefix}:progress")


def said(log: str | None = None, **fields: Any) -> Event:
    """An ordinary event; the time is always the same, so that two of a kind are equal."""
    return Event(1_762_300_000_000, log=log)._replace(**fields)


def queued(**fields: Any) -> Event:
    """What the API commits before it sends the task."""
    return said(kind="queue", state="QUEUED", **fields)


def started(**fields: Any) -> Event:
    """What a worker commits when a single-task run begins."""
    return said(kind="start", state="STARTED", **fields)


def ended(state: str = "END", **fields: Any) -> Event:
    """An end, by default a good one."""
    return said(state=state, **fields)


def fields_of(message: bytes) -> dict[str, Any]:
    """A message's fields."""
    fields: dict[str, Any] = orjson.loads(message)
    return fields


# Clients


class Log(Protocol):
    """Either client, as a producer uses it."""

    keys: Keys

    async def commit(
        self, run_id: str, events: Sequence[Event], sequence: ProducerSequence | None = None
    ) -> Committed: ...

    async def close(self) -> None: ...


class SyncLog:
    """The threads' client behind the other one's face: it counts, which `RunLog` leaves to its caller."""

    def __init__(self, url: str, keys: Keys, retention: Retention | None = None) -> None:
        self.keys = keys
        self.inner = RunLog(url, keys, retention)

    async def commit(self, run_id: str, events: Sequence[Event], sequence: ProducerSequence | None = None) -> Committed:
        sequence = sequence or ProducerSequence.fresh()
        done = self.inner.commit(Batch(run_id, sequence.producer, sequence.next, events))
        sequence.next += len(events)
        return done

    async def close(self) -> None:
        self.inner.close()


class AsyncLog:
    """asyncio's client with one try, so that a test sees each failure."""

    def __init__(self, url: str, keys: Keys, retention: Retention | None = None) -> None:
        self.keys = keys
        self.inner = AsyncRunLog(url, keys, retention)

    async def commit(self, run_id: str, events: Sequence[Event], sequence: ProducerSequence | None = None) -> Committed:
        return await self.inner.commit(run_id, events, sequence, tries=1)

    async def close(self) -> None:
        await self.inner.close()


# Looking


@contextmanager
def look_at(server: Server) -> Iterator[Any]:
    """A plain client, whose answers' types depend on the question."""
    with server.client() as client:
        yield client


def eventually(condition: Callable[[], object], what: str) -> None:
    """Ask until it is so; a server that cannot answer yet does not say that it is."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        with suppress(redis.RedisError):
            if condition():
                return
    raise AssertionError(f"not within {DEADLINE_S} s: {what}")


class Witness:
    """Hears everything that is announced on a channel, until asked for it."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = cast(Any, client)
        self._keys = keys
        self._pubsub = self._client.pubsub(ignore_subscribe_messages=False)
        self._pubsub.subscribe(keys.channel)
        self._next("subscribe")
        self._heard: list[bytes] = []

    @staticmethod
    @contextmanager
    def of(server: Server, keys: Keys) -> Iterator["Witness"]:
        """A witness of one life of a server."""
        with server.client() as client:
            witness = Witness(client, keys)
            try:
                yield witness
            finally:
                witness._pubsub.close()

    def _next(self, kind: str) -> bytes:
        message = self._pubsub.get_message(timeout=DEADLINE_S)
        assert message is not None, f"nothing was announced within {DEADLINE_S} s"
        assert message["type"] == kind
        data: bytes = message["data"]
        return data

    def heard(self) -> list[bytes]:
        """All that was announced up to now, the oldest first; a marker of our own says where now is."""
        marker = f"marker {secrets.token_hex(8)}".encode()
        self._client.publish(self._keys.channel, marker)
        while (data := self._next("message")) != marker:
            self._heard.append(data)
        return list(self._heard)

    def stream(self, run_id: str) -> list[bytes]:
        """The messages in a run's stream; each entry has one field `e`, and its id is the message's seq."""
        messages = []
        for entry_id, fields in self._client.xrange(self._keys.run(run_id)[1]):
            assert list(fields) == [b"e"]
            assert entry_id == b"%d-0" % orjson.loads(fields[b"e"])["seq"]
            messages.append(fields[b"e"])
        return messages


def read(client: redis.Redis, keys: Keys, run_id: str, after: Any = None, **limits: int) -> RunView:
    """The run in one atomic step, as `AsyncRunLog.read` does it."""
    args = read_args(keys, run_id, after, **{"event_bytes": 1 << 20, "log_lines": 1000, **limits})
    return parse_view(run_id, client.eval(READ.text, 3, *args))


def contradictions(messages: Iterable[bytes]) -> dict[tuple[str, str, int], set[bytes]]:
    """What was announced under one (run, epoch, seq) with different contents: must be empty, always."""
    contents: defaultdict[tuple[str, str, int], set[bytes]] = defaultdict(set)
    for message in messages:
        fields = orjson.loads(message)
        contents[fields["run_id"], fields["epoch"], fields["seq"]].add(message)
    return {position: found for position, found in contents.items() if len(found) > 1}


def holes(messages: Iterable[bytes]) -> list[tuple[str, str, list[int]]]:
    """The logs in which numbers are missing or out of order."""
    numbers: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for message in messages:
        fields = orjson.loads(message)
        numbers[fields["run_id"], fields["epoch"]].append(fields["seq"])
    return [(run_id, epoch, seqs) for (run_id, epoch), seqs in numbers.items() if seqs != list(range(1, len(seqs) + 1))]


def keys_without_expiry(client: redis.Redis, keys: Keys) -> list[bytes]:
    """The runs' own keys that would stay for ever."""
    return [key for key in client.scan_iter(f"{keys.prefix}:run:*") if client.ttl(key) < 0]


def weakened(script: Script, protection: str, instead: str) -> Script:
    """A script with one of its protections taken out, for a negative control."""
    assert script.text.count(protection) == 1, f"{script.name}.lua has no single {protection!r}"
    text = script.text.replace(protection, instead)
    return Script(script.name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


# A link that breaks


class Link:
    """A TCP relay in front of a server, in a thread of its own; `url` leads through it.

    It breaks when told: `cut_reply_to(word, keep_lines)` closes the connection instead of passing on the server's
    reply to the next request that contains `word`, all but its first lines. The server has carried out the request
    then. Or it is slow: `hold_reply_to(word)` keeps that reply back until `release()`.
    """

    def __init__(self, port: int) -> None:
        self.target_port = port
        self._listener = socket.create_server((HOST, 0))
        self.url = f"redis://{HOST}:{self._listener.getsockname()[1]}/0"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._servers: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._word: bytes | None = None
        self._keep_lines: int | None = 0
        self._doomed: dict[socket.socket, int | None] = {}
        self._held: list[tuple[socket.socket, bytes]] = []
        self.held = threading.Event()
        self._all_cut = threading.Event()
        self.cuts = 0
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._thread.start()

    def cut_reply_to(self, word: bytes, keep_lines: int = 0) -> None:
        """Let the next request that contains `word` through, and its reply but for the first lines not."""
        with self._lock:
            self._word, self._keep_lines = word, keep_lines

    def hold_reply_to(self, word: bytes) -> None:
        """Let the next request that contains `word` through, and keep its reply; `held` is set when it is there."""
        with self._lock:
            self._word, self._keep_lines = word, None

    def release(self) -> None:
        """Send the reply that was held."""
        self._wake.send(b"r")

    def cut_all(self) -> None:
        """Break every connection that there is now; when this returns, nothing more passes."""
        self._all_cut.clear()
        self._wake.send(b"c")
        assert self._all_cut.wait(DEADLINE_S)

    def close(self) -> None:
        """Break everything and end the thread."""
        self._wake.send(b"q")
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        for one in (self._listener, self._wake, self._woken):
            one.close()
        self._selector.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                if source is self._woken:
                    order = source.recv(1)
                    if order == b"r":
                        self._send_held()
                        continue
                    for server in list(self._servers):
                        self._drop(server)
                    if order == b"q":
                        return
                    self._all_cut.set()
                elif source is self._listener:
                    self._accept()
                elif source in self._peers:
                    self._pass_on(source)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection((HOST, self.target_port), timeout=DEADLINE_S)
        except OSError:
            client.close()
            return
        self._peers[client], self._peers[server] = server, client
        self._servers.add(server)
        for one in (client, server):
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, source: socket.socket) -> None:
        target = self._peers[source]
        try:
            data = source.recv(1 << 20)
            if not data:
                self._drop(source)
                return
            if source not in self._servers:
                with self._lock:
                    if self._word is not None and self._word in data:
                        self._doomed[target] = self._keep_lines
                        self._word = None
            elif source in self._doomed:
                keep_lines = self._doomed.pop(source)
                if keep_lines is None:
                    self._held.append((target, data))
                    self.held.set()
                    return
                target.sendall(b"".join(line + b"\r\n" for line in data.split(b"\r\n")[:keep_lines]))
                self.cuts += 1
                self._drop(source)
                return
            target.sendall(data)
        except OSError:
            self._drop(source)

    def _send_held(self) -> None:
        for target, data in self._held:
            with suppress(OSError):
                target.sendall(data)
        self._held.clear()

    def _drop(self, one: socket.socket) -> None:
        for end in (one, self._peers[one]):
            self._selector.unregister(end)
            del self._peers[end]
            self._servers.discard(end)
            self._doomed.pop(end, None)
            end.close()
