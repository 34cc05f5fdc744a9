"""Cursors: written, read, compared."""

import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runrelay.progress import START, Cursor, new_epoch, parse_cursor
from runrelay.progress.cursors import EPOCH_ALPHABET, EPOCH_CHARS

# No deadline: a test must not fail because the machine is busy.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

epochs = st.text(alphabet=EPOCH_ALPHABET, min_size=EPOCH_CHARS, max_size=EPOCH_CHARS)
seqs = st.integers(min_value=0, max_value=10**15 - 1)


@steady
@given(epochs, seqs)
def test_what_is_written_is_read_again(epoch: str, seq: int) -> None:
    """A client that hands back the id it was given must be understood."""
    cursor = Cursor(epoch, seq)
    assert parse_cursor(str(cursor)) == cursor


def test_start_is_a_cursor_like_any_other() -> None:
    """A client that joined a run before its first event resumes from `0-0`."""
    assert str(START) == "0-0"
    assert parse_cursor("0-0") is START


@steady
@given(st.text(max_size=40))
def test_a_text_is_a_cursor_in_one_spelling_or_refused(text: str) -> None:
    """Two spellings of one position would make a client that compares strings see two."""
    try:
        cursor = parse_cursor(text)
    except ValueError:
        return
    assert str(cursor) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0-1",
        "k3x9m2p7q1za",
        "k3x9m2p7q1za-",
        "k3x9m2p7q1za-07",
        "k3x9m2p7q1za--7",
        "k3x9m2p7q1za-7\n",
        " k3x9m2p7q1za-7",
        "K3X9M2P7Q1ZA-7",
        "k3x9m2p7q1z-7",
        "k3x9m2p7q1zab-7",
        "k3x9m2p7q1za-7.0",
        "k3x9m2p7q1za-1e3",
        "k3x9m2p7q1za-٧",
        "k3x9m2p7q1za-1000000000000000",
    ],
)
def test_what_is_nearly_a_cursor_is_refused(text: str) -> None:
    """A malformed cursor that is accepted resumes at another position than the client's."""
    with pytest.raises(ValueError, match="a cursor is '<epoch>-<seq>'"):
        parse_cursor(text)


def test_a_long_text_is_not_repeated_whole() -> None:
    """An error message must not grow with what an attacker sends."""
    with pytest.raises(ValueError, match="a cursor is") as raised:
        parse_cursor("x" * 100_000)
    assert len(str(raised.value)) < 200


@steady
@given(epochs, epochs, seqs, seqs)
def test_only_the_very_next_of_the_same_log_follows(one: str, other: str, seq: int, later: int) -> None:
    """If a gap were taken for the next position, an event would be lost."""
    assert Cursor(one, seq + 1).follows(Cursor(one, seq))
    assert Cursor(one, seq).follows(Cursor(other, later)) == (one == other and seq == later + 1)


def test_a_new_epoch_is_new_and_well_formed() -> None:
    """Two logs under one name could not be told apart."""
    made = {new_epoch() for _ in range(1000)}
    assert len(made) == 1000
    for epoch in made:
        assert len(epoch) == EPOCH_CHARS
        assert set(epoch) <= set(string.ascii_lowercase + string.digits)
        assert parse_cursor(f"{epoch}-1") == Cursor(epoch, 1)
