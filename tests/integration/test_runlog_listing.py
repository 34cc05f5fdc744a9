"""The list of runs and its repair, deletions, leases and heartbeats, as relays use them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runrelay.errors import RunlogUnavailable
from runrelay.metrics import RelayMetrics
from runrelay.progress import Cursor, Event
from runrelay.relay import Reaper
from runrelay.runlog import AsyncRunLog, Batch, Committed, Keys, ProducerSequence, RunLog
from tests.support.runlog import (
    DEADLINE_S,
    Link,
    Witness,
    ended,
    eventually,
    fields_of,
    fresh_keys,
    look_at,
    queued,
    said,
    started,
)
from tests.support.servers import Server

RUN_IDS = ["r", "20251105_1430_우주여행고양이", "with space", "🎬", "*?[x]^\\", "a:b", "x" * 200]


@pytest.fixture
async def runlog(store: Server) -> AsyncIterator[AsyncRunLog]:
    """The relay's client on either server."""
    log = AsyncRunLog(store.url, fresh_keys())
    yield log
    await log.close()


async def pages(log: AsyncRunLog, count: int) -> list[tuple[str, int]]:
    """The whole list, page by page."""
    found: list[tuple[str, int]] = []
    while True:
        last = found[-1] if found else None
        page = await log.listed((last[1], last[0]) if last else None, count)
        assert len(page) <= count
        found += page
        if len(page) < count:
            return found


async def test_runs_are_listed_newest_first(runlog: AsyncRunLog) -> None:
    """A run is in the list from its creation on, under its own id."""
    for run_id in RUN_IDS:
        await runlog.commit(run_id, [said("x")])
    listed = await runlog.listed(None, 100)
    assert {run_id for run_id, _ in listed} == set(RUN_IDS)
    assert [time for _, time in listed] == sorted((time for _, time in listed), reverse=True)
    now = await runlog.server_now_ms()
    assert all(now - 60_000 < time <= now for _, time in listed)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    times=st.dictionaries(st.sampled_from([f"실행 {n}" for n in range(12)]), st.integers(1, 4), max_size=12),
    count=st.integers(1, 5),
)
def test_pages_together_are_the_list(valkey_server: Server, times: dict[str, int], count: int) -> None:
    """Runs of the same millisecond must be neither doubled nor lost where a page ends between them."""

    async def check() -> None:
        log = AsyncRunLog(valkey_server.url, fresh_keys())
        await log.index(times)
        expected = sorted(times.items(), key=lambda item: (item[1], item[0].encode()), reverse=True)
        assert await pages(log, count) == expected
        await log.close()

    asyncio.run(check())


async def test_the_list_moves_forward_only(runlog: AsyncRunLog) -> None:
    """Two processes that write in the wrong order must not move a run back."""
    await runlog.index({"r": 200})
    await runlog.index({"r": 100})
    assert await runlog.listed(None, 10) == [("r", 200)]
    await runlog.index({})


def test_the_worker_s_client_writes_the_same_list(runlog: AsyncRunLog, store: Server) -> None:
    """A worker's flusher enters runs that no relay has read yet."""
    log = RunLog(store.url, runlog.keys)
    log.index({"r": 200, "우주": 300})
    log.index({"r": 100})
    log.index({})
    with look_at(store) as look:
        assert look.zrange(runlog.keys.runs, 0, -1, withscores=True) == [(b"r", 200), ("우주".encode(), 300)]
        look.delete(runlog.keys.runs)
        look.set(runlog.keys.runs, "not a set")
    with pytest.raises(Exception, match="WRONGTYPE"):
        log.index({"r": 1})
    log.close()


async def test_the_list_can_be_written_anew_from_the_runs(runlog: AsyncRunLog, store: Server) -> None:
    """The list is in another slot than the runs and may be lost alone."""
    for run_id in RUN_IDS:
        await runlog.commit(run_id, [said("x", step="s")])
    await runlog.take_lease("l", "me", 10_000)
    beside = AsyncRunLog(store.url, Keys(f"{runlog.keys.prefix}2", "other"))
    await beside.commit("another's", [said("x")])
    found = [run_id async for portion in runlog.run_ids(match_count=3) for run_id in portion]
    assert set(found) == set(RUN_IDS)
    await beside.close()


async def test_a_prefix_with_a_pattern_s_characters_is_a_prefix(store: Server) -> None:
    """`*` in a prefix must not find other applications' runs."""
    odd, plain = (AsyncRunLog(store.url, Keys(prefix, prefix)) for prefix in ("p[*]\\?", "p[x]\\y"))
    await odd.commit("mine", [said("x")])
    await plain.commit("not mine", [said("x")])
    assert [ids async for ids in odd.run_ids() if ids] == [["mine"]]
    for log, run_id in ((odd, "mine"), (plain, "not mine")):
        await log.redis.delete(*log.keys.run(run_id), log.keys.runs)
        await log.close()


async def test_summaries_are_what_the_list_shows(runlog: AsyncRunLog, store: Server) -> None:
    """For a run that is gone there is None in its place."""
    await runlog.commit("a", [queued(title="고양이", pipeline="shorts"), started(), said("line", progress=0.5)])
    await runlog.commit("b", [ended("FAILED", error="boom")])
    log = RunLog(store.url, runlog.keys)
    log.heartbeat(["a"])
    log.close()
    (a, a_beat), (gone, gone_beat), (b, b_beat) = await runlog.summaries(["a", "gone", "b"])
    assert a is not None
    assert b is not None
    assert (gone, gone_beat, b_beat) == (None, None, None)
    assert a_beat is not None
    whole = (await runlog.read("a")).snapshot
    assert a.summary() == whole.summary()
    assert (a.title, a.pipeline, a.status, a.progress) == ("고양이", "shorts", "running", 0.5)
    assert (b.status, b.error, b.state) == ("failed", "boom", "FAILED")
    assert await runlog.positions(["a", "gone", "b"]) == [a.cursor, None, b.cursor]
    assert isinstance(a.cursor, Cursor)


# Deletion


async def test_an_ended_run_is_deleted_whole(runlog: AsyncRunLog, store: Server) -> None:
    """No key of a deleted run stays, and no entry in the list."""
    await runlog.commit("r", [said("line"), ended()])
    assert await runlog.delete("r") == "succeeded"
    with look_at(store) as look:
        assert not look.exists(*runlog.keys.run("r"))
    assert await runlog.listed(None, 10) == []
    assert await runlog.delete("r") is None


async def test_an_unfinished_run_is_not_deleted_and_stays_listed(runlog: AsyncRunLog) -> None:
    """The worker of an unfinished run would go on writing to a run that no client can find."""
    await runlog.commit("r", [said("line")])
    assert await runlog.delete("r") == "running"
    assert (await runlog.read("r")).snapshot.status == "running"
    assert [run_id for run_id, _ in await runlog.listed(None, 10)] == ["r"]


async def test_a_run_that_has_expired_leaves_the_list_by_deletion(runlog: AsyncRunLog) -> None:
    """A listed run that is gone can be deleted."""
    await runlog.index({"gone": 5})
    assert await runlog.delete("gone") is None
    assert await runlog.listed(None, 10) == []


# Heartbeats


async def test_silent_runs_are_found_the_longest_silent_first(runlog: AsyncRunLog, store: Server) -> None:
    """The reaper reads the silent runs, and no others."""
    for run_id in ("a", "b", "c"):
        await runlog.commit(run_id, [started()])
    worker = RunLog(store.url, runlog.keys)
    worker.heartbeat(["a", "b", "c"])
    worker.close()
    now = await runlog.server_now_ms()
    assert await runlog.silent_since(now - 60_000) == []
    assert set(await runlog.silent_since(now)) == {"a", "b", "c"}
    with look_at(store) as look:
        look.zadd(runlog.keys.alive, {"b": 10, "c": 20})
    assert await runlog.silent_since(now - 60_000) == ["b", "c"]
    assert await runlog.silent_since(now - 60_000, count=1) == ["b"]
    await runlog.stop_watching(["b"], now - 60_000)
    await runlog.stop_watching([], now)
    assert await runlog.silent_since(now - 60_000) == ["c"]


async def test_a_worker_that_speaks_up_while_the_reaper_looks_is_watched_on(
    runlog: AsyncRunLog, store: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a new heartbeat were removed with the old one, a worker that dies before the next would never be found."""
    await runlog.commit("r", [started()])
    worker = RunLog(store.url, runlog.keys)
    commit = runlog.commit

    async def heard_meanwhile(run_id: str, events: Sequence[Event]) -> Committed:
        done = await commit(run_id, events)
        worker.heartbeat([run_id])
        return done

    with look_at(store) as look:
        look.zadd(runlog.keys.alive, {"r": 10})
    monkeypatch.setattr(runlog, "commit", heard_meanwhile)
    await Reaper(runlog, RelayMetrics(), "reaper").mark_stalled()
    worker.close()
    assert await runlog.silent_since(await runlog.server_now_ms()) == ["r"]


async def test_heartbeats_are_dated_by_redis_not_by_the_worker(
    runlog: AsyncRunLog, store: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose clock is an hour behind must not be taken for dead."""
    await runlog.commit("r", [started()])
    worker = RunLog(store.url, runlog.keys)
    monkeypatch.setattr("time.time_ns", lambda: 5_000_000)
    worker.heartbeat(["r"])
    worker.close()
    with look_at(store) as look:
        assert look.zscore(runlog.keys.alive, "r") > 1_700_000_000_000


# Leases


async def test_a_lease_has_one_holder(runlog: AsyncRunLog) -> None:
    """Two relays that both adopt a raw message would commit it twice."""
    assert await runlog.take_lease("adoption", "a", 60_000)
    assert not await runlog.take_lease("adoption", "b", 60_000)
    assert await runlog.take_lease("adoption", "a", 60_000)
    assert not await runlog.take_lease("adoption", "b", 60_000)
    assert await runlog.take_lease("another", "b", 60_000)


async def test_a_lease_is_renewed_by_its_holder_and_not_by_who_asks(runlog: AsyncRunLog, store: Server) -> None:
    """A refused relay must not make the lease last longer."""
    key = runlog.keys.lease("l")
    await runlog.take_lease("l", "a", 60_000)
    with look_at(store) as look:
        look.pexpire(key, 1000)
        assert not await runlog.take_lease("l", "b", 60_000)
        assert look.pttl(key) <= 1000
        assert await runlog.take_lease("l", "a", 60_000)
        assert look.pttl(key) > 50_000


async def test_a_lease_runs_out(runlog: AsyncRunLog, store: Server) -> None:
    """A relay that died must not keep the lease: another relay takes it when it ends, and then keeps it."""
    assert await runlog.take_lease("l", "a", 20)
    with look_at(store) as look:
        eventually(lambda: not look.exists(runlog.keys.lease("l")), "the lease has run out")
    assert await runlog.take_lease("l", "b", 60_000)
    assert not await runlog.take_lease("l", "a", 60_000)


async def test_of_many_at_once_one_gets_the_lease(runlog: AsyncRunLog) -> None:
    """All relays start at the same moment."""
    taken = await asyncio.gather(*(runlog.take_lease("l", f"relay {n}", 60_000) for n in range(50)))
    assert sum(taken) == 1


async def test_a_message_on_a_channel_is_heard_by_who_listens(runlog: AsyncRunLog, store: Server) -> None:
    """A probe needs the number of subscribers."""
    assert await runlog.publish(runlog.keys.control, b"{}") == 0
    with Witness.of(store, runlog.keys) as witness:
        assert await runlog.publish(runlog.keys.channel, b'{"run_id":"x"}') == 1
        assert [fields_of(message) for message in witness.heard()] == [{"run_id": "x"}]


async def test_commits_of_one_client_take_turns(runlog: AsyncRunLog, store: Server) -> None:
    """When many callers commit at once, each must get its own reply."""
    with Witness.of(store, runlog.keys) as witness:
        done = await asyncio.gather(*(runlog.commit(f"r{n % 5}", [said(str(n))]) for n in range(100)))
        assert [fields_of(message)["log"] for message in witness.heard()] == [str(n) for n in range(100)]
    assert {one.epoch for one in done} == {
        position.epoch for position in await runlog.positions([f"r{n}" for n in range(5)]) if position is not None
    }


@pytest.mark.parametrize("word", [b"EVALSHA", b"INFO\r\n$6\r\nserver\r\n"], ids=["commit", "acquaintance"])
async def test_a_commit_that_is_cancelled_is_cancelled_and_leaves_no_reply_behind(
    link: Link, store: Server, word: bytes
) -> None:
    """A cancellation that is lost would keep a relay from stopping; a reply that nobody has read would be taken for the
    next command's, and the next one's for the one after it.
    """
    log = AsyncRunLog(link.url, fresh_keys())
    tries = 20  # some tries hit the moment at which the sending has just ended
    for number in range(tries):
        if word != b"EVALSHA":
            await log.close()
        else:
            await log.commit("r", [said("whole")])
        link.hold_reply_to(word)
        task = asyncio.create_task(log.commit("r", [said("cancelled")]))
        assert await asyncio.to_thread(link.held.wait, DEADLINE_S)
        link.held.clear()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        link.release()
        done = await log.commit(f"other {number}", [said("whole")])
        assert (done.before, done.after) == (0, 1)
    with look_at(store) as look:
        identity = look.hget(log.keys.run("other 0")[0], "server").decode()
        ids = [look.info("server")["run_id"], look.info("replication")["master_replid"]]
        assert identity.split(":") == [one[:16] for one in ids]
    await log.close()


async def test_a_server_that_does_not_answer_is_an_outage(start_valkey: Callable[..., Server]) -> None:
    """When connections stay open and no reply comes, reads and commits time out, and work again afterwards."""
    server = start_valkey()
    log = AsyncRunLog(server.url, fresh_keys(), timeout_s=0.3)
    await log.commit("r", [said("1")])
    server.pause()
    with pytest.raises(RunlogUnavailable, match=r"within 0\.3 s"):
        await log.commit("r", [said("2")], ProducerSequence("p"), tries=1)
    with pytest.raises(RunlogUnavailable):
        await log.read("r")
    with pytest.raises(RunlogUnavailable):
        await log.take_lease("l", "me", 1000)
    server.resume()
    patient = AsyncRunLog(server.url, log.keys)
    await patient.commit("r", [said("2")], ProducerSequence("p"))
    assert [line.message for line in (await patient.read("r")).snapshot.logs] == ["1", "2"]
    await patient.close()
    await log.close()


async def test_a_commit_that_cannot_be_listed_is_a_commit(runlog: AsyncRunLog, store: Server) -> None:
    """A caller that got an error would commit the same events again with new numbers."""
    sequence = ProducerSequence.fresh()
    with look_at(store) as look, Witness.of(store, runlog.keys) as witness:
        look.set(runlog.keys.runs, "not a list")
        done = await runlog.commit("r", [said("1")], sequence)
        assert (done.after, sequence.next) == (1, 2)
        look.delete(runlog.keys.runs)
        await runlog.commit("r", [ended()], sequence)
        assert [run_id for run_id, _ in await runlog.listed(None, 10)] == ["r"]
        assert len(witness.heard()) == 2


async def test_an_outage_of_the_list_is_an_outage(start_valkey: Callable[..., Server]) -> None:
    """A relay that cannot write the list tries again."""
    server = start_valkey(maxmemory_policy="noeviction")
    log = AsyncRunLog(server.url, fresh_keys())
    worker = RunLog(server.url, log.keys)
    with look_at(server) as look:
        look.config_set("maxmemory", 1)
        with pytest.raises(RunlogUnavailable):
            await log.index({"r": 1})
        with pytest.raises(RunlogUnavailable):
            worker.index({"r": 1})
        with pytest.raises(RunlogUnavailable):
            worker.commit(Batch("r", "p", 1, [said("1")]))
    worker.close()
    await log.close()
