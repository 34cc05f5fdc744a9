"""Reads: snapshot, lines and events of one moment; what is left out is counted, never cut silently."""

import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runrelay.errors import NotARun, RunlogError, RunlogUnavailable
from runrelay.progress import START, Cursor, LogLine, new_epoch
from runrelay.runlog import AsyncRunLog, Batch, ProducerSequence, Retention, RunLog
from runrelay.runlog.reads import LOG_BYTES
from tests.support.runlog import Witness, ended, fields_of, fresh_keys, look_at, said
from tests.support.servers import Server


@pytest.fixture
async def runlog(store: Server) -> AsyncIterator[AsyncRunLog]:
    """The relay's client on either server."""
    log = AsyncRunLog(store.url, fresh_keys())
    yield log
    await log.close()


async def test_a_run_that_nobody_has_heard_of_reads_as_such(runlog: AsyncRunLog) -> None:
    """An unknown run may start later: reading it is no error."""
    view = await runlog.read("later", START)
    assert not view.snapshot.exists
    assert (view.snapshot.status, view.snapshot.cursor, view.events) == ("unknown", START, None)
    assert await runlog.positions(["later"]) == [None]
    assert await runlog.summaries(["later"]) == [(None, None)]


async def test_a_read_tells_all_that_was_committed(runlog: AsyncRunLog) -> None:
    """Level, step and time of each line, and the run's times by Redis' clock."""
    before = await runlog.server_now_ms()
    events = [
        said("plain", state="A"),
        said("warned", level="warning", progress=0.25),
        said("of a step", step="s", level="error", data=b'{"n":1}'),
    ]
    done = await runlog.commit("r", events)
    snapshot = (await runlog.read("r")).snapshot
    assert snapshot.cursor == done.cursor
    assert list(snapshot.logs) == [
        LogLine(1, 1_762_300_000_000, "info", None, "plain"),
        LogLine(2, 1_762_300_000_000, "warning", None, "warned"),
        LogLine(3, 1_762_300_000_000, "error", "s", "of a step"),
    ]
    assert (snapshot.state, snapshot.status, snapshot.progress, snapshot.attempt) == ("A", "running", 0.25, 1)
    times = (snapshot.created_at, snapshot.started_at, snapshot.updated_at)
    assert all(time is not None and before <= time <= before + 60_000 for time in times)
    assert snapshot.updated_at == done.updated_at
    assert snapshot.finished_at is None


# Events after a cursor


async def test_events_after_a_cursor_are_all_there_or_none(runlog: AsyncRunLog, store: Server) -> None:
    """A client that resumes gets all missed events or a snapshot; never a part."""
    with Witness.of(store, runlog.keys) as witness:
        done = await runlog.commit("r", [said(str(number)) for number in range(1, 6)])
        heard = witness.heard()

    async def after(cursor: Cursor | None, **limits: Any) -> Any:
        return (await runlog.read("r", cursor, **limits)).events

    assert await after(None) is None
    assert await after(START) == heard
    for seq in range(6):
        assert await after(Cursor(done.epoch, seq)) == heard[seq:]
    assert await after(Cursor(done.epoch, 6)) is None
    assert await after(Cursor(new_epoch(), 3)) is None
    assert await after(Cursor(new_epoch(), 0)) is None
    size = sum(map(len, heard))
    assert await after(START, event_bytes=size) == heard
    assert await after(START, event_bytes=size - 1) is None
    assert await after(Cursor(done.epoch, 5), event_bytes=0) == []


async def test_of_a_long_run_the_last_thousand_events_are_kept(runlog: AsyncRunLog, store: Server) -> None:
    """A million events must not grow Redis' memory; a client that was away for too long gets a snapshot."""
    sequence = ProducerSequence.fresh()
    count = 3000
    for _ in range(count // 250):
        done = await runlog.commit("r", [said("x" * 50) for _ in range(250)], sequence)
    with look_at(store) as look:
        assert 1000 <= look.xlen(runlog.keys.run("r")[1]) <= 1400
    kept = (await runlog.read("r", Cursor(done.epoch, count - 1000))).events
    assert kept is not None
    assert [fields_of(message)["seq"] for message in kept] == list(range(count - 999, count + 1))
    assert (await runlog.read("r", Cursor(done.epoch, count - 2000))).events is None
    assert (await runlog.read("r", START)).events is None


async def test_events_without_their_stream_are_not_there(runlog: AsyncRunLog, store: Server) -> None:
    """An empty list would tell the client that it has missed nothing."""
    done = await runlog.commit("r", [said("1"), said("2")])
    with look_at(store) as look:
        look.delete(runlog.keys.run("r")[1])
    assert (await runlog.read("r", START)).events is None
    assert (await runlog.read("r", done.cursor)).events is None
    assert (await runlog.read("r")).snapshot.cursor == done.cursor


# Log lines


async def test_a_thousand_lines_are_shown_and_no_more(runlog: AsyncRunLog) -> None:
    """The newest lines, in order."""
    await runlog.commit("r", [said(str(number)) for number in range(1050)])
    snapshot = (await runlog.read("r")).snapshot
    assert [line.message for line in snapshot.logs] == [str(number) for number in range(50, 1050)]
    assert (snapshot.logs_truncated, snapshot.logs_trimmed) == (50, 0)
    some = (await runlog.read("r", log_lines=7)).snapshot
    assert [line.message for line in some.logs] == [str(number) for number in range(1043, 1050)]
    none = (await runlog.read("r", log_lines=0)).snapshot
    assert (none.logs, none.logs_truncated) == ([], 1050)


async def test_the_number_of_lines_is_a_setting(store: Server) -> None:
    """`RUNRELAY_LOG_LINES`: the list is trimmed to it, with some slack."""
    log = AsyncRunLog(store.url, fresh_keys(), Retention(log_lines=10, events=20))
    for number in range(150):
        await log.commit("r", [said(str(number))])
    assert [line.message for line in (await log.read("r")).snapshot.logs] == [str(n) for n in range(140, 150)]
    with look_at(store) as look:
        assert look.llen(log.keys.run("r")[2]) <= 74
    await log.close()


@pytest.mark.parametrize("line", ["x" * 16_000, "가" * 5000, "short"])
async def test_a_snapshot_s_log_is_bounded_in_bytes(runlog: AsyncRunLog, line: str) -> None:
    """The newest lines that fit in 256 KiB; the others are counted."""
    count = 300
    for _ in range(count // 100):
        await runlog.commit("r", [said(line) for _ in range(100)])
    snapshot = (await runlog.read("r")).snapshot
    shown = sum(len(one.message.encode()) for one in snapshot.logs)
    assert shown <= LOG_BYTES
    assert len(snapshot.logs) + snapshot.logs_truncated == count
    assert snapshot.logs[-1].seq == count
    assert [one.seq for one in snapshot.logs] == list(range(snapshot.logs_truncated + 1, count + 1))
    if snapshot.logs_truncated:
        overhead = 40  # of a line as it is kept: its number, time, level and step
        assert shown + len(snapshot.logs) * overhead + len(line.encode()) + overhead > LOG_BYTES
    less = (await runlog.read("r", log_bytes=20_000)).snapshot
    assert sum(len(one.message.encode()) for one in less.logs) <= 20_000
    assert less.logs


# Atomically


@pytest.mark.parametrize("store", ["valkey", "redis"], indirect=True)
async def test_a_read_is_of_one_moment_while_others_write(runlog: AsyncRunLog, store: Server) -> None:
    """A snapshot with newer or older events would double or lose an event for a new subscriber."""
    commits = 400
    failures: list[BaseException] = []

    def write() -> None:
        try:
            log = RunLog(store.url, runlog.keys)
            for number in range(1, commits + 1):
                event = said(str(number), progress=number / commits)
                log.commit(Batch("r", "p", number, [event]))
            log.close()
        except BaseException as error:
            failures.append(error)
            raise

    writer = threading.Thread(target=write)
    writer.start()
    moments = set()
    while writer.is_alive() or commits not in moments:
        assert not failures
        view = await runlog.read("r", START)
        if not view.snapshot.exists:
            continue
        snapshot, events = view.snapshot, view.events
        moments.add(snapshot.cursor.seq)
        assert events is not None
        last = fields_of(events[-1])
        assert len(events) == len(snapshot.logs) == snapshot.cursor.seq == last["seq"]
        assert snapshot.progress == last["progress"] == round(snapshot.cursor.seq / commits, 6)
        assert snapshot.logs[-1].message == last["log"] == str(snapshot.cursor.seq)
    writer.join()
    assert len(moments) > 3, "the reader saw too few moments to have raced with the writer"


# Failures


async def test_a_read_without_a_server_is_an_outage(store: Server) -> None:
    """An outage must not be taken for a run that does not exist."""
    log = AsyncRunLog("redis://127.0.0.1:1/0", fresh_keys())
    with pytest.raises(RunlogUnavailable):
        await log.read("r")
    with pytest.raises(RunlogUnavailable):
        await log.positions(["r"])
    with pytest.raises(RunlogUnavailable):
        await log.listed(None, 10)
    await log.close()


async def test_a_read_of_something_else_is_an_error_and_no_outage(runlog: AsyncRunLog, store: Server) -> None:
    """A key that is not a run's is no passing error."""
    with look_at(store) as look:
        look.set(runlog.keys.run("r")[0], "not a hash")
    with pytest.raises(RunlogError) as raised:
        await runlog.read("r")
    assert type(raised.value) is NotARun


async def test_scripts_that_the_server_has_forgotten_are_sent_again(runlog: AsyncRunLog, store: Server) -> None:
    """Reads, deletions and leases must survive SCRIPT FLUSH, too."""
    await runlog.commit("r", [said("1"), ended()])
    with look_at(store) as look:
        for _ in range(2):
            look.script_flush()
            assert (await runlog.read("r")).snapshot.status == "succeeded"
            look.script_flush()
            assert await runlog.take_lease("l", "me", 10_000)
        look.script_flush()
        assert await runlog.delete("r") == "succeeded"
