"""The MAC (seal) by which a relay recognises a committed message."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runrelay.runlog import Signer

# No deadline: a test must not fail because the machine is busy.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

KEY = b"0123456789abcdef"


def sealed(body: bytes, key: bytes = KEY) -> bytes:
    return body + b',"seal":"' + Signer(key).sign(body) + b'"}'


@steady
@given(st.binary(max_size=200), st.binary(min_size=16, max_size=16))
def test_a_sealed_message_is_known_by_its_key_only(body: bytes, key: bytes) -> None:
    """Without the key no MAC can be made."""
    assert Signer(key).verify(sealed(body, key)) == body
    assert Signer(key).verify(sealed(body)) == (body if key == KEY else None)


@steady
@given(st.binary(min_size=1, max_size=100), st.integers(min_value=0), st.integers(1, 255))
def test_a_changed_byte_breaks_the_seal(body: bytes, where: int, change: int) -> None:
    """A message that was changed is a forged message."""
    message = bytearray(sealed(body))
    message[where % len(message)] ^= change
    assert Signer(KEY).verify(bytes(message)) is None


def test_a_message_without_a_seal_has_none() -> None:
    """A message that was published by hand has no MAC."""
    for message in (b"", b"{}", b'{"run_id":"x","seq":8}', b',"seal":""}'):
        assert Signer(KEY).verify(message) is None


def test_nothing_is_sealed_without_a_key() -> None:
    """A run without a log has no key: with an empty key anyone could sign its first event."""
    assert Signer(b"").verify(sealed(b'{"run_id":"x"', b"")) is None
