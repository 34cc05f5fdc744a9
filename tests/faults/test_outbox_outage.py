"""Redis stops, hangs, is full and comes back while tasks publish: every line is committed once, in order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from runrelay import publish_progress
from runrelay.outbox import Publisher
from runrelay.outbox.flusher import UNSENDABLE_NOTE
from runrelay.outbox.scopes import TaskScope
from runrelay.progress import Event, make_event
from runrelay.publisher.publish import use_sink
from runrelay.runlog import Batch, ProducerSequence, RunLog
from tests.support.publishing import BASE, lines, log_of, publish_lines, publishing, settings_for, wait_until_down
from tests.support.servers import Server

StartServer = Callable[..., Server]


@pytest.fixture
def server(start_valkey: StartServer) -> Server:
    return start_valkey(appendonly="yes")


def test_several_threads_and_runs_across_restarts(server: Server) -> None:
    """A line that is lost, doubled or out of order, under load, while Redis is stopped and started."""
    with publishing(settings_for(server)) as publisher:
        halfway = threading.Barrier(5, timeout=30)

        def task(run_id: str) -> None:
            for part in range(4):
                publish_lines(publisher, run_id, part * 500, part * 500 + 500)
                halfway.wait()  # the restart is during the next part

        threads = [threading.Thread(target=task, args=(f"run-{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for part in range(4):
            halfway.wait()
            if part % 2 == 0:
                server.stop()
            else:
                server.start()
        for thread in threads:
            thread.join()
        assert publisher.flush(60)
        assert publisher.counts.committed == 8000
    for i in range(4):
        assert log_of(server, f"run-{i}") == lines(0, 2000)


class Impatient(Publisher):
    """A publisher whose calls time out after 0.2 s."""

    def _connect(self, **_: float) -> RunLog:
        return RunLog(
            self.settings.redis_url, self.settings.keys, self.settings.retention, timeout_s=0.2, connect_timeout_s=0.2
        )


def _hang(server: Server) -> list[str]:
    """Redis hangs while a batch is in flight, executes it later, and the reply is lost."""
    publisher = Impatient(settings_for(server))
    try:
        publish_lines(publisher, "run", 0, 10)
        assert publisher.flush(10)
        server.pause()
        publish_lines(publisher, "run", 10, 20)
        wait_until_down(publisher)
        publish_lines(publisher, "run", 20, 30)
        server.resume()
        assert publisher.flush(30)
    finally:
        server.resume()
        publisher.close(5.0)
    return log_of(server, "run")


def test_a_batch_whose_reply_was_lost_is_committed_once(server: Server) -> None:
    """Lines that are doubled because they were sent again."""
    assert _hang(server) == lines(0, 30)


def test_without_its_numbers_a_batch_is_committed_twice(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: sent again under a new producer name, the lines are in the log twice."""
    commit_many = RunLog.commit_many

    def renamed(self: RunLog, batches: Sequence[Batch]) -> object:
        fresh = [replace(batch, producer=ProducerSequence.fresh().producer, first=1) for batch in batches]
        return commit_many(self, fresh)

    monkeypatch.setattr(RunLog, "commit_many", renamed)
    found = _hang(server)
    assert len(found) > 30
    assert set(found) == set(lines(0, 30))


def _outrun(server: Server) -> int:
    """Publish faster than Redis commits, and more than fits. Returns how many lines were dropped."""
    with publishing(settings_for(server, outbox_bytes=256 * 1024)) as publisher:
        publish_lines(publisher, "run", 0, 20_000)
        assert publisher.flusher.wait(60)
        return publisher.counts.dropped_lines


def test_a_task_that_is_faster_than_redis_is_slowed_down(server: Server) -> None:
    """Lines that are dropped although Redis is up."""
    assert _outrun(server) == 0
    assert log_of(server, "run") == lines(0, 20_000)


def test_without_backpressure_lines_are_dropped(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a task that does not wait for room is faster than Redis."""
    monkeypatch.setattr("runrelay.outbox.outbox.Outbox._waited_for_room", lambda self: False)
    assert _outrun(server) > 0


def test_a_redis_that_hangs_does_not_hold_a_task_up(server: Server) -> None:
    """A task that waits for room for as long as Redis hangs."""
    with publishing(settings_for(server, outbox_bytes=256 * 1024)) as publisher:
        publish_lines(publisher, "run", 0, 10)
        assert publisher.flusher.wait(10)
        server.pause()
        try:
            before = time.monotonic()
            publish_lines(publisher, "run", 10, 20_000)
            took_s = time.monotonic() - before
        finally:
            server.resume()
        assert took_s < 15
        assert publisher.flusher.wait(60)
        found = log_of(server, "run")
        notes = [line for line in found if line.startswith("… ")]
        assert sum(int(note.split()[1]) for note in notes) + len(found) - len(notes) == 20_000


def test_a_publisher_that_was_closed_while_redis_hung_still_commits(server: Server) -> None:
    """A flusher that ends after `close` has given up waiting for it, so that the next event has no flusher."""
    with publishing(settings_for(server)) as publisher:
        publish_lines(publisher, "run", 0, 5)
        assert publisher.flush(10)
        server.pause()
        publish_lines(publisher, "run", 5, 10)
        assert not publisher.close(0.1)
        server.resume()
        publish_lines(publisher, "run", 10, 15)
        assert publisher.flush(30)
        assert publisher.close(10)
        publish_lines(publisher, "run", 15, 20)
        assert publisher.flush(10)
    assert log_of(server, "run") == lines(0, 20)


def test_events_wait_while_redis_is_full(start_valkey: StartServer) -> None:
    """A line that is given up because Redis had no memory at that time."""
    server = start_valkey(maxmemory_policy="noeviction")
    with publishing(settings_for(server)) as publisher, server.client() as client:
        publish_lines(publisher, "run", 0, 10)
        assert publisher.flush(10)
        client.config_set("maxmemory", "1")
        publish_lines(publisher, "run", 10, 20)
        wait_until_down(publisher)
        client.config_set("maxmemory", "0")
        publish_lines(publisher, "run", 20, 30)
        assert publisher.flush(30)
        assert publisher.counts.rejected == 0
    assert log_of(server, "run") == lines(0, 30)


def test_the_end_of_a_task_does_not_wait_for_a_redis_that_is_away(server: Server) -> None:
    """A worker that is a second slower per task while Redis is away."""
    server.stop()
    with publishing(settings_for(server)) as publisher:
        publish_lines(publisher, "run", 0, 10)
        wait_until_down(publisher)
        before = time.monotonic()
        assert not publisher.flush(60, while_down=False)
        assert time.monotonic() - before < 30
        server.start()
        assert publisher.flush(30)
    assert log_of(server, "run") == lines(0, 10)


def test_a_rejected_batch_does_not_block_its_run_or_others(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """An event that cannot be sent, and is tried for ever."""
    with publishing(settings_for(server)) as publisher, caplog.at_level(logging.ERROR):
        for _ in range(2):
            publisher.emit("bad", Event(0, log="\ud800"))  # without the checks that would have replaced it
            publish_lines(publisher, "good", 0, 1)
            assert not publisher.flush(10)
        publish_lines(publisher, "bad", 0, 5)
        assert publisher.flush(10)
        assert publisher.counts.rejected == 2
    assert log_of(server, "bad") == [UNSENDABLE_NOTE] * 2 + lines(0, 5)
    assert log_of(server, "good") == ["line 0"] * 2
    assert len([record for record in caplog.records if "given up" in record.getMessage()]) == 1


def test_a_flusher_that_fails_is_replaced_by_another(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that publishes nothing after an error in the flusher, or a batch that is lost in it."""
    index = RunLog.index
    failures = iter([RuntimeError("a mistake")])
    failed: list[threading.Thread] = []
    come = threading.Event()

    def failing(self: RunLog, updated_at: dict[str, int]) -> None:
        for error in failures:
            failed.append(threading.current_thread())
            come.set()
            raise error
        index(self, updated_at)

    monkeypatch.setattr(RunLog, "index", failing)
    with publishing(settings_for(server)) as publisher:
        publish_lines(publisher, "run", 0, 10)
        assert come.wait(30)
        failed[0].join(30)
        assert not failed[0].is_alive()
        publish_lines(publisher, "run", 10, 20)
        assert publisher.flush(30)
    assert log_of(server, "run") == lines(0, 20)


def _replaced_task(server: Server) -> list[str]:
    """A task is started twice; then both publish."""
    start = make_event("STARTED")._replace(kind="start")
    with publishing(settings_for(server)) as first, publishing(settings_for(server)) as second:
        replaced, living = TaskScope("run"), TaskScope("run")
        first.emit("run", start, replaced)
        first.emit("run", make_event(log="first"), replaced)
        assert first.flush(10)
        second.emit("run", start, living)
        second.emit("run", make_event(log="second"), living)
        assert second.flush(10)
        first.emit("run", make_event(log="of the old one"), replaced)
        first.emit("run", make_event("FAILED", error="of the old one"), replaced)
        assert first.flush(10)
        second.emit("run", make_event("END", log="the end"), living)
        assert second.flush(10)
    return log_of(server, "run")


def test_events_of_a_task_that_was_replaced_are_fenced(server: Server) -> None:
    """A task that was replaced, and fails its successor's run."""
    assert _replaced_task(server) == ["first", "second", "the end"]


def test_without_the_fence_a_task_that_was_replaced_ends_the_run(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: without the attempt in its events, its end is committed."""
    monkeypatch.setattr(TaskScope, "fence", lambda self, event: event)
    assert _replaced_task(server) == ["first", "second", "of the old one"]


def test_runs_are_entered_in_the_list_when_they_start_and_end(server: Server) -> None:
    """A run that is missing in the list of runs."""
    with publishing(settings_for(server)) as publisher, server.client(decode_responses=True) as client:
        publish_lines(publisher, "run", 0, 1)
        assert publisher.flush(10)
        publisher.close(5)
        begun = client.zscore(BASE.keys.runs, "run")
        publisher.emit("run", make_event("END"))
        assert publisher.flush(10)
        publisher.close(5)
        ended = client.zscore(BASE.keys.runs, "run")
        assert begun is not None
        assert ended is not None
        assert float(str(ended)) == float(str(client.hget(BASE.keys.run("run")[0], "updated_at")))


def test_a_line_without_utf8_form_does_not_keep_the_others_of_its_batch(server: Server) -> None:
    """A batch that is given up, or sent for ever, for a lone surrogate: the quick path does not look for them."""
    with publishing(settings_for(server)) as publisher:
        before = use_sink(publisher)
        try:
            for i in range(2):  # the first call of a run takes the plain path
                publish_progress("run", "WORK", i / 10, f"{i} \udce9")
                publish_progress("run", "WORK", None, f"{i} 한 줄")
                publish_progress("other", "WORK", None, f"{i}")
        finally:
            use_sink(before)
        assert publisher.flush(30)
        assert (publisher.counts.committed, publisher.counts.rejected) == (6, 0)
    assert log_of(server, "run") == ["0 ?", "0 한 줄", "1 ?", "1 한 줄"]
    assert log_of(server, "other") == ["0", "1"]
