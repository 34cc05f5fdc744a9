"""A producer that ends takes its mark away only when no copy of its batches can still come to the server."""

from __future__ import annotations

from typing import Any

import pytest

import runrelay.outbox.flusher
from runrelay.outbox import Publisher
from runrelay.progress import make_event
from runrelay.runlog import Batch, RunLog
from runrelay.settings import PublisherSettings
from tests.support.runlog import Link, fresh_keys, look_at, read
from tests.support.servers import Server


def lines_with_a_late_copy(store: Server, link: Link) -> list[str]:
    """The log of a short producer whose first reply was lost, when the network delivers its first try once more.

    That happens: a connection that was given up still has in the kernel what the server did not take, and the server
    reads it whenever it comes, after the second try and the producer's end.
    """
    keys = fresh_keys()
    with look_at(store) as look:
        producer = Publisher(PublisherSettings(redis_url=link.url, keys=keys))
        batches: list[Batch] = []

        class Noting(RunLog):
            def commit_many(self, given: Any) -> Any:
                batches.extend(given)
                return super().commit_many(given)

        producer.flusher._connect = lambda: Noting(link.url, keys)
        warm = RunLog(store.url, keys)
        warm.commit(Batch("warm", "w", 1, [make_event(log="the script is known now")]))
        link.cut_reply_to(b"EVALSHA")
        producer.emit("r", make_event(log="the only line"))
        assert producer.close()
        assert link.cuts == 1
        assert len(batches) == 2
        warm.commit(batches[0])
        warm.close()
        return [line.message for line in read(look, keys, "r").snapshot.logs]


def test_a_copy_that_comes_after_its_producer_s_end_is_recognised(store: Server, link: Link) -> None:
    """A line that is in the log twice, because the mark that tells went with its producer."""
    assert lines_with_a_late_copy(store, link) == ["the only line"]


def test_else_it_would_be_there_twice(store: Server, link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the same, with a producer that takes its mark away although a reply was lost."""
    monkeypatch.setattr(runrelay.outbox.flusher, "_doubt", lambda batches: None)
    assert lines_with_a_late_copy(store, link) == ["the only line"] * 2
