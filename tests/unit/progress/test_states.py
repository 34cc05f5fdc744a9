"""States and statuses: each status is one of three kinds, each terminal state gives one that has ended."""

from runrelay.progress import ACTIVE, ENDED, TERMINAL_STATES, is_ended
from runrelay.progress.states import STATUSES


def test_every_status_is_active_ended_or_unknown() -> None:
    """A status of no kind would be in no list of runs; a status of two kinds in two lists."""
    assert set(STATUSES) == ACTIVE | ENDED | {"unknown"}
    assert not ACTIVE & ENDED
    assert {"queued", "running", "retrying", "stalled"} == ACTIVE


def test_terminal_states_end_a_run_and_nothing_else_does() -> None:
    """A client stops watching at these states and must not stop at others."""
    assert TERMINAL_STATES == {"END": "succeeded", "FAILED": "failed", "CANCELLED": "cancelled"}
    assert {status for status in STATUSES if is_ended(status)} == set(TERMINAL_STATES.values())
    assert not is_ended("END")
