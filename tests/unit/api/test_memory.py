"""Memory that is free inside the heap goes back to the system."""

from __future__ import annotations

import asyncio
import ctypes
import sys

import pytest

from runrelay.api.memory import _resident_bytes, giving_memory_back
from tests.support.clients import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc_trim")

_STORM_BYTES = 64 << 20


def _storm() -> list[bytes]:
    """Fill the heap, then free all but a little, which keeps the rest from the system."""
    blocks = [bytes(1000) for _ in range(_STORM_BYTES // 1000)]
    return blocks[::1000]


async def test_what_a_storm_has_left_is_given_back() -> None:
    """A relay stays as large as it has ever been."""
    ctypes.CDLL(None).malloc_trim(0)  # what earlier tests have left free would hold part of the storm
    before = _resident_bytes()
    async with giving_memory_back(lambda: 0, look_s=0.01, pause_s=0):
        await asyncio.sleep(0)  # it has looked at the size before the storm
        kept = _storm()
        assert _resident_bytes() - before > _STORM_BYTES // 2
        await eventually(lambda: _resident_bytes() - before < _STORM_BYTES // 4, "it is given back")
    assert len(kept) > 1
    kept = _storm()
    assert _resident_bytes() - before > _STORM_BYTES // 2, "the control: without it, nothing is"


async def test_while_there_is_much_to_do_it_waits(caplog: pytest.LogCaptureFixture) -> None:
    """It stops the loop for a while, in which nobody is told anything."""
    caplog.set_level("INFO", "runrelay.api.memory")
    looks: list[int] = []

    def much() -> int:
        looks.append(0)
        return 1_000_000 * len(looks)

    async with giving_memory_back(much, look_s=0.01, pause_s=60):
        kept = _storm()
        await eventually(lambda: looks, "the first look")
        first = len(looks)
        await eventually(lambda: len(looks) > first + 5, "more looks")
    assert len(kept) > 1
    assert not caplog.records
