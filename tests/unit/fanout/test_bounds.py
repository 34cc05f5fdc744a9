"""What a client may say: two token buckets."""

from __future__ import annotations

from runrelay.fanout.bounds import ClientBounds, Meter

BOUNDS = ClientBounds(frames_per_s=10, bytes_per_s=1000, burst_s=5, burst_frames=100)


def test_a_client_may_send_a_burst_and_then_at_the_rate() -> None:
    """A page that reconnects sends much at once; no honest client does so all the time."""
    meter, now_s = Meter(), 1000.0
    assert meter.read(10, BOUNDS, now_s) == 100
    meter.count(100, BOUNDS, now_s)
    assert meter.read(10, BOUNDS, now_s) == 0
    for _ in range(20):
        now_s += 0.105
        assert meter.read(10, BOUNDS, now_s) == 1
        meter.count(1, BOUNDS, now_s)
    assert not meter.is_full(now_s)
    assert meter.is_full(now_s + 10)
    assert meter.read(10, BOUNDS, now_s + 10) == 100, "no more than a burst, however long it was silent"


def test_a_client_s_bytes_have_their_own_bucket() -> None:
    """A few long frames would cost as much as many short ones, and not be counted."""
    meter, now_s = Meter(), 1000.0
    assert meter.read(4_900, BOUNDS, now_s)
    assert not meter.read(200, BOUNDS, now_s)
    meter = Meter()
    for _ in range(20):
        assert meter.read(1_000, BOUNDS, now_s)
        now_s += 1


def test_burst_frames_are_allowed_beyond_the_burst_seconds() -> None:
    """A client that may watch many runs could not subscribe to all of them at once."""
    slow = ClientBounds(frames_per_s=1, burst_s=5, burst_frames=2_000)
    assert slow.burst_frames_s == 2_000
    assert Meter().read(10, slow, 1000.0) == 2_000
    fast = ClientBounds(frames_per_s=1_000, burst_s=5, burst_frames=2_000)
    assert Meter().read(10, fast, 1000.0) == 5_000
