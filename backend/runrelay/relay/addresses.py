"""Clients' addresses: how connections are counted by address, and which proxies are trusted about it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from starlette.requests import HTTPConnection

__all__ = ["TrustedProxies", "address_of", "counted_as"]


@lru_cache(maxsize=4096)
def counted_as(host: str | None) -> str:
    """The key under which a host's connections are counted; "" for a client without an address (a UNIX socket).

    An IPv6 address counts as its /64: one household or one server is given so many addresses (RFC 6177), and otherwise
    each of the 2^64 would have its own limit. An IPv4-mapped IPv6 address counts as the IPv4 address.
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
    """The key of this client's connections. The server has replaced the addresses of trusted proxies already."""
    return counted_as(connection.client.host if connection.client else None)


class TrustedProxies:
    """The addresses whose `X-Forwarded-For` is trusted."""

    def __init__(self, given: Iterable[str]) -> None:
        """Parse addresses and networks; `*` means every address.

        Raises:
            ValueError: one of them is none of these.
        """
        names = [name.strip() for name in given]
        self._all = "*" in names
        try:
            self._networks = [ipaddress.ip_network(name) for name in names if name != "*"]
        except ValueError as error:
            raise ValueError(f"a proxy must be an address, a network such as 10.0.0.0/8, or *: {error}") from None

    def __contains__(self, host: object) -> bool:
        if self._all or not self._networks:
            return self._all
        try:
            address = ipaddress.ip_address(str(host))
        except ValueError:
            return False
        return any(address in network for network in self._networks)
