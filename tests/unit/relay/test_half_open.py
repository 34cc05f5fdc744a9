"""Half-open connections: which of them is closed, and when."""

from __future__ import annotations

import pytest

from runrelay.metrics import RelayMetrics
from runrelay.relay import Settings, half_open
from runrelay.relay.half_open import HalfOpen, Reason
from tests.support.clients import eventually


class _Connection:
    def __init__(self) -> None:
        self.ended: Reason | None = None
        self.has_sent = False

    def is_silent(self) -> bool:
        return not self.has_sent

    def expire(self, why: Reason) -> None:
        self.ended = why


def _entered(registry: HalfOpen, address: str, count: int, within_s: float = 0) -> list[_Connection]:
    connections = [_Connection() for _ in range(count)]
    for connection in connections:
        registry.enter(connection, address, within_s)
    return connections


def _ended(connections: list[_Connection]) -> int:
    return sum(connection.ended is not None for connection in connections)


@pytest.fixture
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_open, "_GRACE_S", 0.0)
    monkeypatch.setattr(half_open, "_SWEEP_S", 0.01)


@pytest.mark.usefixtures("_no_grace")
async def test_a_flooding_address_closes_its_own_connections() -> None:
    """An address that opens many connections would close those of all others."""
    metrics = RelayMetrics()
    registry = HalfOpen(Settings(max_half_open=10, max_half_open_per_address=5), metrics)
    honest = _entered(registry, "192.0.2.1", 3)
    flood = _entered(registry, "192.0.2.2", 100)
    assert _ended(honest) == 0
    assert [connection.ended for connection in flood[-5:]] == [None] * 5
    assert _ended(flood) == metrics.half_open_closed == 95
    many = [_entered(registry, f"198.51.100.{number}", 1)[0] for number in range(10)]
    assert registry.total == 10
    assert _ended(many) == 0, "the oldest go first"
    behind_a_proxy = _entered(registry, "", 10)
    assert _ended(behind_a_proxy) == 0, "those count in the total only"


async def test_a_young_connection_is_not_closed_to_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of honest clients that reconnect at once are all half-open for a moment."""
    monkeypatch.setattr(half_open, "_SWEEP_S", 0.01)
    monkeypatch.setattr(half_open, "_GRACE_S", 0.3)
    registry = HalfOpen(Settings(max_half_open=10), RelayMetrics())
    crowd = _entered(registry, "192.0.2.1", 100)
    assert _ended(crowd) == 0
    await eventually(lambda: registry.total == 10, "those that are silent for longer are closed")
    assert _ended(crowd[-10:]) == 0


async def test_a_connection_with_unread_bytes_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that is busy for seconds would close the honest clients whose requests it has not read yet."""
    monkeypatch.setattr(half_open, "_SWEEP_S", 0.01)
    monkeypatch.setattr(half_open, "_GRACE_S", 0.05)
    registry = HalfOpen(Settings(max_half_open=10), RelayMetrics())
    crowd = _entered(registry, "192.0.2.1", 100, 0.05)
    for connection in crowd[:50]:
        connection.has_sent = True
    await eventually(lambda: _ended(crowd[50:]) == 50, "the silent ones are closed")
    assert _ended(crowd[:50]) == 0
    for connection in crowd[:50]:
        connection.has_sent = False  # read now, and still no request
    await eventually(lambda: _ended(crowd) == 100, "a deadline that is put off comes")
    assert registry.total == 0


@pytest.mark.usefixtures("_no_grace")
async def test_a_deadline_holds_and_does_not_start_again() -> None:
    """A client could hold its connection for ever by sending a byte now and then."""
    registry = HalfOpen(Settings(), RelayMetrics())
    (late,) = _entered(registry, "192.0.2.1", 1, 0.05)
    (patient,) = _entered(registry, "192.0.2.1", 1, 0)
    (gone,) = _entered(registry, "192.0.2.1", 1, 0.05)
    registry.leave(gone)
    registry.leave(gone)
    await eventually(lambda: late.ended == "late", "the deadline has passed")
    assert (patient.ended, gone.ended, registry.total) == (None, None, 1)
    registry.leave(patient)
    await eventually(lambda: registry._timer is None, "nothing is looked at when there is nothing")
    assert not registry._of_address


async def test_the_bound_on_open_files_has_no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no file left, no client could be accepted."""
    monkeypatch.setattr(half_open, "room_for_connections", lambda: 100)
    registry = HalfOpen(Settings(), RelayMetrics())
    assert registry.make_room(100)
    assert not registry.make_room(101), "there is nothing that could be closed"
    oldest, _ = _entered(registry, "192.0.2.1", 2)
    assert registry.make_room(101)
    assert oldest.ended == "crowded"
    assert HalfOpen(Settings(max_half_open=0), RelayMetrics()).make_room(1_000_000), "switched off"
