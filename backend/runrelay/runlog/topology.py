"""Where the run log is: the only module that makes connections from a URL.

`redis://`, `rediss://` and `unix://` mean one server; `redis+sentinel://` means the primary that sentinels name. A
pool is used to make connections only: it does not hold those that are made with `make_connection`.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from redis import ConnectionPool
from redis.asyncio import ConnectionPool as AsyncConnectionPool
from redis.exceptions import RedisError

from . import sentinels
from .server_url import is_sentinel_url, parse_sentinel_url, without_password
from .url_options import as_redis_url

__all__ = ["AsyncTopology", "Topology", "check_url"]

_SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
"""Beside them, the same with `valkey` for `redis`."""
_OF_VALKEY: Final = ("valkey", "valkeys", "valkey+sentinel", "valkeys+sentinel")
_UNKNOWN_OPTION: Final = re.compile(r"\w+\.__init__\(\) got an unexpected keyword argument")


def check_url(url: str, setting: str = "REDIS_URL") -> None:
    """Check a URL without connecting.

    Raises:
        ValueError: no server can be reached by it. The message names the setting, the value without its passwords, and
            what is wrong.
    """
    Topology(url, setting).pool()


def _check_database(url: str) -> None:
    """Raise ValueError if the database is not a number: redis-py would silently take database 0."""
    parts = urlsplit(url)
    named = parse_qs(parts.query).get("db")
    if named is None and parts.scheme != "unix" and parts.path.strip("/"):
        named = [parts.path.strip("/")]
    if named is not None and not (named[0].isascii() and named[0].isdigit()):
        raise ValueError(
            "the database must be a number"
        )  # the value is not shown, because it may be half of a password


class Topology:
    """Where the run log is, for a thread. After a fork only the URL is the same."""

    def __init__(self, url: str, setting: str = "REDIS_URL") -> None:
        self._url = url
        self._setting = setting
        self._sentinels = sentinels.Sentinels(parse_sentinel_url(url, setting)) if is_sentinel_url(url) else None
        self._checked_s = 0.0

    @property
    def place(self) -> str:
        """The URL without its passwords, for messages."""
        return without_password(self._url)

    def pool(self, **options: Any) -> ConnectionPool:
        """A pool with these options of redis-py's connections. They override the URL's (url_options.py).

        Raises:
            ValueError: no connection can be made from the URL; the message says why.
        """
        try:
            if self._sentinels is not None:
                made: ConnectionPool = sentinels.pool(self._sentinels, **options)
            else:
                if self._url.partition("://")[0] not in _SCHEMES + _OF_VALKEY:
                    raise ValueError(f"must begin with one of {', '.join(f'{scheme}://' for scheme in _SCHEMES)}")
                _check_database(self._url)
                made = ConnectionPool.from_url(as_redis_url(self._url), **options)
            made.connection_class(**made.connection_kwargs)  # an unknown option is found here
        except (TypeError, ValueError, RedisError) as error:
            text = _UNKNOWN_OPTION.sub("there is no option", str(error))
            raise ValueError(f"{self._setting}: {text}, got {without_password(self._url)!r}") from None
        return made

    def leads_elsewhere(self, connection: Any) -> bool:
        """Whether a connection is known to lead to a server that is not the primary any more.

        Called before each commit. It asks the sentinels every `CHECK_S` at most. Without sentinels: False.
        """
        if self._sentinels is None:
            return False
        now_s = time.monotonic()
        if now_s - self._checked_s < sentinels.CHECK_S:
            return False
        self._checked_s = now_s
        return self._sentinels.leads_elsewhere(connection)


class AsyncTopology:
    """Where the run log is, for one event loop and all of its pools."""

    def __init__(self, url: str, setting: str = "REDIS_URL") -> None:
        check_url(url, setting)
        self._url = url
        self._sentinels = sentinels.AsyncSentinels(parse_sentinel_url(url, setting)) if is_sentinel_url(url) else None

    @property
    def place(self) -> str:
        """The URL without its passwords, for messages."""
        return without_password(self._url)

    def pool(self, **options: Any) -> AsyncConnectionPool:
        """A pool with these options of redis-py's connections. They override the URL's (url_options.py)."""
        if self._sentinels is not None:
            made: AsyncConnectionPool = sentinels.async_pool(self._sentinels, **options)
            return made
        return AsyncConnectionPool.from_url(as_redis_url(self._url), **options)

    async def watch(self) -> None:
        """Close connections that lead to a server that is not the primary any more, until cancelled.

        Without sentinels it returns at once.
        """
        while self._sentinels is not None:
            await asyncio.sleep(sentinels.CHECK_S)
            await self._sentinels.check()
