"""The spool: while Redis is away for long, events that do not fit in memory wait on disk, and each is committed
once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runrelay.outbox import Publisher
from runrelay.outbox.scopes import TaskScope
from runrelay.outbox.spool import disk as disk_spool
from runrelay.outbox.spool.file import SpoolFile, abandoned, encode
from runrelay.progress import Event, make_event, step_specs
from runrelay.runlog import Batch, RunLog
from tests.support.publishing import (
    BASE,
    lines,
    log_of,
    publish_lines,
    publishing,
    settings_for,
    spool_everything,
    wait_until_down,
)
from tests.support.servers import Server

StartServer = Callable[..., Server]
BOUND = 256 * 1024


@pytest.fixture
def server(start_valkey: StartServer) -> Server:
    return start_valkey(appendonly="yes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def _outage(server: Server, publisher: Publisher) -> tuple[list[str], list[str]]:
    """Publish far more than fits while Redis is away. Returns the runs' logs when it is back."""
    publish_lines(publisher, "a", 0, 10)
    assert publisher.flush(10)
    server.stop()
    publish_lines(publisher, "a", 10, 20)
    wait_until_down(publisher)
    for i in range(20, 3000, 10):
        publish_lines(publisher, "a", i, i + 10)
        publish_lines(publisher, "b", i, i + 10)
    server.start()
    publish_lines(publisher, "a", 3000, 3010)
    assert publisher.flusher.wait(60)
    return log_of(server, "a"), log_of(server, "b")


def test_with_a_spool_no_line_is_dropped(server: Server, folder: Path) -> None:
    """Lines that are lost, doubled or out of order although there is a spool."""
    with publishing(settings_for(server, outbox_bytes=BOUND, spool=folder)) as publisher:
        a, b = _outage(server, publisher)
        assert publisher.counts.spooled > 1000
        assert publisher.counts.dropped_lines == 0
    assert a == lines(0, 3010)
    assert b == lines(20, 3000)
    assert list(folder.iterdir()) == []


def test_without_a_spool_the_same_outage_drops_lines(server: Server) -> None:
    """The control: the outage has more events than memory can hold."""
    with publishing(settings_for(server, outbox_bytes=BOUND)) as publisher:
        a, b = _outage(server, publisher)
        dropped = publisher.counts.dropped_lines
    notes = [line for line in a + b if line.startswith("… ")]
    assert dropped > 1000
    assert len(notes) == 2
    assert sum(int(note.split()[1]) for note in notes) == dropped
    assert [line for line in a if not line.startswith("… ")] == sorted(set(a) - set(notes), key=lambda s: int(s[5:]))
    assert a[-1] == "line 3009"


_LEAVES_A_SPOOL = """
import os, signal, sys
from pathlib import Path
from runrelay import PublisherSettings
from runrelay.progress import make_event
from runrelay.outbox import Publisher

publisher = Publisher(PublisherSettings(redis_url=sys.argv[1], spool=Path(sys.argv[2])))
for i in range(200):
    publisher.emit("left", make_event(log=f"line {i}"))
publisher.flush(30, while_down=False)
assert publisher.down
for i in range(200, 400):
    publisher.emit("left", make_event(log=f"line {i}"))
assert publisher.spool.put()
print("spooled", flush=True)
if sys.argv[3] == "waits":
    sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


def _leave_a_spool(url: str, folder: Path, how: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", _LEAVES_A_SPOOL, url, str(folder), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "spooled\n"
    return child


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()
    assert child.returncode == -signal.SIGKILL


def test_the_spool_of_a_killed_process_is_adopted(server: Server, folder: Path) -> None:
    """Events of a killed worker on disk, its batch in flight included, that are never committed."""
    server.stop()
    _end(_leave_a_spool(server.url, folder, "dies"))
    server.start()
    with publishing(settings_for(server, spool=folder)) as publisher:
        publish_lines(publisher, "other", 0, 1)
        _until_adopted(publisher)
    assert log_of(server, "left") == lines(0, 400)
    assert list(folder.iterdir()) == []


def test_the_spool_of_a_living_process_is_left_alone(server: Server, folder: Path) -> None:
    """A spool that two processes commit at the same time, out of order."""
    server.stop()
    child = _leave_a_spool(server.url, folder, "waits")
    assert list(abandoned(folder, {})) == []
    _end(child)
    adopted = list(abandoned(folder, {}))
    assert len(adopted) == 1
    adopted[0].close()


def test_rows_that_a_dead_owner_has_committed_are_not_committed_again(server: Server, folder: Path) -> None:
    """Doubled lines, because the owner committed rows and died before it could delete them."""
    events = [make_event(log=line) for line in lines(0, 10)]
    _spool_of_the_dead(folder, "half", events)
    runlog = RunLog(server.url, BASE.keys, BASE.retention)
    runlog.commit(Batch("half", "dead", 1, events[:6]))
    runlog.close()
    with publishing(settings_for(server, spool=folder)) as publisher:
        publish_lines(publisher, "other", 0, 1)
        _until_adopted(publisher)
    assert log_of(server, "half") == lines(0, 10)


def test_rows_that_are_sent_under_another_producer_name_are_doubled(server: Server, folder: Path) -> None:
    """The control: without the dead producer's name and numbers the same lines are committed twice."""
    events = [make_event(log=line) for line in lines(0, 10)]
    _spool_of_the_dead(folder, "half", events)
    runlog = RunLog(server.url, BASE.keys, BASE.retention)
    runlog.commit(Batch("half", "not-the-dead", 1, events[:6]))
    runlog.close()
    with publishing(settings_for(server, spool=folder)) as publisher:
        publish_lines(publisher, "other", 0, 1)
        _until_adopted(publisher)
    assert log_of(server, "half") == lines(0, 6) + lines(0, 10)


@pytest.mark.parametrize("begun_since", [True, False])
def test_the_start_of_a_dead_task_does_not_fence_its_successor(server: Server, folder: Path, begun_since: bool) -> None:
    """An adopted start that is given a new attempt, so that the events of the living task are fenced."""
    start = make_event("STARTED")._replace(kind="start", base_attempt=1)
    said = [start, make_event(log="the dead"), make_event("END")]
    with publishing(settings_for(server)) as living:
        living.commit("run", make_event("QUEUED")._replace(kind="queue"))
        scope = TaskScope("run")
        if begun_since:
            living.emit("run", start, scope)
            living.emit("run", make_event(log="the living"), scope)
            assert living.flush(10)
            assert scope.attempt == 1
        _spool_of_the_dead(folder, "run", said, scoped=True)
        with publishing(settings_for(server, spool=folder)) as adopter:
            publish_lines(adopter, "other", 0, 1)
            _until_adopted(adopter)
        living.emit("run", make_event(log="goes on"), scope)
        assert living.flush(10)
    with server.client(decode_responses=True) as client:
        fields = client.hgetall(BASE.keys.run("run")[0])
    if begun_since:
        assert log_of(server, "run") == ["the living", "goes on"]
        assert (fields["attempt"], fields["status"], fields["fenced"]) == ("1", "running", "3")
    else:
        assert log_of(server, "run") == ["the dead"]
        assert fields["status"] == "succeeded"


def test_events_of_a_task_that_started_during_an_outage_have_its_attempt(server: Server, folder: Path) -> None:
    """Events after a spooled start that are committed without the attempt that it was given."""
    with publishing(settings_for(server)) as earlier:
        earlier.emit("run", make_event("STARTED")._replace(kind="start"), TaskScope("run"))
        earlier.commit("canvas", make_event("QUEUED")._replace(kind="queue", steps=step_specs(["part"])))
        assert earlier.flush(10)
    server.stop()
    scope, member = TaskScope("run"), TaskScope("canvas", "part", attempt=1)
    with publishing(settings_for(server, outbox_bytes=BOUND, spool=folder)) as publisher:
        publisher.emit("run", make_event("STARTED")._replace(kind="start"), scope)
        publisher.emit("canvas", make_event(step="part")._replace(kind="step_start", attempt=1), member)
        wait_until_down(publisher)
        for i in range(2000):
            publisher.emit("run", make_event(log=f"line {i}"), scope)
        publisher.emit("run", make_event("END"), scope)
        failed = make_event("FAILED", step="part", error="it broke", attempt=1)
        publisher.emit("canvas", failed, member, make_event("FAILED", error="part: it broke", attempt=1))
        spool_everything(publisher)
        assert publisher.counts.spooled >= 2002
        server.start()
        assert publisher.flush(60)
        assert (scope.attempt, member.step_attempt) == (2, 1)
    assert log_of(server, "run") == lines(0, 2000)
    with server.client(decode_responses=True) as client:
        run = client.hgetall(BASE.keys.run("run")[0])
        canvas = client.hgetall(BASE.keys.run("canvas")[0])
    assert (run["status"], run["attempt"]) == ("succeeded", "2")
    assert (canvas["status"], canvas["error"]) == ("failed", "part: it broke")
    assert list(folder.iterdir()) == []


def test_events_that_wait_at_the_end_of_a_process_are_spooled(server: Server, folder: Path) -> None:
    """The last lines of a process that ends while Redis is away, which are lost."""
    server.stop()
    with publishing(settings_for(server, spool=folder)) as publisher:
        publish_lines(publisher, "run", 0, 20)
        wait_until_down(publisher)
        publish_lines(publisher, "run", 20, 40)
    assert [path.suffix for path in sorted(folder.iterdir())] == [".lock", ".sqlite"]
    server.start()
    with publishing(settings_for(server, spool=folder)) as publisher:
        publish_lines(publisher, "other", 0, 1)
        _until_adopted(publisher)
    assert log_of(server, "run") == lines(0, 40)


def test_a_spool_that_cannot_be_written_does_not_fail_the_task(server: Server, tmp_path: Path) -> None:
    """A task that fails, or memory that grows without a bound, because the folder cannot be written."""
    file = tmp_path / "not-a-folder"
    file.write_text("")
    with publishing(settings_for(server, outbox_bytes=BOUND, spool=file / "spool")) as publisher:
        a, _ = _outage(server, publisher)
        assert publisher.counts.dropped_lines > 1000
        assert publisher.outbox.bytes <= BOUND
    assert a[-1] == "line 3009"


def test_a_spool_that_cannot_be_read_does_not_stop_commits(
    server: Server, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged file, or one of a newer version, because of which this process commits nothing."""
    monkeypatch.setattr(disk_spool, "ADOPT_EVERY_S", 0.0)
    folder.mkdir(exist_ok=True)
    (folder / "1-damaged.sqlite").write_bytes(b"no database at all")
    newer = SpoolFile.create(folder)
    newer.add([("left", "dead", 1, None, b'{"ts_ms": 1, "encoded": [], "of_tomorrow": 1}', None)])
    newer.close()
    _spool_of_the_dead(folder, "left", [make_event(log="line 0")])
    with publishing(settings_for(server, spool=folder)) as publisher:
        publish_lines(publisher, "run", 0, 1)
        assert publisher.flusher.wait(30)
        for _ in range(3):
            publish_lines(publisher, "run", 1, 2)
            assert publisher.flusher.wait(30)
    assert log_of(server, "run")[0] == "line 0"
    assert log_of(server, "left") == ["line 0"]
    assert len([record for record in caplog.records if "left as it is" in record.message]) == 2
    assert {path.name for path in folder.glob("*.sqlite")} == {"1-damaged.sqlite", newer.path.name}
    (adopted,) = abandoned(
        folder, {folder / "1-damaged.sqlite": float("inf")}
    )  # its lock is free for a process that can read it
    adopted.close()


def _spool_of_the_dead(folder: Path, run_id: str, events: list[Event], *, scoped: bool = False) -> None:
    file = SpoolFile.create(folder)
    with file.transaction():
        if scoped:
            file.add_scope(1, run_id, None, None)
        file.add(
            (run_id, "dead", number, 1 if scoped else None, encode(event), None)
            for number, event in enumerate(events, 1)
        )
    file.close()


def _until_adopted(publisher: Publisher) -> None:
    """The flusher replays what it has adopted before what waits in memory, a part each round."""
    folder = publisher.settings.spool
    assert folder is not None
    for i in range(1000):
        publish_lines(publisher, "other", i, i + 1)
        assert publisher.flush(30)
        if not any(folder.iterdir()):
            return
    raise AssertionError(f"still there: {os.listdir(folder)}")
