"""A long log: every line has its number in the run for good, and what is no longer kept is said."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from runrelay.progress import LogLine, make_event
from runrelay.runlog import AsyncRunLog, ProducerSequence, Retention
from tests.support.runlog import fresh_keys
from tests.support.servers import Server

KEPT, BYTES = 300, 64 * 1024
SLACK = 64


@pytest.fixture
async def runlog(store: Server) -> AsyncIterator[AsyncRunLog]:
    log = AsyncRunLog(store.url, fresh_keys(), Retention(log_lines=KEPT, log_bytes=BYTES))
    yield log
    await log.close()


async def write(log: AsyncRunLog, count: int, batch: int, text: str = "") -> None:
    """Lines that say their number."""
    sequence = ProducerSequence.fresh()
    for first in range(1, count + 1, batch):
        events = [make_event(log=f"{number} {text}") for number in range(first, min(first + batch, count + 1))]
        await log.commit("r", events, sequence)


def numbers(lines: list[LogLine]) -> list[int]:
    return [int(line.message.split()[0]) for line in lines]


@pytest.mark.parametrize("batch", [1, 7, 64, 250, 1000])
async def test_a_line_keeps_its_number_when_older_ones_are_trimmed(runlog: AsyncRunLog, batch: int) -> None:
    """A viewer who comes late would number the 100,000th line 1,000, and one who came early 100,000."""
    count = 1_234
    await write(runlog, count, batch)
    snapshot = (await runlog.read("r")).snapshot
    assert numbers([*snapshot.logs]) == list(range(snapshot.logs_truncated + 1, count + 1))
    assert count - KEPT - SLACK <= snapshot.logs_trimmed <= count - KEPT
    seen: list[int] = []
    before = None
    while True:
        page = await runlog.log_page("r", before, 100)
        assert page is not None
        assert (page.total, page.trimmed) == (count, snapshot.logs_trimmed)
        assert numbers([*page.lines]) == list(range(page.first, page.first + len(page.lines)))
        if not page.lines:
            break
        seen = numbers([*page.lines]) + seen
        before = page.first
    assert seen == list(range(snapshot.logs_trimmed + 1, count + 1))


async def test_the_log_is_bounded_in_bytes(runlog: AsyncRunLog, store: Server) -> None:
    """300 lines of 16 KiB would take 5 MB of Redis' memory."""
    await write(runlog, 290, 3, "x" * 2_000)
    with store.client() as look:
        lines = look.lrange(runlog.keys.run("r")[2], 0, -1)
    slack = SLACK * 2_100
    assert BYTES - 2_100 <= sum(map(len, lines)) <= BYTES + slack
    page = await runlog.log_page("r", None, 1000)
    assert page is not None
    assert page.trimmed == 290 - len(lines)
    assert page.total == 290


async def test_lines_of_mixed_lengths(runlog: AsyncRunLog, store: Server) -> None:
    """The bytes of lines that went are taken off, and those of lines that came are added: else the sum drifts."""
    choice, sequence, count = random.Random(5), ProducerSequence.fresh(), 0
    for _ in range(200):
        batch = [
            make_event(log=f"{count + i} " + "y" * choice.choice([1, 40, 900, 9_000]))
            for i in range(1, choice.randint(2, 9))
        ]
        count += len(batch)
        await runlog.commit("r", batch, sequence)
    key = runlog.keys.run("r")[0]
    with store.client() as look:
        lines = look.lrange(runlog.keys.run("r")[2], 0, -1)
        trimmed, size, counted = (int(x or 0) for x in look.hmget(key, "lines_trimmed", "log_bytes", "log_counted"))
    assert trimmed + len(lines) == count
    assert size == sum(map(len, lines[: counted - trimmed]))
    assert size <= BYTES


async def test_a_list_that_was_lost_is_counted_again(runlog: AsyncRunLog, store: Server) -> None:
    """Eviction takes the list alone. The sum of lines that are gone would keep the next ones from being kept."""
    await write(runlog, 200, 10, "x" * 1_000)
    with store.client() as look:
        look.delete(runlog.keys.run("r")[2])
    sequence = ProducerSequence.fresh()
    await runlog.commit("r", [make_event(log=f"{n} after") for n in range(100)], sequence)
    page = await runlog.log_page("r", None, 1000)
    assert page is not None
    assert numbers([*page.lines]) == list(range(100))


@pytest.mark.parametrize("spoilt", ["-3", "nan", "1e300", "x", "9" * 40, ""])
async def test_spoilt_counts_stop_no_commit(runlog: AsyncRunLog, store: Server, spoilt: str) -> None:
    """An error of the script after its first write would lose what was announced."""
    await write(runlog, 10, 10)
    key = runlog.keys.run("r")[0]
    with store.client() as look:
        look.hset(key, mapping={"lines_trimmed": spoilt, "log_bytes": spoilt, "log_counted": spoilt})
    await write(runlog, 130, 10)
    assert (await runlog.read("r")).snapshot.cursor.seq == 140
    with store.client() as look:
        assert look.hget(key, "lines_trimmed") == b"0"


async def test_pages_at_the_edges(runlog: AsyncRunLog) -> None:
    """Before the first line, beyond the last one, of a run that is not there."""
    assert await runlog.log_page("r", None, 10) is None
    await write(runlog, 5, 5)
    for before, lines, wanted in [
        (None, 2, [4, 5]),
        (1, 5, []),
        (2, 5, [1]),
        (4, 2, [2, 3]),
        (99, 1000, [1, 2, 3, 4, 5]),
    ]:
        page = await runlog.log_page("r", before, lines)
        assert page is not None
        assert numbers([*page.lines]) == wanted
        assert not wanted or page.first == wanted[0]
