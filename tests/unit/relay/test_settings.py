"""The relay's settings, as far as a mistake in them would not be noticed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from runrelay.relay import Settings


def test_an_empty_secret_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that was to be filled in: neither is everybody let in, nor is every token a 500 later."""
    monkeypatch.setenv("RUNRELAY_JWT_SECRET", "")
    with pytest.raises(ValidationError, match="jwt_secret"):
        Settings()
