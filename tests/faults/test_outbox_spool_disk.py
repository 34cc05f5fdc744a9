"""A spool whose disk is full, fails or is removed: the worker goes on, and commits what it can."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runrelay.errors import CannotBeSent
from runrelay.outbox import Publisher
from runrelay.outbox.spool import disk as disk_spool
from runrelay.outbox.spool.disk import DiskSpool
from runrelay.outbox.spool.file import SpoolFile, encode
from runrelay.progress import make_event
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
DISK_KIB = 1024
FLUSH_S = 60.0


@pytest.fixture
def server(start_valkey: StartServer) -> Server:
    return start_valkey(appendonly="yes")


def _mount(*options: str) -> None:
    if subprocess.run(["mount", *options], capture_output=True).returncode != 0:
        pytest.skip("no right to mount a small file system here (it takes root)")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={DISK_KIB}k", "none", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Another program takes all the remaining room."""
    with (disk / "of-another-program").open("ab", buffering=0) as file:
        size = 4096
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2


def goes_away(server: Server, publisher: Publisher, last: int, run_id: str = "a") -> None:
    """Stop Redis after ten lines, and publish the lines up to `last`."""
    publish_lines(publisher, run_id, 0, 10)
    assert publisher.flusher.wait(FLUSH_S)
    server.stop()
    publish_lines(publisher, run_id, 10, 20)
    wait_until_down(publisher)
    for first in range(20, last, 10):
        publish_lines(publisher, run_id, first, first + 10)


def is_whole(server: Server, publisher: Publisher, last: int, run_id: str = "a") -> None:
    """The run has ended, and its log has each line once and in order, or a notice of how many are missing."""
    found = log_of(server, run_id)
    notes = [line for line in found if line.startswith("… ")]
    said = [line for line in found if not line.startswith("… ")]
    assert said == sorted(set(said), key=lambda line: int(line.split()[1])), "doubled, or out of order"
    missing = len(set(lines(0, last)) - set(said))
    assert missing == sum(int(note.split()[1]) for note in notes) == publisher.counts.dropped_lines
    assert status_of(server, run_id) == "succeeded"


def status_of(server: Server, run_id: str) -> Any:
    with server.client(decode_responses=True) as client:
        return client.hget(BASE.keys.run(run_id)[0], "status")


def outage_on_a_full_disk(server: Server, publisher: Publisher, disk: Path) -> None:
    """Redis is away for longer than memory and disk can hold; the run ends meanwhile."""
    goes_away(server, publisher, 8000)
    fill(disk)
    publisher.emit("a", make_event("END"))
    assert publisher.counts.spooled > 1000
    assert publisher.counts.dropped_lines > 500
    server.start()


def test_a_worker_commits_again_after_an_outage_with_a_full_disk(server: Server, disk: Path) -> None:
    """A worker that never commits again, END included, because SQLite has no room to delete rows."""
    folder = disk / "spool"
    with publishing(settings_for(server, outbox_bytes=BOUND, spool=folder)) as publisher:
        outage_on_a_full_disk(server, publisher, disk)
        assert publisher.flusher.wait(FLUSH_S)
        is_whole(server, publisher, 8000)
        assert list(folder.iterdir()) == [], "what is committed takes no room any more"
        dropped = publisher.counts.dropped_lines
        # a second outage, with the room that there is now
        (disk / "of-another-program").unlink()
        goes_away(server, publisher, 4000, "b")
        publisher.emit("b", make_event("END"))
        server.start()
        assert publisher.flusher.wait(FLUSH_S)
        assert publisher.counts.dropped_lines == dropped
    assert log_of(server, "b") == lines(0, 4000)
    assert status_of(server, "b") == "succeeded"


def test_without_remembering_acknowledged_rows_it_does_not(
    server: Server, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: rows that cannot be deleted are sent again and again, and later ones never."""
    delete = SpoolFile._delete

    def forgetful(file: SpoolFile, *, now: bool = False) -> None:
        delete(file, now=now)
        file._acknowledged.clear()
        file._acknowledged_numbers.clear()

    monkeypatch.setattr(SpoolFile, "_delete", forgetful)
    with publishing(settings_for(server, outbox_bytes=BOUND, spool=disk / "spool")) as publisher:
        outage_on_a_full_disk(server, publisher, disk)
        publisher.flush(5.0)
        with pytest.raises(AssertionError):
            is_whole(server, publisher, 8000)


def test_a_batch_in_flight_that_was_spooled_is_settled_on_a_full_disk(server: Server, disk: Path) -> None:
    """A flusher that fails again and again, because a batch that was in flight cannot be deleted from the disk."""
    with publishing(settings_for(server, outbox_bytes=BOUND, spool=disk / "spool")) as publisher:
        goes_away(server, publisher, 300)
        spool_everything(publisher)
        assert any(batch.spooled for batch in publisher.outbox.batches())
        fill(disk)
        publisher.emit("a", make_event("END"))
        server.start()
        assert publisher.flusher.wait(FLUSH_S)
        is_whole(server, publisher, 300)
        assert publisher.counts.committed == 301, "each is counted once"


def test_no_failure_of_the_spool_stops_commits(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A flusher that ends because of an unexpected error of the spool, and again at the next event."""
    monkeypatch.setattr(disk_spool, "READ_FOR_S", 1.0)
    with publishing(settings_for(server, outbox_bytes=BOUND, spool=tmp_path / "spool")) as publisher:
        goes_away(server, publisher, 300)
        spool_everything(publisher)

        def fails(*_: object) -> None:
            raise RuntimeError("unexpected")

        monkeypatch.setattr(DiskSpool, "_replay_own", fails)
        monkeypatch.setattr(SpoolFile, "acknowledge_numbers", fails)
        publisher.emit("a", make_event("END"))
        publish_lines(publisher, "b", 0, 10)
        server.start()
        assert publisher.flusher.wait(FLUSH_S)
        is_whole(server, publisher, 300)
    assert log_of(server, "b") == lines(0, 10)
    assert "the flusher has failed" not in caplog.text


_DIES_WITH_A_SPOOL = """
import os, signal, sys
from pathlib import Path
from runrelay.outbox.spool.file import SpoolFile, encode
from runrelay.progress import make_event

file = SpoolFile.create(Path(sys.argv[1]))
events = [make_event(log=f"line {i}") for i in range(int(sys.argv[2]))] + [make_event("END")]
with file.transaction():
    file.add(("left", "dead", number, None, encode(event), None) for number, event in enumerate(events, 1))
if sys.argv[3] == "closed":
    file.close()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["killed", "closed"])
def test_a_dead_process_spool_is_adopted_on_a_full_disk(server: Server, disk: Path, how: str) -> None:
    """A dead worker's run that never ends, because its spool cannot be opened or emptied on a full disk."""
    folder = disk / "spool"
    command = [sys.executable, "-c", _DIES_WITH_A_SPOOL, str(folder), "4000", how]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    fill(disk)
    with publishing(settings_for(server, spool=folder)) as publisher:
        for i in range(100):
            publish_lines(publisher, "other", i, i + 1)
            assert publisher.flusher.wait(FLUSH_S)
            if not list(folder.iterdir()):
                break
        assert list(folder.iterdir()) == []
    assert log_of(server, "left") == lines(0, 4000)
    assert status_of(server, "left") == "succeeded"


def test_a_file_that_is_deleted_under_its_owner_is_committed(server: Server, tmp_path: Path) -> None:
    """Lines that are lost, or a worker that stops, because a clean-up has deleted the file."""
    folder = tmp_path / "spool"
    with publishing(settings_for(server, outbox_bytes=BOUND, spool=folder)) as publisher:
        goes_away(server, publisher, 3000)
        for path in folder.iterdir():
            path.unlink()
        publisher.emit("a", make_event("END"))
        server.start()
        assert publisher.flusher.wait(FLUSH_S)
        assert publisher.counts.dropped_lines == 0
        is_whole(server, publisher, 3000)


def test_a_folder_that_becomes_read_only_does_not_stop_commits(server: Server, disk: Path) -> None:
    """A worker that stops, or an exit that fails, because its spool can be neither created nor deleted."""
    folder = disk / "spool"
    with publishing(settings_for(server, outbox_bytes=BOUND, spool=folder)) as publisher:
        goes_away(server, publisher, 2000)
        assert publisher.counts.spooled > 500
        _mount("--bind", str(folder), str(folder))
        try:
            _mount("-o", "remount,bind,ro", str(folder))
            publisher.emit("a", make_event("END"))
            server.start()
            assert publisher.flusher.wait(FLUSH_S)
            is_whole(server, publisher, 2000)
            publisher.close(5.0)
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    with publishing(settings_for(server, spool=folder)) as publisher:  # the file is left, with committed rows
        publish_lines(publisher, "b", 0, 1)
        assert publisher.flusher.wait(FLUSH_S)
    assert len(log_of(server, "a")) == 2000


def test_a_spool_that_another_program_has_locked_does_not_stop_commits(server: Server, tmp_path: Path) -> None:
    """A task or a flusher that waits while a person or a backup reads the file."""
    folder = tmp_path / "spool"
    with publishing(settings_for(server, outbox_bytes=BOUND, spool=folder)) as publisher:
        goes_away(server, publisher, 2000)
        (path,) = folder.glob("*.sqlite")
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN IMMEDIATE")
        publisher.emit("a", make_event("END"))
        server.start()
        assert publisher.flusher.wait(FLUSH_S)
        is_whole(server, publisher, 2000)
        reader.close()


def damage(publisher: Publisher) -> None:
    """The disk loses the file's content. SQLite's cache is emptied first: a larger file would not be in it either."""
    assert isinstance(publisher.spool, DiskSpool)
    assert publisher.spool._file is not None
    for statement in ("PRAGMA cache_size = 0", "PRAGMA shrink_memory"):
        publisher.spool._file._database.execute(statement)
    path = publisher.spool._file.path
    path.write_bytes(b"\xff" * path.stat().st_size)
    Path(f"{path}-wal").write_bytes(b"")


def test_rows_that_are_lost_are_counted_in_the_log_and_the_run_ends(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run without an end, or lines that are missing without a notice, because the disk has lost the file."""
    monkeypatch.setattr(disk_spool, "READ_FOR_S", 1.0)
    folder = tmp_path / "spool"
    with publishing(settings_for(server, outbox_bytes=BOUND, spool=folder)) as publisher:
        goes_away(server, publisher, 2000)
        publisher.emit("a", make_event("END"))
        publish_lines(publisher, "b", 0, 10)
        spool_everything(publisher)
        spooled = publisher.counts.spooled
        damage(publisher)
        publish_lines(publisher, "c", 0, 10)
        server.start()
        assert publisher.flusher.wait(FLUSH_S)
        found = log_of(server, "a")
        assert status_of(server, "a") == "succeeded"
        assert found[:20] == lines(0, 20)
        assert found[20:] == [f"… {2000 - 20} lines dropped"]
        assert log_of(server, "b") == ["… 10 lines dropped"]
        assert log_of(server, "c") == lines(0, 10)
        assert f"{spooled} events are given up" in caplog.text
        # the next outage has a file of its own
        goes_away(server, publisher, 2000, "d")
        publisher.emit("d", make_event("END"))
        server.start()
        assert publisher.flusher.wait(FLUSH_S)
    assert log_of(server, "d") == lines(0, 2000)


def test_a_failed_write_leaves_nothing_on_disk(server: Server, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that are in memory and on disk and are committed twice, or a file for each try."""
    folder = disk / "spool"
    folder.mkdir()
    fill(disk)
    monkeypatch.setattr(disk_spool, "WRITE_AGAIN_S", 0.0)
    with publishing(settings_for(server, outbox_bytes=BOUND)) as publisher:
        spool = DiskSpool(folder, publisher.outbox)
        goes_away(server, publisher, 300)
        for _ in range(3):
            assert not spool.put()
        assert list(folder.iterdir()) == []
        (disk / "of-another-program").unlink()
        server.start()
        assert publisher.flusher.wait(FLUSH_S)
    assert log_of(server, "a") == lines(0, 300)


def test_a_row_that_cannot_be_sent_does_not_hold_up_the_others(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that cannot be packed, because of which all others wait for ever."""
    folder = tmp_path / "spool"
    file = SpoolFile.create(folder)
    with file.transaction():
        for run_id in ("good", "bad", "fine"):
            file.add([(run_id, "dead", 1, None, encode(make_event(log="line 0")), None)])
    file.close()
    commit_many = RunLog.commit_many

    def packs(runlog: RunLog, batches: list[Batch]) -> object:
        if any(batch.run_id == "bad" for batch in batches):
            raise CannotBeSent("cannot be packed")
        return commit_many(runlog, batches)

    monkeypatch.setattr(RunLog, "commit_many", packs)
    with publishing(settings_for(server, spool=folder)) as publisher:
        publish_lines(publisher, "other", 0, 1)
        assert publisher.flusher.wait(FLUSH_S)
        publish_lines(publisher, "other", 1, 2)
        assert publisher.flusher.wait(FLUSH_S)
        assert publisher.counts.rejected == 1
    assert log_of(server, "good") == log_of(server, "fine") == ["line 0"]
