"""Memory that is free inside the heap is given back to the system."""

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
    """Fill the heap, then free all but a little, which keeps glibc from giving the rest back."""
    blocks = [bytes(1000) for _ in range(_STORM_BYTES // 1000)]
    return blocks[::1000]


async def test_memory_of_clients_that_have_gone_is_given_back() -> None:
    """A relay would stay as large as it has ever been."""
    ctypes.CDLL(None).malloc_trim(0)  # what earlier tests have left free would hold part of the storm
    before = _resident_bytes()
    async with giving_memory_back(lambda: 0, check_s=0.01, pause_s=0):
        await asyncio.sleep(0)  # the first check comes before the heap is filled
        kept = _storm()
        assert _resident_bytes() - before > _STORM_BYTES // 2
        await eventually(lambda: _resident_bytes() - before < _STORM_BYTES // 4, "it is given back")
    assert len(kept) > 1
    kept = _storm()
    assert _resident_bytes() - before > _STORM_BYTES // 2, "the control: without it, nothing is"


async def test_memory_is_not_given_back_while_there_is_much_to_do(caplog: pytest.LogCaptureFixture) -> None:
    """It stops the loop for a while, in which no client is sent anything."""
    caplog.set_level("INFO", "runrelay.api.memory")
    checks: list[int] = []

    def much() -> int:
        checks.append(0)
        return 1_000_000 * len(checks)

    async with giving_memory_back(much, check_s=0.01, pause_s=60):
        kept = _storm()
        await eventually(lambda: checks, "the first check")
        first = len(checks)
        await eventually(lambda: len(checks) > first + 5, "more checks")
    assert len(kept) > 1
    assert not caplog.records
