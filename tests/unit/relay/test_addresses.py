"""How clients' connections are counted by address, and which proxies are trusted."""

from __future__ import annotations

import pytest

from runrelay.errors import Refusal
from runrelay.relay import Settings
from runrelay.relay.addresses import TrustedProxies, counted_as
from runrelay.relay.limits import Limits


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), (None, ""), ("", ""),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:DB8:1:2::", "2001:db8:1:2::/64"), ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"), ("unknown", "unknown"), ("a:b", "a:b"),
    ],
)  # fmt: skip
def test_the_key_of_an_address(host: str | None, counted: str) -> None:
    """A client with two keys would have twice the limit."""
    assert counted_as(host) == counted


def test_clients_without_an_address_count_in_the_total_only() -> None:
    """All clients behind a UNIX socket would share one address' limit."""
    limits = Limits(Settings(max_connections_per_address=1, max_connections=3))
    for _ in range(3):
        limits.enter("")
    with pytest.raises(Refusal, match="3 of 3"):
        limits.enter("")
    for _ in range(3):
        limits.leave("")
    limits.enter("192.0.2.1")
    with pytest.raises(Refusal, match="1 of 1"):
        limits.enter("192.0.2.1")


def test_proxies_are_addresses_and_networks() -> None:
    """With a proxy that is not recognised all clients share a limit; with one too many, clients can lie about their
    address.
    """
    proxies = TrustedProxies(("10.0.0.0/8", "2001:db8::1"))
    assert "10.1.2.3" in proxies
    assert "2001:db8:0::1" in proxies
    for other in ("11.0.0.1", "2001:db8::2", "", None, "unknown", "10.0.0.0/8"):
        assert other not in proxies
    assert "anything" in TrustedProxies(("*",))
    assert "127.0.0.1" not in TrustedProxies(())


def test_proxies_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deployments that set uvicorn's variable would not be recognised; ours goes first."""
    assert Settings().trusted_proxies == ()
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1")
    assert Settings().trusted_proxies == ("10.0.0.1",)
    monkeypatch.setenv("RUNRELAY_TRUSTED_PROXIES", "10.0.0.2, 10.1.0.0/16,")
    assert Settings().trusted_proxies == ("10.0.0.2", "10.1.0.0/16")
