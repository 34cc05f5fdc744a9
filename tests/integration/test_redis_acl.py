"""The least rights in Redis, as docs/redis-acl.md gives them: with them everything works, and each is needed."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from runrelay.errors import RunlogError, RunrelayError
from runrelay.outbox import Publisher
from runrelay.outbox.scopes import TaskScope, entered
from runrelay.progress import Event, StepSpec, make_event
from runrelay.runlog import Batch, Keys, ProducerSequence, Retention, RunLog
from runrelay.runlog.troubles import warn_no_identity
from runrelay.settings import PublisherSettings
from tests.support.clients import eventually, watch
from tests.support.command_line import invoke
from tests.support.recording_pipeline import Works, start_run
from tests.support.relay import Served, StartRelay
from tests.support.servers import HOST, Server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NEVER = ("-@all", "resetkeys", "resetchannels", "on", ">PASSWORD")
"""Rules that take something away, or say who it is."""


def documented() -> dict[str, list[str]]:
    """The rules of each user, from the page."""
    page = (ROOT / "docs/redis-acl.md").read_text("utf-8")
    blocks = [block.split() for block in re.findall(r"```acl\n(.*?)```", page, re.DOTALL)]
    return {block[1].removeprefix("runrelay-"): block[2:] for block in blocks}


class Users:
    """The documented users on a server of the test's own, under the test's prefix."""

    def __init__(self, server: Server, look: Any, prefix: str) -> None:
        self.server = server
        self.look = look
        self.keys = Keys(prefix, f"{prefix}:progress")
        self.rules = {
            name: [rule.replace("autoshorts:", f"{prefix}:") for rule in rules] for name, rules in documented().items()
        }
        for name in self.rules:
            self.allow(name)
        look.execute_command("ACL", "SETUSER", "default", "off")

    def allow(self, name: str, without: str | None = None) -> None:
        """Give a user all of its rules but one."""
        rules = [rule for rule in self.rules[name] if rule != without]
        self.look.execute_command("ACL", "SETUSER", name, "reset", *rules)

    def url(self, name: str) -> str:
        return f"redis://{name}:PASSWORD@{HOST}:{self.server.port}/0"

    def needed(self, name: str) -> list[str]:
        """Rules that give something."""
        return [rule for rule in self.rules[name] if rule not in NEVER]


@pytest.fixture
def users(start_store: Callable[..., Server], prefix: str) -> Iterator[Users]:
    """On either server."""
    server = start_store()
    with server.client() as look:
        look.execute_command("ACL", "SETUSER", "root", "on", ">PASSWORD", "~*", "&*", "+@all")  # type: ignore[no-untyped-call]
        look.execute_command("AUTH", "root", "PASSWORD")  # type: ignore[no-untyped-call]
        with redis.Redis.from_url(f"redis://root:PASSWORD@{HOST}:{server.port}/0") as root:
            yield Users(server, root, prefix)


async def test_everything_works_with_the_documented_rights(
    start_relay: StartRelay, users: Users, works: Works, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A right that is missing on the page is found by whoever runs it in production."""
    with caplog.at_level(logging.WARNING, "runrelay"):
        relay = await start_relay(
            {"test": works.pipeline()}, redis_url=users.url("relay"), stalled_after_s=0.2, end_after_s=0.1
        )
        assert (await relay.http.get("/readyz")).text == "ready\n"
        publisher = Publisher(PublisherSettings(redis_url=users.url("publisher"), keys=users.keys, heartbeat_s=0.05))
        try:
            await _a_life(relay, publisher, users, works)
            await _seen_by_the_command_line(users)
        finally:
            await asyncio.to_thread(publisher.close)
    said = [r.getMessage() for r in caplog.records if "silent" not in r.getMessage()]
    assert not said


async def _a_life(relay: Served, publisher: Publisher, users: Users, works: Works) -> None:
    assert (await start_run(relay, "r")).status_code == 202
    async with watch(relay.ws("r"), "r") as client, watch(relay.ws()) as lists:
        await lists.say(type="subscribe", runs=True)
        await lists.frame("subscribed")
        scope = TaskScope("r", attempt=None)
        publisher.emit("r", Event(1, state="STARTED", kind="start", base_attempt=1), scope)
        with entered(scope):
            publisher.emit("r", make_event("PLAN", 0.5, "half"), scope)
            await client.frame("progress", message="half")
            await eventually(lambda: users.look.zscore(users.keys.alive, "r"), "a heartbeat")
        await client.frame("progress", status="stalled")
        publisher.emit("r", make_event("RENDER", log="goes on"), scope)
        await client.frame("progress", message="goes on")
        users.look.publish(users.keys.channel, '{"run_id": "r", "log": "by hand"}')
        await client.frame("progress", message="by hand")
        assert (await relay.http.post(relay.run("r", "/cancel"))).status_code == 202
        await client.frame("progress", status="cancelled")
    assert (await relay.http.post(relay.run("r", "/retry"))).json()["attempt"] == 2
    publisher.emit("r", make_event("END", attempt=2))
    assert await asyncio.to_thread(publisher.flush)
    listed = (await relay.http.get("/api/runs")).json()["runs"]
    assert [(run["run_id"], run["status"]) for run in listed] == [("r", "succeeded")]
    assert "by hand" in (await relay.http.get(relay.run("r", "/logs"))).text
    await relay.relay.reaper.repair_list()
    assert (await relay.http.delete(relay.run("r"))).status_code == 204
    publisher.emit("seen", make_event("END", log="the last line"))
    assert await asyncio.to_thread(publisher.flush)


async def _seen_by_the_command_line(users: Users) -> None:
    assert "seen" in await asyncio.to_thread(_command, users, "viewer", "runs")
    assert "the last line" in await asyncio.to_thread(_command, users, "viewer", "tail", "seen")
    await asyncio.to_thread(_command, users, "publisher", "publish", "said", "--log", "by the command line")


def _command(users: Users, name: str, *arguments: str) -> str:
    environ = {"REDIS_URL": users.url(name), "RUNRELAY_PREFIX": users.keys.prefix}
    done = invoke(*arguments, env=environ)
    if done.exit_code:
        raise RunrelayError(done.output)
    return str(done.output)


async def test_each_right_of_a_relay_is_needed_and_named(start_relay: StartRelay, users: Users, works: Works) -> None:
    """A right on the page that is not needed is too much; one that is missing must be found in /readyz."""
    relay = await start_relay({"test": works.pipeline()}, redis_url=users.url("relay"))
    listener = relay.relay.listener
    for rule in users.needed("relay"):
        users.allow("relay", without=rule)
        users.look.script_flush()
        _reconnect(users, "relay")
        if rule.startswith("+"):
            words = f"no right to the command {rule[1:].upper()}"
        else:
            words = "no right to the " + ("channels" if rule.startswith("&") else f"key {rule[1:].rstrip('*')}")

        def named(words: str = words) -> bool:
            told = f"{listener.trouble or ''}; {listener.remark};"
            return f"{words};" in told if words.split()[-1].isupper() else words in told

        listener._everything_due_s = 0.0
        relay.relay.hub.doubted.set()
        await eventually(named, f"without {rule}: {words}")
        users.allow("relay")
        _reconnect(users, "relay")
        listener._everything_due_s = 0.0
        relay.relay.hub.doubted.set()
        await eventually(lambda: relay.relay.ready and not listener.remark, f"all is well again after {rule}")


def _reconnect(users: Users, name: str) -> None:
    users.look.execute_command("CLIENT", "KILL", "USER", name)


def test_each_right_of_a_publisher_is_needed(
    users: Users, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for those who commit: everything that the commit script can do is done, and fails without each right."""
    _publishes_everything(users, "all")
    assert not caplog.records
    for number, rule in enumerate(users.needed("publisher")):
        users.allow("publisher", without=rule)
        users.look.script_flush()
        caplog.clear()
        warn_no_identity.cache_clear()
        broken = False
        try:
            _publishes_everything(users, f"r{number}")
        except RunlogError:
            broken = True
        said = any("no right to the command INFO" in record.getMessage() for record in caplog.records)
        assert broken or (rule == "+info" and said), f"nothing breaks without {rule}"


def _publishes_everything(users: Users, run_id: str) -> None:
    """Every command of the scripts that a worker calls is given at least once. Raises RunlogError."""
    runlog = RunLog(users.url("publisher"), users.keys, Retention(log_lines=1, events=1))
    sequences: dict[int, ProducerSequence] = {}

    def commit(*events: Event, producer: int = 0) -> None:
        sequence = sequences.setdefault(producer, ProducerSequence.fresh())
        if runlog.commit(Batch(run_id, sequence.producer, sequence.next, events)).unannounced:
            raise RunlogError("nothing is announced")
        sequence.next += len(events)

    steps = (StepSpec("plan"), StepSpec("render"))
    try:
        commit(Event(1, state="QUEUED", kind="queue", steps=steps, title="a film"))
        users.look.hdel(users.keys.run(run_id)[0], "step_names")  # an older version keeps no index of them
        commit(Event(1, kind="step_start", step="plan", attempt=1))
        commit(make_event("PLAN", 0.5, step="plan", attempt=1))
        commit(*(make_event(log=f"line {n}") for n in range(130)))
        if not users.look.llen(users.keys.run(run_id)[2]):
            raise RunlogError("no line is kept")
        if users.look.hget(users.keys.run(run_id)[0], "log_bytes") in (None, b"0"):
            raise RunlogError("the log is not bounded in bytes")
        commit(make_event("FAILED", error="broken"))
        commit(Event(1, state="QUEUED", kind="queue"))
        for number in range(2):
            commit(make_event(log="of the attempt before", attempt=1))
            if users.look.hget(users.keys.run(run_id)[0], "fenced") != b"%d" % (number + 1):
                raise RunlogError("what is fenced is not counted")
        users.look.hset(users.keys.run(run_id)[0], "prune_at", 1)  # marks of producers are looked through
        commit(make_event(log="another"), producer=1)
        users.look.delete(users.keys.run(run_id)[0])  # a stream without a hash: it goes first
        commit(make_event(log="begins anew"), producer=99)
        if runlog.heartbeat([run_id])[run_id] is None:
            raise RunlogError("the heartbeat is refused")
        runlog.index({run_id: 1})
        runlog.stop_heartbeats([run_id])
    finally:
        runlog.close()


@pytest.mark.long
def test_each_right_of_who_only_looks_is_needed(users: Users) -> None:
    """The same for the two commands that only show."""
    _publishes_everything(users, "r")
    runlog = RunLog(users.url("publisher"), users.keys)
    runlog.commit(Batch("r", "p", 1, [make_event("END", log="the last line")]))
    runlog.close()

    def looks() -> None:
        assert "succeeded" in _command(users, "viewer", "runs")
        assert "the last line" in _command(users, "viewer", "tail", "r")

    looks()
    for rule in users.needed("viewer"):
        users.allow("viewer", without=rule)
        users.look.script_flush()
        with suppress(RunrelayError):
            looks()
            raise AssertionError(f"nothing breaks without {rule}")
