"""A commit: events to the script's arguments, its reply to a result. Pure; both clients use it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Protocol

import orjson

from ..errors import CommitRefused, NotARun, RunExists, RunlogError, RunNotEnded
from ..progress import TERMINAL_STATES, Cursor, Event, Status, new_epoch
from ..progress.checks import MAX_STEP_ERROR_BYTES
from ..progress.fields import CONTROLS, EVENT_FIELDS, NO_CONTROLS, WIRE_FIELDS, leading
from ..progress.text import cut_text
from .keys import Keys

__all__ = [
    "MIN_LOG_BYTES",
    "Batch",
    "Committed",
    "NewLog",
    "ProducerSequence",
    "Retention",
    "RunLogSettings",
    "SequenceGap",
    "commit_args",
    "identity_is_old",
    "mark_of",
    "parse_commit",
]


MIN_LOG_BYTES: Final = 64 * 1024
"""The least bound of a log's bytes: a line alone has up to 16 KiB."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a run is kept, and for how long."""

    run_ttl_s: int = 24 * 3600
    ended_run_ttl_s: int = 24 * 3600
    events: int = 1000
    log_lines: int = 10_000
    log_bytes: int = 2 << 20


class RunLogSettings(Protocol):
    """What settings say of a run log."""

    @property
    def redis_url(self) -> str:
        """The server."""

    def keys(self) -> Keys:
        """Names of keys and channels."""

    def retention(self) -> Retention:
        """How much of a run is kept, and for how long."""


@dataclass(slots=True)
class ProducerSequence:
    """One producer's numbers for one run, contiguous from 1. They make commits idempotent: the script skips numbers
    that it has committed before.

    A producer id names one process's sequence of events for one run. If the sequence is lost, take a new id: numbers
    from 1 under the old id would be dropped as duplicates.
    """

    producer: str
    next: int = 1
    in_doubt: bool = False
    """A batch with these numbers was sent and its reply has not come, so the server may get it a second time.

    The server recognises a repeated batch by the producer's mark. The mark (`mark_of`) may be removed only while this
    is false.
    """

    @staticmethod
    def fresh() -> ProducerSequence:
        """A sequence with a new producer id."""
        return ProducerSequence(secrets.token_hex(6))


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one run in order, numbered from `first` on."""

    run_id: str
    producer: str
    first: int
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class NewLog:
    """The epoch and the MAC's key of a log, if a commit begins one. For one call only."""

    epoch: str
    seal_key: str

    @staticmethod
    def fresh() -> NewLog:
        """A new epoch and a new key."""
        return NewLog(new_epoch(), secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class Committed:
    """The result of a commit. Nothing was appended if `before == after`."""

    epoch: str
    before: int
    after: int
    status: Status
    attempt: int
    given_attempt: int
    """Attempt that this producer's last start was allocated; 0 if that start was fenced."""
    given_step_attempt: int
    created: bool
    status_changed: bool
    updated_at: int
    fenced: int
    data_ignored: bool = False
    """At least one event's data was not merged into the run's, which would have been too large."""
    superseded_below: int = 0
    """Work that was sent for an attempt below this must not begin: a later attempt was queued, or the work could not be
    sent in time. 0 if the batch only reports."""
    unannounced: bool = False
    """Redis has refused to publish the messages: no right to the channel. Relays read them at their next check."""

    @property
    def cursor(self) -> Cursor:
        """The position after the commit."""
        return Cursor(self.epoch, self.after)


class SequenceGap(RunlogError):
    """The server has fewer events of this producer than it once acknowledged: it has lost data."""

    def __init__(self, mark: int) -> None:
        super().__init__(f"the run log is behind this producer: it has events up to number {mark} only")
        self.mark = mark


_SPOKEN: Final = leading("ts_ms", "state", "progress", "log", "level", "step", "attempt", "step_attempt", "data")
"""What the script is given of an event beside its control, in the order in which `commit_args` unpacks it."""
_CONTROL_NAMES: Final = Event._fields[CONTROLS]


def _wire(names: Sequence[str]) -> tuple[tuple[bytes, ...], Callable[[Event], tuple[Any, ...]]]:
    return tuple(b',"%b":' % name.encode() for name in names), attrgetter(*names)


_WIRE: Final = _wire(WIRE_FIELDS)
_WIRE_OF_REPORTS: Final = _wire([name for name in WIRE_FIELDS if not EVENT_FIELDS[name].control])
"""The optional fields of an event without control: most events with data or a level have no others."""


def mark_of(producer: str) -> str:
    """The field of a run's hash in which the script keeps the number of this producer's last event."""
    return f"p:{producer}"


def _control(event: Event) -> bytes:
    """The control fields that an event has, as JSON; empty if it has none, so that the script need not decode any."""
    values: Any = event[CONTROLS]
    if values == NO_CONTROLS:
        return b""
    control = {
        name: _plain(value)
        for name, value, default in zip(_CONTROL_NAMES, values, NO_CONTROLS, strict=True)
        if value is not default and value != default
    }
    control["kind"] = event.kind
    if event.error is not None and event.step is not None:
        control["error"] = cut_text(event.error, MAX_STEP_ERROR_BYTES)
    return orjson.dumps(control)


def _plain(value: Any) -> Any:
    """A field's value as control: JSON that is encoded as a text, a declaration of steps as objects."""
    if isinstance(value, bytes):
        return value.decode()
    return [spec._asdict() for spec in value] if isinstance(value, tuple) else value


def _extra(event: Event, heads: tuple[bytes, ...], values_of: Callable[[Event], tuple[Any, ...]]) -> bytes:
    """The optional fields of the message: a fragment of JSON that follows the fixed ones, the level and data first."""
    parts: list[bytes] = []
    for head, value in zip(heads, values_of(event), strict=True):
        if value is not None and value != "info":
            parts += head, value if isinstance(value, bytes) else orjson.dumps(_plain(value))
    return b"".join(parts)


def _fence(attempt: int | None, step_attempt: int | None) -> bytes:
    fence = b"" if attempt is None else b"%d" % attempt
    return fence if step_attempt is None else b"%b/%d" % (fence, step_attempt)


def commit_args(
    keys: Keys, retention: Retention, batch: Batch, *, new_log: NewLog, server: str, server_lost_data: bool = False
) -> list[str | bytes | int]:
    """The script's keys (three) and arguments for one batch.

    `new_log` is used if a log begins; `server` is the identity of the server behind this connection.
    """
    rows: list[str | bytes | int] = []
    plain, named = True, 0
    for event in batch.events:
        spoken: Any = event[_SPOKEN]
        ts_ms, state, progress, log, level, step, attempt, step_attempt, data = spoken
        control = _control(event)
        if control or step is not None or state in TERMINAL_STATES:
            plain = False
        elif attempt is not None and attempt > named:
            named = attempt
        rows += (
            control,
            ts_ms,
            state or b"",
            b"" if progress is None else repr(round(progress, 6)),
            log or b"",
            orjson.dumps(log) if log else b"",
            b"" if attempt is None and step_attempt is None else _fence(attempt, step_attempt),
            step or b"",
            _extra(event, *_WIRE)
            if control
            else b""
            if data is None and level == "info"
            else _extra(event, *_WIRE_OF_REPORTS),
        )
    return [
        *keys.run(batch.run_id),
        keys.channel_of(batch.run_id),
        orjson.dumps(batch.run_id),
        new_log.epoch,
        server,
        batch.producer,
        batch.first,
        b"1" if server_lost_data else b"",
        retention.run_ttl_s,
        retention.ended_run_ttl_s,
        retention.events,
        retention.log_lines,
        retention.log_bytes,
        new_log.seal_key,
        named if plain else b"",
        *rows,
    ]


def parse_commit(run_id: str, reply: Any) -> Committed:
    """Read the script's reply.

    Raises:
        SequenceGap: the server has lost what this producer had committed.
        RunExists, RunNotEnded, CommitRefused: a condition did not hold.
        NotARun: the run's hash is damaged.
    """
    try:
        return _committed(run_id, reply)
    except RunlogError:
        raise
    except Exception as error:  # a damaged hash: the script has returned values that no commit wrote
        raise NotARun(run_id, f"the commit script answered {reply!r}"[:1000]) from error


def _committed(run_id: str, reply: Any) -> Committed:
    word = reply[0]
    if word == b"ok":
        epoch, before, after, status, attempt, given, step_given, changes, updated_at, fenced, *more = reply[1:]
        return Committed(
            epoch.decode(),
            before,
            after,
            status.decode(),
            attempt,
            given,
            step_given,
            b"c" in changes,
            b"s" in changes,
            updated_at,
            fenced,
            b"d" in changes,
            more[0] if more else 0,
            b"p" in changes,
        )
    if word == b"gap":
        raise SequenceGap(reply[1])
    if word == b"refused":
        raise CommitRefused(run_id, reply[1].decode(), reply[2], "the condition for this commit does not hold")
    raise RunlogError(f"the commit script answered {reply!r}")


def identity_is_old(done: Committed, new_log: NewLog) -> bool:
    """Whether the server's identity must be read again after this commit, on a new connection.

    The commit began a new log of a known run. Either the server has changed, or its identity has changed since it was
    read (a replica was promoted under this connection). Without reading it again, two producers with different
    identities would begin new logs in turns for ever.
    """
    return done.epoch == new_log.epoch and not done.created


def refusal(event: Event, error: CommitRefused) -> CommitRefused:
    """The refusal as the error of the condition that did not hold."""
    if event.precondition == "absent":
        return RunExists(error.run_id, error.status, error.attempt, "a run of this id exists")
    if event.precondition == "ended" and error.status != "unknown":
        return RunNotEnded(error.run_id, error.status, error.attempt, "it has not ended")
    if event.precondition in ("unfinished", "unbegun") and error.status != "unknown":
        return CommitRefused(
            error.run_id,
            error.status,
            error.attempt,
            "it has ended" if event.precondition == "unfinished" else "it has begun",
        )
    return error
