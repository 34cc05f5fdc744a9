"""The snapshots kept for the time when Redis is away."""

from __future__ import annotations

from runrelay.progress import Cursor, Snapshot, Step
from runrelay.relay.snapshot_cache import SnapshotCache


def _snapshot(number: int, **more: object) -> Snapshot:
    return Snapshot(f"run {number}", Cursor("k3x9m2p7q1za", 1), **more)  # type: ignore[arg-type]


def test_results_and_steps_count_against_the_cache_s_bound() -> None:
    """A result may have 64 KiB of JSON: the cache would be many times its bound."""
    for more in ({"result": ["x" * 100] * 100}, {"steps": tuple(Step(f"step {n}") for n in range(200))}):
        cache = SnapshotCache(1_000_000)
        for number in range(200):
            cache.keep(_snapshot(number, **more))
        assert 0 < len(cache) < 20
        assert cache.get("run 199") is not None, "the oldest goes first"


def test_a_forgotten_snapshot_is_not_counted_any_more() -> None:
    """The bound would shrink with every run that is deleted."""
    cache = SnapshotCache(1_000_000)
    cache.keep(_snapshot(1, result={"a": 1}))
    cache.keep(_snapshot(1))
    cache.forget("run 1")
    cache.forget("never seen")
    assert cache.size_bytes == 0
