"""A run's data: the `data` of its events, merged by RFC 7386 in the commit script, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runrelay.errors import RunlogError
from runrelay.outbox.publisher import Publisher
from runrelay.progress import Event, make_event
from runrelay.progress.checks import MAX_DATA_BYTES
from runrelay.runlog import AsyncRunLog, ProducerSequence
from runrelay.settings import PublisherSettings
from tests.support.runlog import (
    AsyncLog,
    Kind,
    Log,
    SyncLog,
    Witness,
    fields_of,
    fresh_keys,
    look_at,
    queued,
    read,
    said,
    started,
)
from tests.support.servers import Server

KEYS = st.sampled_from(["a", "b", "c", "", '"', "\\", "{", "}", ",", "null", "__proto__", "한", "\n", "data", "level"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["null", '"', "\\", '\\"', "}", "]", ",", ":", "{", '","level":"x', '":null'])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
PATCHES = st.dictionaries(KEYS, VALUES | st.just("x" * 900), max_size=5).filter(
    lambda patch: len(orjson.dumps(patch)) <= MAX_DATA_BYTES
)


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, as it stands there."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def exact(value: Any) -> bytes:
    """A value as JSON in which 1 and 1.0 differ, and the order of keys makes no difference."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize("kind", ["sync", "async"])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(batches=st.lists(st.lists(PATCHES, min_size=1, max_size=4), min_size=1, max_size=4))
def test_the_run_s_data_is_what_rfc_7386_makes_of_all_patches(
    store: Server, kind: Kind, batches: list[list[dict[str, Any]]]
) -> None:
    """A value that the script changes, or a key that it loses, is wrong for whoever joins late."""

    async def commit_all() -> None:
        log: Log = SyncLog(store.url, fresh_keys()) if kind == "sync" else AsyncLog(store.url, fresh_keys())
        sequence = ProducerSequence.fresh()
        expected: Any = None
        with look_at(store) as look:
            for number, batch in enumerate(batches):
                ignored = False
                for patch in batch:
                    after = merge_patch(expected, patch)
                    if len(orjson.dumps(after)) > MAX_DATA_BYTES:
                        ignored = True
                    else:
                        expected = after
                level = "warning" if number % 2 else "info"
                done = await log.commit("r", [make_event(data=patch, level=level) for patch in batch], sequence)
                assert done.data_ignored is ignored
                assert exact(read(look, log.keys, "r").snapshot.data) == exact(expected)
        await log.close()

    asyncio.run(commit_all())


async def test_values_are_kept_byte_for_byte(log: Log, look: Any) -> None:
    """Lua's cjson would make {} of [], other numbers of large ones, and cut floats."""
    data = {
        "list": [],
        "object": {},
        "big": 18446744073709551615,
        "float": 0.1234567890123456789,
        "deep": [[{"n": None}]],
    }
    await log.commit("r", [make_event(data=data)])
    await log.commit("r", [make_event(data={"more": {"x": 1e-300}})])
    raw = look.hget(log.keys.run("r")[0], "data")
    assert raw == orjson.dumps(data)[:-1] + b',"more":{"x":1e-300}}'


async def test_data_that_would_be_too_large_is_ignored_and_the_event_says_so(
    log: Log, look: Any, witness: Witness
) -> None:
    """The run's data must stay bounded, and a client that folds events must come to the same as the log."""
    await log.commit("r", [make_event(data={"a": "x" * 3000})])
    done = await log.commit("r", [make_event("A", log="line", data={"b": "x" * 3000}), make_event(data={"c": 1})])
    assert done.data_ignored
    assert read(look, log.keys, "r").snapshot.data == {"a": "x" * 3000, "c": 1}
    first, second, third = map(fields_of, witness.heard())
    assert ("data_ignored" in first, second["data_ignored"], "data_ignored" in third) == (False, True, False)
    assert (second["state"], second["log"], second["data"]) == ("A", "line", {"b": "x" * 3000})
    assert not (await log.commit("r", [make_event(data={"a": None, "b": "x" * 3000})])).data_ignored


async def test_data_belongs_to_the_run_and_outlives_its_attempts(log: Log, look: Any) -> None:
    """What describes the run (a model, an order's number) is as true of its second attempt."""
    await log.commit("r", [queued(), started(), make_event(data={"a": 1}), make_event("FAILED", error="e")])
    await log.commit("r", [started(reopen=True)])
    snapshot = read(look, log.keys, "r").snapshot
    assert (snapshot.attempt, snapshot.data) == (2, {"a": 1})
    late = make_event(data={"late": 1}, attempt=1)
    assert (await log.commit("r", [late])).fenced == 1
    assert read(look, log.keys, "r").snapshot.data == {"a": 1}
    await log.commit("r", [make_event(step="s", data={"of a step": 2})])
    assert read(look, log.keys, "r").snapshot.data == {"a": 1, "of a step": 2}


async def test_a_run_without_data_has_none_and_a_batch_sent_again_merges_once(log: Log, look: Any) -> None:
    """A lost reply is asked for again; an object that was emptied is not null."""
    sequence = ProducerSequence.fresh()
    await log.commit("r", [said("line")], sequence)
    assert read(look, log.keys, "r").snapshot.data is None
    await log.commit("r", [make_event(data={"a": 1}), make_event(data={"a": None})], sequence)
    sequence.next -= 2
    await log.commit("r", [make_event(data={"a": 1}), make_event(data={"a": None})], sequence)
    assert read(look, log.keys, "r").snapshot.data == {}


async def test_damaged_data_refuses_commits_before_anything_is_written(log: Log, look: Any) -> None:
    """What somebody else has written there must not be made worse, nor half an event."""
    await log.commit("r", [make_event(data={"a": 1})])
    key = log.keys.run("r")[0]
    for damage in (b"{", b'{"a', b'{"a":', b'{"a":[', b"{]"):
        look.hset(key, "data", damage)
        with pytest.raises(RunlogError):
            await log.commit("r", [make_event(data={"b": 1})])
        assert look.hmget(key, "seq", "data") == [b"1", damage]
    look.hset(key, "data", b"[1]")  # no object: a patch takes its place
    await log.commit("r", [make_event(data={"b": 1})])
    assert look.hget(key, "data") == b'{"b":1}'


async def test_a_list_shows_data_only_if_a_setting_says_so(store: Server, connect_log: Callable[..., Log]) -> None:
    """A page has 200 runs: their data could be 800 KiB."""
    log = connect_log("async", store.url, fresh_keys())
    await log.commit("r", [make_event(data={"a": 1})])
    for list_data in (False, True):
        lists = AsyncRunLog(store.url, log.keys, list_data=list_data)
        ((snapshot, _),) = await lists.summaries(["r"])
        assert snapshot is not None
        assert snapshot.summary().get("data") == ({"a": 1} if list_data else None)
        await lists.close()


def test_a_worker_is_warned_once_for_each_run(store: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A task that publishes too much data a hundred times a second must be told, and its log must stay readable."""
    publisher = Publisher(PublisherSettings(redis_url=store.url, keys=fresh_keys()))
    for run_id in ("one", "one", "two", "one"):
        publisher.emit(run_id, make_event(data={"a": "x" * 3000}))
        publisher.emit(run_id, make_event(data={"b": "x" * 3000}))
        assert publisher.flush(10.0)
    publisher.close()
    warned = [record.getMessage() for record in caplog.records if "data was not merged" in record.getMessage()]
    assert warned == [
        f"run {run_id!r}: data was not merged, as the run's data would have more than 4 KiB"
        for run_id in ("one", "two")
    ]


async def test_an_event_without_data_costs_no_read_of_it(log: Log, look: Any) -> None:
    """Nearly all events have none."""
    await log.commit("r", [make_event(data={"a": 1}), Event(1, log="x")])
    look.hset(log.keys.run("r")[0], "data", "{")
    await log.commit("r", [Event(1, log="y"), Event(1, level="error", log="z")])
