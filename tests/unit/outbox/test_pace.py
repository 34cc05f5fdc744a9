"""The pace of events: when the next one is expected."""

import ctypes
import sys
import threading

import pytest

from runrelay.outbox.pace import ArrivalPredictor, reduce_timer_slack


def after(*times_s: float) -> ArrivalPredictor:
    pace = ArrivalPredictor()
    for time_s in times_s:
        pace.record(time_s)
    return pace


def test_the_next_event_is_expected_when_the_gap_has_passed_again() -> None:
    """From a quarter of the gap before to as long after."""
    pace = after(100.0, 100.001, 100.002)
    assert (pace.from_s, pace.until_s) == pytest.approx((100.00275, 100.00325))


def test_a_slow_pace_is_not_looked_for_long() -> None:
    """A quarter of a millisecond before and after: to look costs processor time, to be woken only some microseconds."""
    pace = after(100.0, 110.0, 120.0)
    assert (pace.from_s, pace.until_s) == pytest.approx((129.99975, 130.00025))


@pytest.mark.parametrize("last_s", [100.0025, 100.0095, 100.003])
def test_without_a_pace_nothing_is_expected(last_s: float) -> None:
    """The last gap is much shorter or longer than the one before."""
    pace = after(100.0, 100.002, last_s)
    assert (pace.from_s, pace.until_s) == (0.0, 0.0)


def test_one_event_is_no_pace() -> None:
    """Nor are two: the first has no gap before it."""
    assert after(100.0).until_s == 0.0
    assert after(100.0, 100.002).until_s == 0.0


def slack_ns() -> int:
    """The calling thread's, by PR_GET_TIMERSLACK."""
    return int(ctypes.CDLL(None).prctl(30))


@pytest.mark.skipif(sys.platform != "linux", reason="timer slack is Linux'")
def test_a_punctual_thread_has_no_slack() -> None:
    """Of its own: its process goes on as before."""
    before, after = slack_ns(), []

    def thread() -> None:
        reduce_timer_slack()
        after.append(slack_ns())

    run = threading.Thread(target=thread)
    run.start()
    run.join()
    assert after == [1]
    assert slack_ns() == before
