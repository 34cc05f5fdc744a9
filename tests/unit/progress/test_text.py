"""Text: control characters found, length bounded in bytes."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runrelay.progress.text import check_label, check_text, control_char, cut_text

# No deadline: a test must not fail because the machine is busy.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# any code point, also lone surrogates: file names may have them
texts = st.text(alphabet=st.characters(exclude_categories=()), max_size=400)


@steady
@given(texts, st.integers(min_value=64, max_value=1000))
def test_a_cut_text_is_valid_and_within_its_limit(text: str, limit_bytes: int) -> None:
    """One byte above the limit, or half a character, would be refused later and lost."""
    cut = cut_text(text, limit_bytes)
    raw = cut.encode()
    assert len(raw) <= limit_bytes
    whole = text.encode("utf-8", "replace")
    if len(whole) <= limit_bytes:
        assert raw == whole
    else:
        head, count, words = cut[: cut.rindex(" … ")], *cut[cut.rindex(" … ") + 3 :].split(" ", 1)
        assert words == "bytes cut"
        assert whole.startswith(head.encode())
        assert len(head.encode()) + int(count) == len(whole)


def test_a_long_line_keeps_as_much_as_fits() -> None:
    """Cutting more than needed loses what could have been shown."""
    cut = cut_text("x" * 20_000, 16_384)
    assert cut.endswith(" bytes cut")
    assert 16_380 <= len(cut.encode()) <= 16_384
    # a character of four bytes in the way costs three at most
    assert len(cut_text("🎬" * 20_000, 16_384).encode()) >= 16_380


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    """An undecodable file name in a log line must not stop the task."""
    assert cut_text("file \udcff.png", 100) == "file ?.png"


@steady
@given(texts)
def test_a_control_character_is_found_wherever_it_stands(text: str) -> None:
    """A control character breaks a log line or a terminal."""
    found = control_char(text)
    controls = [char for char in text if ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000]
    assert found == (controls[0] if controls else None)


def test_labels_have_a_length_and_no_control_characters() -> None:
    """A state of 0 or of 100 characters cannot be shown."""
    assert check_label("state", "플롯 생성", 64) == "플롯 생성"
    assert check_label("state", "x" * 64, 64) == "x" * 64
    with pytest.raises(ValueError, match="state must have 1 to 64 characters, got 0"):
        check_label("state", "", 64)
    with pytest.raises(ValueError, match="state must have 1 to 64 characters, got 65"):
        check_label("state", "x" * 65, 64)
    with pytest.raises(ValueError, match=r"state must not contain the control character '\\t'"):
        check_label("state", "a\tb", 64)
    with pytest.raises(TypeError, match="state must be a str, got int"):
        check_label("state", 5, 64)
    with pytest.raises(TypeError, match="log must be a str, got bytes"):
        check_text("log", b"x")
