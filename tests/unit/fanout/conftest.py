"""Fixtures of the fan-out's unit tests."""

import pytest

from runrelay.fanout import direct_sends
from runrelay.fanout.direct_sends import GilContention


@pytest.fixture(autouse=True)
def no_contention_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine was busy with: no GIL contention has been seen."""
    monkeypatch.setattr(direct_sends, "gil_contention", GilContention())
