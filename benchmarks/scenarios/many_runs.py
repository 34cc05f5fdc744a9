"""d) Every client has a run of its own: nothing is shared, so commits, then parsing and hub, bound it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final

import orjson
import redis

from ..figures import Figures
from ..generator import BenchmarkError
from ..machine import cpu_s
from ..plan import Plan
from ..servers.measured import RUNRELAY, MeasuredServer
from ..session import Session, Stage
from .rounds import take_turns

__all__ = ["a_run_each"]

_RUNS: Final = 1_000
_RECORDED: Final = "benchmark:recorded"
_CHUNK: Final = 2_000
_WINDOW: Final = 20_000
"""Messages that may wait in Redis for the relay: 8 MB of the 32 MB at which Redis gives a subscriber up."""
_ROOM: Final = {"RUNRELAY_OUTBOX_BYTES": str(1 << 30)}


def a_run_each(stage: Stage, plan: Plan, figures: Figures) -> None:
    """Events per second: committed with nobody watching, delivered, and by listener and hub alone."""
    count = plan.messages_per_run * _RUNS

    def committed(measured: MeasuredServer) -> str:
        with redis.Redis.from_url(stage.valkey.url) as client:
            client.flushall()
        valkey = [pid for pid in (stage.valkey.pid,) if pid is not None]
        with stage.publisher(measured, 0, _RUNS, environment=_ROOM) as publisher:
            publisher.order(_RUNS, flush=True)
            publisher.finish()
            before_s = cpu_s(valkey)
            publisher.order(count, flush=True)
            (answer,) = publisher.finish()
            taken_s = cpu_s(valkey) - before_s
        rate = count / ((answer["ended_ns"] - answer["began_ns"]) / 1e9)
        note = f"Redis and the worker fill their core; {count / taken_s:,.0f} per CPU second of Redis"
        figures.add("d", measured.name, "committed, nobody watching", "events/s", rate, note)
        return f"{rate:>10,.0f} events/s committed with nobody watching, {note}"

    def delivered(measured: MeasuredServer) -> str:
        with stage.session(measured, _RUNS, _RUNS, publisher_environment=_ROOM) as session:
            clients, publisher = session.clients, session.publisher
            clients.reset(publisher.number, each=True)
            publisher.order(count)
            received = clients.poll(60.0, count)
            answer = publisher.finish()[0]
            if received != count or clients.counts.lost or clients.counts.doubled:
                raise BenchmarkError(f"expected {count} messages: {clients.describe()}")
            rate = count / ((clients.counts.last_receive_ns - answer["began_ns"]) / 1e9)
        figures.add("d", measured.name, "delivered", "events/s", rate)
        return f"{rate:>10,.0f} events/s delivered"

    def heard(measured: MeasuredServer, *, in_turn: bool) -> str:
        # No periodic check: it would find the log ahead of the channel, which here it is on purpose.
        with stage.session(measured, _RUNS, _RUNS, environment={"RUNRELAY_CHECK_S": "3600"}) as session:
            messages = _record(stage, session, count)
            order = _in_turn(messages) if in_turn else messages
            session.clients.reset(0, each=True)
            pids = session.server.pids
            before_s = cpu_s(pids)
            rate = _replay(stage, session, order)
            taken_s = cpu_s(pids) - before_s
        name = f"listener and hub alone, {'runs in turn' if in_turn else 'batch by batch'}"
        note = f"{count / taken_s:,.0f} per CPU second"
        figures.add("d", measured.name, name, "events/s", rate, note)
        return f"{rate:>10,.0f} events/s by {name}, {note}"

    for _ in range(plan.rate_rounds):
        for measure in (committed, delivered, partial(heard, in_turn=True), partial(heard, in_turn=False)):
            take_turns(stage, "d", 1, (RUNRELAY,), measure)


def _record(stage: Stage, session: Session, count: int) -> list[bytes]:
    """Commit events whose messages go to another channel, and keep those: the relay has not heard them."""
    messages: list[bytes] = []
    with redis.Redis.from_url(stage.valkey.url) as client, client.pubsub() as pubsub:
        pubsub.subscribe(_RECORDED)
        pubsub.get_message(timeout=5)

        def hear() -> None:
            for item in pubsub.listen():
                messages.append(item["data"])
                if len(messages) == count:
                    return

        recorder = threading.Thread(target=hear, name="recorder", daemon=True)
        recorder.start()
        environment = {**_ROOM, "RUNRELAY_CHANNEL": _RECORDED}
        measured = session.server.measured
        with stage.publisher(measured, 0, _RUNS, environment=environment) as publisher:
            publisher.order(count, flush=True)
            publisher.finish()
        recorder.join(30)
    if len(messages) != count:
        raise BenchmarkError(f"recorded {len(messages)} of {count} messages")
    return messages


def _in_turn(messages: Sequence[bytes]) -> list[bytes]:
    """The runs' first messages, then their second ones, and so on: nothing that could be joined into one write.

    As recorded, a worker's batch of a run stands together.
    """
    seen: Counter[str] = Counter()
    places: list[tuple[int, bytes]] = []
    for message in messages:
        run: str = orjson.loads(message)["run_id"]
        seen[run] += 1
        places.append((seen[run], message))
    return [message for _, message in sorted(places, key=itemgetter(0))]


def _replay(stage: Stage, session: Session, messages: Sequence[bytes]) -> float:
    """Publish recorded messages as fast as the relay delivers them; returns events per second."""
    clients = session.clients
    chunks = [_publish_commands(messages[at : at + _CHUNK]) for at in range(0, len(messages), _CHUNK)]
    connection: Any = redis.Redis.from_url(stage.valkey.url).connection_pool.make_connection()
    connection.connect()
    connection.send_command("CLIENT", "REPLY", "OFF")
    began_ns, sent = time.monotonic_ns(), 0
    deadline = time.monotonic() + 60.0
    try:
        while clients.counts.messages < len(messages):
            while sent < len(chunks) and sent * _CHUNK - clients.counts.messages < _WINDOW:
                connection.send_packed_command([chunks[sent]])
                sent += 1
            clients.poll(0.002, len(messages))
            if time.monotonic() > deadline:
                raise BenchmarkError(f"expected {len(messages)} messages: {clients.describe()}")
    finally:
        connection.disconnect()
    counts = clients.counts
    if counts.lost or counts.doubled or counts.states:
        raise BenchmarkError(f"the replay was not delivered as recorded: {clients.describe()}")
    return len(messages) / ((counts.last_receive_ns - began_ns) / 1e9)


def _publish_commands(messages: Sequence[bytes]) -> bytes:
    head = b"*3\r\n$7\r\nPUBLISH\r\n$19\r\nautoshorts:progress\r\n"
    return b"".join(b"%s$%d\r\n%s\r\n" % (head, len(message), message) for message in messages)
