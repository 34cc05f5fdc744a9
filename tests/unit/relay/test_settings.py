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
