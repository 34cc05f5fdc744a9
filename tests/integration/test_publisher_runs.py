"""Programs that publish, with a real Valkey: what is in the run's hash, stream and log afterwards."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from runrelay import PublisherSettings, RunLogHandler, flush, publish_progress, run_progress, track
from runrelay.outbox import Publisher
from runrelay.progress import make_event
from runrelay.publisher.publish import use_sink
from runrelay.runlog import Keys
from tests.support.servers import Server


class Log:
    """A run's keys, as redis-cli would show them."""

    def __init__(self, server: Server, publisher: Publisher) -> None:
        self.server = server
        self.publisher = publisher
        self.keys = publisher.settings.keys

    def fields(self, run_id: str) -> dict[str, str]:
        with self.server.client(decode_responses=True) as client:
            found: Any = client.hgetall(self.keys.run(run_id)[0])
        return dict(found)

    def events(self, run_id: str) -> list[dict[str, Any]]:
        with self.server.client(decode_responses=True) as client:
            found: Any = client.xrange(self.keys.run(run_id)[1])
        return [json.loads(entry["e"]) for _, entry in found]

    def is_alive(self, run_id: str) -> bool:
        with self.server.client(decode_responses=True) as client:
            return client.zscore(self.keys.alive, run_id) is not None


@pytest.fixture
def log(valkey_server: Server, prefix: str) -> Iterator[Log]:
    keys = Keys(prefix, f"{prefix}:progress")
    publisher = Publisher(PublisherSettings(redis_url=valkey_server.url, keys=keys, heartbeat_s=0.05))
    before = use_sink(publisher)
    yield Log(valkey_server, publisher)
    use_sink(before)
    publisher.close(5)


def test_one_call_makes_a_run(log: Log) -> None:
    """The first example of the README, if it does not work."""
    publish_progress("20251105_1430_우주여행고양이", "PLOT_GENERATION", 0.15, "시나리오 CSV 생성 완료")
    assert flush()
    (event,) = log.events("20251105_1430_우주여행고양이")
    assert list(event)[:4] == ["run_id", "state", "progress", "log"]
    assert (event["state"], event["progress"], event["log"]) == ("PLOT_GENERATION", 0.15, "시나리오 CSV 생성 완료")
    assert (event["status"], event["seq"], event["attempt"]) == ("running", 1, 1)


def test_a_program_that_is_run_again_is_a_new_attempt(log: Log) -> None:
    """A program that can only be run once, or whose second attempt continues the first one's progress."""
    for attempt in (1, 2):
        with run_progress("film", title="A film", steps={"plan": 1, "render": 3}) as run:
            with run.step("plan"):
                pass
            with run.step("render", state="RENDERING"):
                for _ in track(range(10), "film", step="render"):
                    pass
            run.result = {"attempt": attempt}
        assert flush()
        fields = log.fields("film")
        assert (fields["status"], fields["attempt"], fields["progress"]) == ("succeeded", str(attempt), "1")
        assert json.loads(fields["result"]) == {"attempt": attempt}
    seqs = [event["seq"] for event in log.events("film")]
    assert seqs == list(range(1, len(seqs) + 1))
    starts = [event for event in log.events("film") if event["state"] == "STARTED" and event["progress"] is None]
    assert [event["attempt"] for event in starts] == [1, 2]


def test_a_step_that_failed_can_be_done_again(log: Log) -> None:
    """A step that is shown as failed although its second attempt succeeded; in a canvas, a run that never ends."""
    with run_progress("film", steps=["fetch", "render"]) as run:
        for attempt in (1, 2):
            try:
                with run.step("fetch"):
                    run.update(0.5)
                    if attempt == 1:
                        raise ConnectionError("no network")
            except ConnectionError:
                continue
        with run.step("render"):
            pass
    assert flush()
    step = json.loads(log.fields("film")["s:fetch"])
    assert (step["status"], step["attempt"], step.get("error")) == ("succeeded", 2, None)
    assert "fenced" not in log.fields("film")
    assert json.loads(log.fields("film")["steps"])["done"] == 2


def test_a_failed_program_can_be_run_again(log: Log) -> None:
    """An error that stays on a run which has succeeded since."""
    with pytest.raises(ValueError, match="broken"), run_progress("film"):
        raise ValueError("broken")
    assert flush()
    assert log.fields("film")["error"].startswith("ValueError: broken")
    with run_progress("film"):
        pass
    assert flush()
    fields = log.fields("film")
    assert (fields["status"], fields["attempt"]) == ("succeeded", "2")
    assert "error" not in fields


def test_a_queued_run_is_started_and_not_replaced(log: Log) -> None:
    """A queued run that its own program starts as a second attempt."""
    log.publisher.commit("film", make_event("QUEUED")._replace(kind="queue"))
    with run_progress("film", attempt=1):
        pass
    assert flush()
    assert (log.fields("film")["status"], log.fields("film")["attempt"]) == ("succeeded", "1")
    # a retry has been queued since: the program of the first attempt is late
    log.publisher.commit("film", make_event("QUEUED")._replace(kind="queue"))
    with run_progress("film", attempt=1):
        publish_progress("film", "TOO_LATE", 0.5)
    assert flush()
    assert (log.fields("film")["status"], log.fields("film")["attempt"]) == ("queued", "2")


def test_a_program_sends_heartbeats(log: Log) -> None:
    """A long program that is marked stalled, or a dead one that is not."""
    with run_progress("film"):
        assert flush()
        for _ in range(10_000):
            if log.is_alive("film"):
                break
        else:
            raise AssertionError("no heartbeat")
        assert "heartbeat_at" in log.fields("film")


def test_records_of_a_logger_are_in_the_run_s_log(log: Log) -> None:
    """Log records of a library that are not in the run's log."""
    logger = logging.getLogger("a.library")
    handler = RunLogHandler()
    logger.addHandler(handler)
    try:
        with run_progress("film"):
            logger.warning("disk %d %% full", 90)
        assert flush()
    finally:
        logger.removeHandler(handler)
    assert [(e["log"], e["level"]) for e in log.events("film") if e["log"]] == [("disk 90 % full", "warning")]


def test_flush_waits_for_earlier_events_only(log: Log) -> None:
    """A flush that returns too early, or waits for events that other threads publish meanwhile."""
    for i in range(2000):
        publish_progress("film", log=f"line {i}")
    assert flush()
    assert log.fields("film")["seq"] == "2000"
    assert flush(0.0)  # nothing waits


def test_the_run_is_in_the_list_of_runs(log: Log) -> None:
    """A run that is missing in the list."""
    publish_progress("film", log="line")
    assert flush()
    log.publisher.close(5)
    with log.server.client(decode_responses=True) as client:
        assert client.zrange(log.keys.runs, 0, -1) == ["film"]
