"""Reads the URL of a Redis: one server, or the primary that sentinels name. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlencode

from redis.connection import parse_url

from .url_options import usable_options

__all__ = ["SENTINEL_FORM", "SentinelUrl", "is_sentinel_url", "parse_sentinel_url", "without_password"]

SENTINEL_FORM: Final = (
    "redis+sentinel://[user:password@]host[:port][,host[:port]…]/master_name[/db][?sentinel_password=…]"
)
_TLS: Final = {
    "redis+sentinel": False, "rediss+sentinel": True, "valkey+sentinel": False, "valkeys+sentinel": True
}  # fmt: skip
_SENTINEL_PORT: Final = 26379
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\[\]:\s]+)(?::(?P<port>\d{1,5}))?")
_PASSWORD: Final = re.compile(r"((?:^|[?&])[^=&]*password=)[^&]*")


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """Sentinels, the name under which they know the primary, and the options of connections to it and to them."""

    sentinels: tuple[tuple[str, int], ...]
    master_name: str
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    """TLS to the sentinels and to the servers that they name."""
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Further options of redis-py's connections; those that begin with `ssl_` are used for the sentinels, too."""


def is_sentinel_url(url: str) -> bool:
    """Whether a URL names sentinels. It may still be malformed."""
    return url.partition("://")[0].lower() in _TLS


def parse_sentinel_url(url: str, setting: str = "REDIS_URL") -> SentinelUrl:
    """Read `redis+sentinel://…`, or `rediss+sentinel://…` for TLS. User and password are the data servers'.

    Args:
        setting: name of the setting that the URL comes from, for the error.

    Raises:
        ValueError: it is malformed; the message names the setting, the value without its passwords, and the right form.
    """
    try:
        return _parsed(url)
    except ValueError as error:
        shown = without_password(url)
        raise ValueError(f"{setting}: {error}, got {shown!r}; its form is {SENTINEL_FORM}") from None


def _parsed(url: str) -> SentinelUrl:
    scheme, _, rest = url.partition("://")
    tls = _TLS.get(scheme.lower())
    if tls is None:
        raise ValueError("the scheme must be redis+sentinel or rediss+sentinel")
    rest, _, query = rest.partition("#")[0].partition("?")
    authority, _, path = rest.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    username, _, password = (unquote(part) or None for part in userinfo.partition(":"))
    master_name, _, db = path.rstrip("/").partition("/")
    if not master_name:
        raise ValueError("the path must name the primary as the sentinels know it")
    if db and not (db.isascii() and db.isdecimal()):
        raise ValueError("the number of the database must be 0 or more")
    given = parse_qs(query)
    ours = {name: given.pop(name)[0] for name in ("sentinel_username", "sentinel_password") if name in given}
    if unknown := sorted(name for name in given if name.startswith("sentinel_")):
        raise ValueError(f"there is no option {unknown[0]}")
    # redis-py converts its options to their types
    usable = usable_options(given, tls=tls)
    options = parse_url(f"redis://localhost/?{urlencode(usable)}")  # type: ignore[no-untyped-call]
    for name in ("host", "db", "username", "password"):
        options.pop(name, None)
    return SentinelUrl(
        tuple(map(_address, hosts.split(","))),
        unquote(master_name),
        int(db or 0),
        username,
        password,
        tls,
        ours.get("sentinel_username"),
        ours.get("sentinel_password"),
        options,
    )


def _address(text: str) -> tuple[str, int]:
    found = _HOST.fullmatch(text.strip())
    port = _SENTINEL_PORT if found is None or found["port"] is None else int(found["port"])
    if found is None or not 0 < port < 65536:
        raise ValueError(f"each sentinel must be host or host:port with a port within 1..65535, found {text!r}")
    return unquote(found["host"]).strip("[]"), port


def without_password(url: str) -> str:
    """The URL of a server without its user and its passwords, for messages."""
    address, question, query = url.partition("?")
    if "@" not in address and "@" in query:  # a password with a question mark in it, or options with a bare @
        query = _PASSWORD.sub(r"\1…", query)
        if "@" in query:
            address, question, query = url, "", ""
    head, at, tail = address.rpartition("@")
    shown = f"{head.split('://')[0]}://…@{tail}" if at else address
    return shown + question + _PASSWORD.sub(r"\1…", query)
