"""How the flusher waits: for events, for a wake-up, and awake when the next event of a steady rate is due."""

import ctypes
import sys
import threading
import time

import pytest

from runrelay.outbox.wakeup import ArrivalPredictor, Wakeup
from runrelay.progress import Event
from tests.support.outbox import outbox_of, publish


def test_the_flusher_waits_until_an_event_comes() -> None:
    """A flusher that spins, or waits on although an event has come."""
    outbox = outbox_of()
    wakeup = outbox.wakeup
    wakeup.wait(0.01)  # no event: it returns after the timeout
    publish(outbox, "run", log="line")
    wakeup.wait()  # an event: at once
    assert len(outbox.take(0.0)) == 1
    wakeup.wake()
    wakeup.wait()  # woken before it waited
    wakeup.wake()
    wakeup.wake()  # twice is once
    wakeup.backoff(30)


def test_an_event_that_comes_when_it_is_expected_needs_no_wake_up() -> None:
    """A flusher that is awake at that time, and does not find the event by itself."""
    outbox = outbox_of()
    wakeup = outbox.wakeup
    wakeup.needs_notify = 0
    wakeup.predictor.until_s = time.monotonic() + 60.0
    flusher = threading.Thread(target=wakeup.wait, daemon=True)
    flusher.start()
    outbox.ingress.append(("run", Event(0), None, None))  # as `append`, without `notify`
    flusher.join(30.0)
    assert not flusher.is_alive()
    assert wakeup.predictor.until_s == 0.0, "one event after a long silence is no steady rate"


def after(*times_s: float) -> ArrivalPredictor:
    predictor = ArrivalPredictor()
    for time_s in times_s:
        predictor.record(time_s)
    return predictor


def test_the_next_event_is_expected_one_interval_later() -> None:
    """An event that comes up to a quarter of the interval early or late, and is not polled for."""
    predictor = after(100.0, 100.001, 100.002)
    assert (predictor.from_s, predictor.until_s) == pytest.approx((100.00275, 100.00325))


def test_polling_for_a_slow_rate_is_short() -> None:
    """A flusher that polls longer than a quarter of a millisecond before and after: that costs CPU time."""
    predictor = after(100.0, 110.0, 120.0)
    assert (predictor.from_s, predictor.until_s) == pytest.approx((129.99975, 130.00025))


@pytest.mark.parametrize("last_s", [100.0025, 100.0095, 100.003])
def test_without_a_steady_rate_no_event_is_expected(last_s: float) -> None:
    """A flusher that polls although the last interval is much shorter or longer than the one before."""
    predictor = after(100.0, 100.002, last_s)
    assert (predictor.from_s, predictor.until_s) == (0.0, 0.0)


def test_one_event_is_no_steady_rate() -> None:
    """Two events are none either: the first has no interval before it."""
    assert after(100.0).until_s == 0.0
    assert after(100.0, 100.002).until_s == 0.0


def slack_ns() -> int:
    """The calling thread's, by PR_GET_TIMERSLACK."""
    return int(ctypes.CDLL(None).prctl(30))


@pytest.mark.skipif(sys.platform != "linux", reason="timer slack is Linux'")
def test_the_flusher_s_thread_has_no_timer_slack() -> None:
    """Timeouts that are 50 µs late in the flusher's thread, or a process whose other threads are changed too."""
    before, after = slack_ns(), []

    def thread() -> None:
        Wakeup(lambda: False, lambda: None).flusher_started()
        after.append(slack_ns())

    run = threading.Thread(target=thread)
    run.start()
    run.join()
    assert after == [1]
    assert slack_ns() == before
