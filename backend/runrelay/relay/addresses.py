"""Clients' addresses: what connections are counted under, and which proxies are believed about them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from starlette.requests import HTTPConnection

__all__ = ["TrustedProxies", "address_of", "counted_as"]


@lru_cache(maxsize=4096)
def counted_as(host: str | None) -> str:
    """What a host's connections are counted under; "" for a client without an address (a UNIX socket).

    An IPv6 address counts as its /64: that is what one household or one server is given (RFC 6177), and each of its
    2^64 addresses would have a limit of its own. An IPv4 address that came in IPv6's form is the IPv4 address.
    """
    if not host or ":" not in host:
        return host or ""
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


def address_of(connection: HTTPConnection) -> str:
    """What this client's connections are counted under. Behind trusted proxies, the server has put theirs aside."""
    return counted_as(connection.client.host if connection.client else None)


class TrustedProxies:
    """The addresses whose `X-Forwarded-For` is believed."""

    def __init__(self, given: Iterable[str]) -> None:
        """Read addresses and networks; `*` is everybody.

        Raises:
            ValueError: one of them is none of these.
        """
        names = [name.strip() for name in given]
        self._everybody = "*" in names
        try:
            self._networks = [ipaddress.ip_network(name) for name in names if name != "*"]
        except ValueError as error:
            raise ValueError(f"a proxy must be an address, a network such as 10.0.0.0/8, or *: {error}") from None

    def __contains__(self, host: object) -> bool:
        if self._everybody or not self._networks:
            return self._everybody
        try:
            address = ipaddress.ip_address(str(host))
        except ValueError:
            return False
        return any(address in network for network in self._networks)
