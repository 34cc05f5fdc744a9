"""Run ids: which names are accepted."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runrelay.progress import check_run_id
from runrelay.progress.run_ids import MAX_RUN_ID_CHARS

# No deadline: a test must not fail because the machine is busy.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    "run_id",
    [
        "a",
        "20251105_1430_우주여행고양이",
        "with space",
        "...",
        ".hidden",
        "a:b",
        "🎬",
        "\xa0",  # no-break space: odd, but no control character
        "\u00e9",
        "e\u0301",  # the same to the eye, another run: ids are compared bytewise
        "x" * MAX_RUN_ID_CHARS,
        "가" * MAX_RUN_ID_CHARS,
        "\u2028",
    ],
)
def test_what_people_call_their_runs_is_taken_as_it_is(run_id: str) -> None:
    """A run must be found under exactly the name that it was started with."""
    assert check_run_id(run_id) == run_id


@pytest.mark.parametrize(
    ("run_id", "words"),
    [
        ("", "1 to 200 characters, got 0"),
        ("x" * 201, "1 to 200 characters, got 201"),
        (".", "path segment"),
        ("..", "path segment"),
        ("a/b", "'/'"),
        ("{a", "'{'"),
        ("a}", "'}'"),
        ("line\nbreak", r"'\\n'"),
        ("nul\x00", r"'\\x00'"),
        ("del\x7f", r"'\\x7f'"),
        ("c1\x85", r"'\\x85'"),
        ("lone\ud800surrogate", r"'\\ud800'"),
    ],
)
def test_what_would_break_a_path_a_key_or_a_log_line_is_refused(run_id: str, words: str) -> None:
    """Such an id would give another key, path or log line than its own."""
    with pytest.raises(ValueError, match=words):
        check_run_id(run_id)


@pytest.mark.parametrize("run_id", [None, 7, b"bytes", ["a"]])
def test_another_type_is_a_type_error(run_id: object) -> None:
    """A number that is converted to a name by accident is never found again."""
    with pytest.raises(TypeError, match=type(run_id).__name__):
        check_run_id(run_id)


@steady
@given(st.text(max_size=220))
def test_an_accepted_id_is_safe_wherever_it_is_written(run_id: str) -> None:
    """A run id is used in a key's hash tag, in a path, in UTF-8 and in a line of a log file."""
    try:
        check_run_id(run_id)
    except ValueError:
        return
    raw = run_id.encode()
    assert 1 <= len(run_id) <= MAX_RUN_ID_CHARS
    assert not set(b"/{}\r\n\0") & set(raw)
    assert raw not in (b".", b"..")
