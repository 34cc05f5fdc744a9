"""`send` and `asend`: what reaches the broker, and what the run's log says of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery, Signature, chain, chord, group

from runrelay.celery import asend, send, task_id
from runrelay.publisher import configure
from runrelay.publisher.publish import use_sink
from runrelay.runlog import Keys
from runrelay.settings import PublisherSettings
from tests.support.servers import Server

StartServer = Callable[..., Server]
KEYS = Keys("sen", "sen:progress")


class Sender:
    """An application whose broker is one server, and whose progress is on another."""

    def __init__(self, broker: Server, progress: Server) -> None:
        self.broker, self.progress = broker, progress
        self.app = Celery("sender", broker=broker.url, set_as_current=False)
        self.app.conf.broker_transport_options = {"max_retries": 0, "socket_connect_timeout": 1}
        self.app.conf.task_publish_retry = False
        self.publisher = configure(PublisherSettings(redis_url=progress.url, keys=KEYS))

    def sig(self, name: str, *args: Any) -> Signature:
        return self.app.signature(name, args)

    def waiting(self) -> int:
        """How many messages wait in the broker."""
        with self.broker.client() as client:
            return int(str(client.llen("celery")))

    def run(self, run_id: str) -> dict[str, str]:
        """The run's hash."""
        with self.progress.client(decode_responses=True) as client:
            found: Any = client.hgetall(KEYS.run(run_id)[0])
        return dict(found)


@pytest.fixture
def sender(start_valkey: StartServer) -> Iterator[Sender]:
    sender = Sender(start_valkey(), start_valkey())
    yield sender
    sender.publisher.close()
    use_sink(None)
    sender.app.close()


def test_work_is_sent_while_the_progress_is_down(sender: Sender) -> None:
    """A shop that cannot take orders because nobody could watch them."""
    sender.progress.stop()
    send(sender.sig("a"), "single", title="A film")
    before = time.monotonic()
    send(chain(sender.sig("a"), group(sender.sig("b"), sender.sig("c"))), "canvas", weights={"a": 3.0})
    assert time.monotonic() - before < 0.5, "it is known to be away"
    assert sender.waiting() == 2
    with sender.broker.client() as client:
        newest: Any = client.lindex("celery", 0)
    assert task_id("canvas", 1, "a") in newest.decode()
    assert '"steps": [["a", 3.0], ["b", 1.0], ["c", 1.0]]' in newest.decode()
    sender.progress.start()


def test_connections_are_kept(sender: Sender) -> None:
    """A connection for each task that is sent."""
    send(sender.sig("a"), "first")
    with sender.progress.client() as client:
        before = client.info("stats")["total_connections_received"]
        for number in range(20):
            send(sender.sig("a"), f"run-{number}")
        assert client.info("stats")["total_connections_received"] == before
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]
    send(sender.sig("a"), "last")
    assert sender.run("last")["status"] == "queued", "a connection that the server has closed is replaced"


def test_what_cannot_be_sent_leaves_no_queued_run(sender: Sender) -> None:
    """A run that stays queued for ever, although its work was never sent."""

    def work() -> None: ...

    task: Any = sender.app.task(name="a")(work)
    with pytest.raises(TypeError, match=r"task\.s"):
        send(task, "no-signature")
    with pytest.raises(TypeError, match="must have a body"):
        send(chord([sender.sig("a")], app=sender.app), "no-body")
    with pytest.raises(Exception, match=r"encod|serializ"):
        send(sender.sig("b", object()), "no-json")
    sender.broker.stop()
    with pytest.raises(Exception, match=r"refused|Error"):
        send(chain(sender.sig("a"), sender.sig("b")), "no-broker")
    assert sender.run("no-signature") == sender.run("no-body") == {}
    for run_id in ("no-json", "no-broker"):
        found = sender.run(run_id)
        assert (found["status"], found["error"][:28]) == ("failed", "the work could not be sent: "[:28])


def test_a_task_id_of_one_s_own_is_kept(sender: Sender) -> None:
    """An id by which the caller waits for its task, and that another task has."""
    assert send(sender.sig("a"), "own", task_id="mine").id == "mine"
    assert send(chain(sender.sig("a"), sender.sig("b")), "own-chain", task_id="my-last").id == "my-last"
    frozen = sender.sig("a")
    assert send(frozen, "frozen").id == task_id("frozen", 1)
    frozen.freeze("cold")
    assert send(frozen, "frozen-2").id == "cold"
    assert {run: sender.run(run)["status"] for run in ("own", "own-chain", "frozen-2")} == {
        "own": "queued", "own-chain": "queued", "frozen-2": "queued",
    }  # fmt: skip


async def test_asend_leaves_the_loop_free(sender: Sender) -> None:
    """A server whose other clients wait while it sends a task to a Redis that hangs."""
    sender.progress.pause()
    try:
        sending = asyncio.create_task(asend(sender.sig("a"), "run", title="A film"))
        turns = 0
        while not sending.done():
            await asyncio.sleep(0.01)
            turns += 1
    finally:
        sender.progress.resume()
    assert (await sending).id == task_id("run", 1)
    assert turns > 20
