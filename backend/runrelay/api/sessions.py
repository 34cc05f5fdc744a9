"""Sessions: what one WebSocket is for, one run or many runs and the list. No transport in here; nothing blocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import orjson

from ..codes import CloseCode
from ..errors import NotARun, Refusal, RunFailed, RunlogError
from ..fanout import Batch, Connection, Frame, error_batch
from ..progress import Cursor, check_run_id, parse_cursor
from ..relay.relay import Relay, retry_in_ms
from .auth import Grant

__all__ = ["MultiplexedSession", "RunSession", "RunSubscriber", "Session", "parse_frame", "refusal_of"]

_PONG: Final = Batch.of({"type": "pong"})
_TEXT_PING: Final = ("ping", b"ping")
"""The heartbeat of other clients (react-use-websocket's default), which expect the text `pong`."""
_TEXT_PONG: Final = Batch([Frame("pong", b"pong")])


def refusal_of(error: Exception, run_id: str) -> Refusal:
    """The refusal that a client gets for an error of its run."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, NotARun):
        return Refusal(CloseCode.NOT_A_RUN, str(error))
    # The details of an unexpected error are in the log, not in the client's frame.
    return Refusal(CloseCode.INTERNAL_ERROR, str(error if isinstance(error, RunlogError) else RunFailed(run_id)))


class RunSubscriber:
    """A subscriber of one run on one connection, which calls back."""

    __slots__ = ("_on_end", "_on_failure", "connection")

    stays_after_end = False
    """See fanout.Subscriber."""

    def __init__(
        self, connection: Connection, on_end: Callable[[], None], on_failure: Callable[[Exception], None]
    ) -> None:
        self.connection = connection
        self._on_end = on_end
        self._on_failure = on_failure

    def run_ended(self) -> None:
        """See fanout.Subscriber."""
        self._on_end()

    def run_failed(self, error: Exception) -> None:
        """See fanout.Subscriber."""
        self._on_failure(error)


class Session(Protocol):
    """What one connection does."""

    @property
    def run_id(self) -> str | None:
        """The run, if the session is for one run."""

    def start(self, relay: Relay, connection: Connection, grant: Grant, address: str) -> None:
        """Start: a run's session joins its run.

        Raises:
            Refusal: the connection is to be closed.
        """

    def end(self) -> None:
        """The connection is gone; also called if `start` has raised."""

    def receive(self, message: dict[str, Any]) -> None:
        """Take a message from the client, but no ping.

        Raises:
            Refusal: the connection is to be closed.
        """


def parse_frame(raw: str | bytes, limit_bytes: int) -> dict[str, Any]:
    """Parse a client's frame.

    Raises:
        Refusal: it is too big, not JSON, or not an object with a type.
    """
    if len(raw) > limit_bytes:  # DirectConnection has checked the bytes of a text
        raise Refusal(CloseCode.FRAME_TOO_BIG, f"a frame has at most {limit_bytes} bytes, got {len(raw)}")
    try:
        message = orjson.loads(raw)
    except ValueError as error:
        raise Refusal(CloseCode.BAD_REQUEST, f"a frame is JSON: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Refusal(CloseCode.BAD_REQUEST, "a frame is a JSON object with a type")
    return message


def dispatch(session: Session, connection: Connection, raw: str | bytes, limit_bytes: int) -> None:
    """Answer a ping; hand anything else to the session."""
    if raw in _TEXT_PING:
        connection.send(_TEXT_PONG)
        return
    message = parse_frame(raw, limit_bytes)
    if message["type"] == "ping":
        connection.send(_PONG)
    else:
        session.receive(message)


def run_and_cursor(run_id: object, after: object) -> tuple[str, Cursor | None]:
    """A client's run id and cursor, checked. Raises Refusal (4400)."""
    try:
        run = check_run_id(run_id)
        if after is None:
            return run, None
        if not isinstance(after, str):
            raise TypeError(f"after must be a cursor, got {type(after).__name__}")
        return run, parse_cursor(after)
    except (TypeError, ValueError) as error:
        raise Refusal(CloseCode.BAD_REQUEST, str(error)) from error


def _unknown(kind: str) -> Refusal:
    return Refusal(CloseCode.BAD_REQUEST, f"unknown message type {kind[:80]!r}")


class RunSession:
    """`/ws/{run_id}`: the run's end closes the connection. The session is the run's fanout.Subscriber itself."""

    __slots__ = ("_address", "_after", "_began_at_s", "_counted", "_relay", "_run_id", "connection", "stays_after_end")

    def __init__(self, run_id: str, after: str | None) -> None:
        self._run_id = run_id
        self._after = after
        self._counted = False
        self.stays_after_end = False
        """See fanout.Subscriber. A client that reconnects after every close is kept: see relay/returns.py."""

    @property
    def run_id(self) -> str | None:
        """See Session."""
        return self._run_id

    def start(self, relay: Relay, connection: Connection, grant: Grant, address: str) -> None:
        """See Session."""
        run, cursor = run_and_cursor(self._run_id, self._after)
        grant.check_run(run)
        self._relay, self.connection, self._after, self._address = relay, connection, None, address
        self._began_at_s = time.monotonic()
        # A client with a cursor knows when to stop: it is sent the rest and closed, as usual.
        self.stays_after_end = cursor is None and relay.returns.is_return(address, run)
        relay.limits.enter_run(run)
        self._counted = True
        relay.hub.join(run, self, cursor)

    def receive(self, message: dict[str, Any]) -> None:
        """See Session."""
        raise _unknown(message["type"])

    def run_ended(self) -> None:
        """See fanout.Subscriber."""
        if time.monotonic() - self._began_at_s < self._relay.settings.end_after_s + 1.0:  # it joined after the end
            self._relay.returns.record(self._address, self._run_id)
        self.connection.close(CloseCode.NORMAL, "the run has ended")

    def run_failed(self, error: Exception) -> None:
        """See fanout.Subscriber."""
        refusal = refusal_of(error, self._run_id)
        self.connection.send(error_batch(refusal))
        self.connection.close(refusal.code, str(refusal))

    def end(self) -> None:
        """See Session."""
        if self._counted:
            self._relay.hub.leave(self._run_id, self)
            self._relay.limits.leave_run(self._run_id)


class _Subscription:
    """One of many runs on one connection: the run's fanout.Subscriber."""

    __slots__ = ("connection", "owner", "run_id")

    stays_after_end = False
    """See fanout.Subscriber."""

    def __init__(self, owner: MultiplexedSession, run_id: str, connection: Connection) -> None:
        self.owner = owner
        self.run_id = run_id
        self.connection = connection

    def run_ended(self) -> None:
        """See fanout.Subscriber."""
        self.owner.drop(self.run_id)
        self.owner.send({"type": "end", "run_id": self.run_id})

    def run_failed(self, error: Exception) -> None:
        """See fanout.Subscriber."""
        self.owner.drop(self.run_id)
        self.owner.send_error(refusal_of(error, self.run_id), self.run_id)


class MultiplexedSession:
    """`/ws`, multiplexed: subscriptions to single runs and to the list. An error of one run does not close the
    connection.

    A subscription is a small object, and an entry in the run's topic. It needs no task.
    """

    run_id = None
    """See Session."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, _Subscription] = {}

    def start(self, relay: Relay, connection: Connection, grant: Grant, address: str) -> None:
        """See Session."""
        self._relay, self._connection, self._grant = relay, connection, grant

    def receive(self, message: dict[str, Any]) -> None:
        """See Session."""
        kind, run_id = message["type"], message.get("run_id")
        if kind not in ("subscribe", "unsubscribe"):
            raise _unknown(kind)
        try:
            if message.get("runs") is True:
                self._watch_list(kind == "subscribe")
            elif kind == "subscribe":
                self._subscribe(*run_and_cursor(run_id, message.get("after")))
            else:
                self.drop(str(run_id))
        except Refusal as refusal:
            self.send_error(refusal, run_id if isinstance(run_id, str) else None)

    def _watch_list(self, wanted: bool) -> None:
        feed = self._relay.hub.feed
        if wanted:
            self._grant.check_list()
            feed.join(self._connection)
        else:
            feed.leave(self._connection)

    def _subscribe(self, run_id: str, cursor: Cursor | None) -> None:
        self._grant.check_run(run_id)
        self.drop(run_id)
        relay, most = self._relay, self._relay.settings.max_subscriptions
        if len(self._subscriptions) >= most:
            raise Refusal(CloseCode.TOO_MANY, f"too many runs on one connection: {most} of {most}")
        relay.limits.enter_run(run_id)
        subscription = self._subscriptions[run_id] = _Subscription(self, run_id, self._connection)
        try:
            relay.hub.join(run_id, subscription, cursor)
        except BaseException:
            self.drop(run_id)
            raise

    def drop(self, run_id: str) -> None:
        """End the subscription to a run, if there is one."""
        subscription = self._subscriptions.pop(run_id, None)
        if subscription is not None:
            try:
                self._relay.hub.leave(run_id, subscription)
            finally:
                self._relay.limits.leave_run(run_id)

    def send(self, fields: dict[str, Any]) -> None:
        """Send a frame that is no event of a run's log."""
        self._connection.send(Batch.of(fields))

    def send_error(self, refusal: Refusal, run_id: str | None) -> None:
        """Send an error frame without closing the connection."""
        retry = {} if refusal.retry_after_s is None else {"retry_in_ms": retry_in_ms()}
        self._connection.send(error_batch(refusal, run_id=run_id, **retry))

    def end(self) -> None:
        """See Session."""
        self._relay.hub.feed.leave(self._connection)
        for run_id in [*self._subscriptions]:
            self.drop(run_id)
