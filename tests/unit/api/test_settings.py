"""The relay's settings, as far as a mistake in them would not be noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from runrelay.api import Settings
from runrelay.api.server import serve


def test_an_empty_secret_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that was to be filled in: neither is everybody let in, nor is every token a 500 later."""
    monkeypatch.setenv("RUNRELAY_JWT_SECRET", "")
    with pytest.raises(ValidationError, match="jwt_secret"):
        Settings()


def test_reloading_looks_at_sources_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """node_modules and the data of runs in the same folder are none."""
    given: list[object] = []
    monkeypatch.setattr("uvicorn.run", lambda *_, **options: given.append(options["reload_dirs"]))
    monkeypatch.chdir(tmp_path)
    serve(Settings(), reload=True)
    (tmp_path / "backend").mkdir()
    serve(Settings(), reload=True)
    serve(Settings())
    assert given == [None, ["backend"], None]
