"""The relay's settings: mistakes that would not be noticed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from runrelay.relay import Settings


def test_an_empty_jwt_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that was never filled in would let every client in, or answer every token with 500."""
    monkeypatch.setenv("RUNRELAY_JWT_SECRET", "")
    with pytest.raises(ValidationError, match="jwt_secret"):
        Settings()


def test_a_misspelt_setting_is_refused_with_the_nearest_name() -> None:
    """`jwt_secert=` was ignored, and left a relay open to everybody."""
    with pytest.raises(ValueError, match=r"there is no setting 'jwt_secert': did you mean jwt_secret\?"):
        Settings(jwt_secert="s" * 32)  # type: ignore[call-arg]


@pytest.mark.parametrize("origin", ["https://App.example/", "https://app.example"])
def test_origins_are_as_a_browser_sends_them(origin: str) -> None:
    """A trailing slash was accepted, and never matched."""
    assert Settings(allowed_origins=(origin,)).allowed_origins == ("https://app.example",)


@pytest.mark.parametrize("origin", ["app.example", "https://app.example/path", "https://", ""])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    """It was accepted, and the page got 403 with the advice to do what was done."""
    with pytest.raises(ValueError, match=r"an origin is like https://app\.example"):
        Settings(allowed_origins=(origin,))
