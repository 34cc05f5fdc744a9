"""Redis comes back with less than it had: an older snapshot, evicted keys, nothing at all.

What was lost is lost. But no number is given out twice, nobody is shown a mixture, and everybody is shown the log that
there is now. In each test a worker that is new goes on, or the one that was there; nothing else tells of the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.servers import Server
from tests.support.stage import RUNS, OpenStage, Stage, play

StartServer = Callable[..., Server]


def _older(broken: str = "") -> Callable[[Stage], Any]:
    async def older(stage: Stage) -> None:
        publisher = stage.publishers[-1]
        with stage.server.client() as admin:
            admin.save()
        await stage.flowing(20, patience_s=40.0)
        await publisher.order("pause")
        assert (await publisher.order("flush", 10))["committed"]
        stage.server.kill()
        await publisher.kill()
        stage.server.start()
        another = await stage.publisher(RUNS, publisher.generation + 1, broken=broken)
        await another.order("go", 200)

    return older


async def test_an_older_snapshot(start_valkey: StartServer, open_stage: OpenStage, long: bool) -> None:
    """A number that is given out twice; a viewer who goes on from what is no longer there."""
    server = start_valkey(dbfilename="dump.rdb")
    stage = await play(open_stage, server, _older(), again=3 if long else 1, lossy=True)
    assert all(viewer.unrecovered for viewer in stage.viewers)


async def test_an_older_snapshot_and_workers_that_do_not_know_servers(
    start_valkey: StartServer, open_stage: OpenStage
) -> None:
    """The control: the same numbers are announced with other contents."""
    with pytest.raises(AssertionError, match="and is now"):
        await play(
            open_stage, start_valkey(dbfilename="dump.rdb"), _older("no_identity"), publisher="no_identity", lossy=True
        )


async def _flushed(stage: Stage) -> None:
    with stage.server.client() as admin:
        admin.flushall()
        admin.script_flush()


async def _evicted(stage: Stage) -> None:
    """Junk takes the place of keys that were not used for a while; a run in the middle of its life is among them."""
    (publisher,) = stage.publishers
    await publisher.order("pause")
    assert (await publisher.order("flush", 10))["committed"]
    with stage.server.client() as admin:
        used: Any = admin.info("memory")
        admin.config_set("maxmemory-policy", "allkeys-lru")
        admin.config_set("maxmemory-samples", "10")
        admin.config_set("maxmemory", str(used["used_memory"] + 2_000_000))
        number = 0

        def gone() -> bool:
            nonlocal number
            for _ in range(50):
                number += 1
                admin.set(f"junk:{number}", "x" * 10_000)
            return all(admin.exists(*stage.keys.run(run_id)) < 3 for run_id in RUNS)

        await stage.until(gone, "keys of both runs are evicted", 40.0)
        admin.config_set("maxmemory", "0")
    await publisher.order("go", 200)


LOSSES = {"FLUSHALL": _flushed, "allkeys-lru": _evicted}


@pytest.mark.parametrize("loss", LOSSES)
async def test_keys_that_are_gone(start_valkey: StartServer, open_stage: OpenStage, loss: str, long: bool) -> None:
    """Half a log that is continued; a viewer who waits for ever for a number that will not come."""
    stage = await play(open_stage, start_valkey(), LOSSES[loss], again=5 if long else 1, lossy=True)
    assert all(viewer.unrecovered or viewer.kind == "many" for viewer in stage.viewers)


@pytest.mark.parametrize("loss", LOSSES)
async def test_keys_that_are_gone_before_a_relay_that_does_not_read(
    start_valkey: StartServer, open_stage: OpenStage, loss: str
) -> None:
    """The control: what does not follow is thrown away, and nobody is told anything more."""
    with pytest.raises(AssertionError, match="lines more"):
        await play(open_stage, start_valkey(), LOSSES[loss], relay="no_repair,no_check", lossy=True)
