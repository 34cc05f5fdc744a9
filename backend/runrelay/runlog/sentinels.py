"""Finds the primary through its sentinels at each connect, and checks with the server itself that it is the primary.

The classes that connect are redis-py's (`redis.sentinel`, `redis.asyncio.sentinel`). Three things differ:

- redis-py's `Sentinel` asks one sentinel after the other through clients of its own, each of which tries four times
  with pauses of seconds, and its reordering of the list can lose a sentinel when two tasks ask at once. Here each
  sentinel is asked once, on a connection of its own, within `ASK_S`.
- A sentinel that is cut off from the others still names the old primary. So the server that a sentinel names is asked
  for its role (`ROLE`). If it is not a primary, or does not answer, the next sentinel is asked.
- An old primary that was only frozen comes back as a primary, and stays one until the sentinels demote it, some seconds
  later. Writes that it accepts in this time are lost. So the sentinels are asked again every `CHECK_S` (`check`), not
  only when a connection breaks. The rest must be prevented by the servers: `min-replicas-to-write 1`.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from typing import Any, Final

from redis import sentinel as sync
from redis.asyncio import sentinel as aio_sentinel
from redis.asyncio.connection import Connection as AsyncConnection
from redis.asyncio.connection import SSLConnection as AsyncSSLConnection
from redis.connection import Connection, SSLConnection
from redis.exceptions import AuthenticationError, ConnectionError, NoPermissionError, RedisError, ResponseError

from .server_url import SentinelUrl

__all__ = ["ASK_S", "CHECK_S", "AsyncSentinels", "Sentinels", "async_pool", "pool"]

log = logging.getLogger(__name__)

ASK_S: Final = 1.0
"""Seconds that one sentinel has for connecting, and for each answer."""
CHECK_S: Final = 2.0
"""Seconds between two checks that a connection still leads to the primary."""
Address = tuple[str, int]
_CALLS_ON_CONNECT: Final = not hasattr(Connection, "on_connect_check_health")
"""redis-py 5 calls `on_connect` after a connect; later ones call `on_connect_check_health`, as `on_connect` does."""


class _Asked:
    """The order in which sentinels are asked, and the meaning of their answers."""

    def __init__(self, url: SentinelUrl) -> None:
        self.url = url
        self._first = 0
        self.options: dict[str, Any] = {
            "protocol": 2,
            "socket_connect_timeout": ASK_S,
            "username": url.sentinel_username,
            "password": url.sentinel_password,
            **{name: value for name, value in url.options.items() if url.tls and name.startswith("ssl_")},
        }
        self.questions: Final = (
            ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", url.master_name),
            ("SENTINEL", "MASTER", url.master_name),
        )

    def in_turn(self) -> list[tuple[int, Address]]:
        """All sentinels with their numbers, first the one that answered last."""
        numbered = list(enumerate(self.url.sentinels))
        return numbered[self._first :] + numbered[: self._first]

    def answered(self, number: int) -> None:
        """This sentinel knows a primary. It is asked first from now on."""
        self._first = number

    def was_wrong(self) -> None:
        """The named primary cannot be reached, or is not a primary: ask another sentinel first next time."""
        self._first = (self._first + 1) % len(self.url.sentinels)

    def primary(self, address: Any, state: Any) -> Address:
        """The primary's address from the answers to both questions.

        Raises:
            ConnectionError: this sentinel does not know the primary, or takes it for down.
        """
        if isinstance(address, ResponseError):
            raise address
        if address is None:
            raise ConnectionError(f"it knows no primary of the name {self.url.master_name!r}")
        host, port = address[0].decode(), int(address[1])
        if not isinstance(state, Exception):
            fields = dict(zip(state[::2], state[1::2], strict=False))
            same = fields.get(b"ip") == address[0] and fields.get(b"port") == address[1]
            # During a failover the first answer may be the new primary, and the second still the old one.
            if same and {b"s_down", b"o_down", b"disconnected"} & set(fields.get(b"flags", b"").split(b",")):
                raise ConnectionError(f"it holds the primary {host}:{port} to be down")
        return host, port

    def nobody(self, errors: list[str]) -> ConnectionError:
        """The error to raise when no sentinel knows the primary."""
        return sync.MasterNotFoundError(
            f"no sentinel knows where the primary {self.url.master_name!r} is: {'; '.join(errors)}"
        )


def _is_primary(reply: Any) -> bool:
    """Whether an answer to ROLE is a primary's. Without the right to ROLE a server is taken for a primary."""
    return isinstance(reply, NoPermissionError) or (isinstance(reply, list) and reply[:1] == [b"master"])


def _not_primary(host: str, port: int, reply: Any) -> ConnectionError:
    role = reply[0].decode() if isinstance(reply, list) else reply
    return ConnectionError(f"{host}:{port}, which a sentinel named, is no primary but says {role!r}")


class Sentinels(_Asked):
    """For threads. It has the methods that redis-py's pool needs of a `sentinel_manager`."""

    def discover_master(self, _name: str) -> Address:
        """Where the primary is. Blocks for `ASK_S` per sentinel and step at most.

        Raises:
            ConnectionError: no sentinel knows.
        """
        errors = []
        for number, (host, port) in self.in_turn():
            make = SSLConnection if self.url.tls else Connection
            connection = make(host=host, port=port, socket_timeout=ASK_S, **self.options)
            try:
                found = self.primary(*_answers(connection, self.questions))
            except (RedisError, OSError) as error:
                errors.append(f"{host}:{port}: {error}")
                continue
            finally:
                connection.disconnect()  # type: ignore[no-untyped-call]
            self.answered(number)
            return found
        raise self.nobody(errors)

    def leads_elsewhere(self, connection: Any) -> bool:
        """Whether the primary is known to be another server than that of a connection."""
        try:
            return self.discover_master(self.url.master_name) != (connection.host, connection.port)
        except (RedisError, OSError):
            return False


class AsyncSentinels(_Asked):
    """For one event loop. It keeps the connections that were made through it, and closes those to an old primary."""

    def __init__(self, url: SentinelUrl) -> None:
        super().__init__(url)
        self.connections: weakref.WeakSet[Any] = weakref.WeakSet()

    async def discover_master(self, _name: str) -> Address:
        """Where the primary is. Takes `ASK_S` per sentinel at most.

        Raises:
            ConnectionError: no sentinel knows.
        """
        errors = []
        for number, (host, port) in self.in_turn():
            make = AsyncSSLConnection if self.url.tls else AsyncConnection
            # no socket_timeout: with one, redis-py sends under `asyncio.wait_for`, see AsyncRunLog
            connection = make(host=host, port=port, socket_timeout=None, **self.options)
            try:
                async with asyncio.timeout(ASK_S):
                    await connection.connect()  # type: ignore[no-untyped-call]
                    answers = []
                    for question in self.questions:
                        await connection.send_command(*question)
                        answers.append(await _reply(connection))
                found = self.primary(*answers)
            except (RedisError, OSError) as error:
                errors.append(f"{host}:{port}: {str(error) or 'no answer'}")
                continue
            finally:
                await connection.disconnect(nowait=True)
            self.answered(number)
            return found
        raise self.nobody(errors)

    async def check(self) -> None:
        """Close the connections to a server that is not the primary any more.

        Their users see a broken connection, and connect to the primary. If no sentinel answers, or none knows a
        primary, no connection is closed.
        """
        try:
            primary = await self.discover_master(self.url.master_name)
        except (RedisError, OSError):
            return
        for connection in list(self.connections):
            if connection.is_connected and (connection.host, connection.port) != primary:
                log.warning("the primary is at %s:%d now, no longer at %s:%d", *primary, *_address(connection))
                await connection.disconnect(nowait=True)


def _address(connection: Any) -> Address:
    return connection.host, connection.port


def _answers(connection: Any, questions: Any) -> list[Any]:
    connection.connect()
    answers: list[Any] = []
    for question in questions:
        connection.send_command(*question)
        try:
            answers.append(connection.read_response())
        except ResponseError as error:
            answers.append(error)
    return answers


async def _reply(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


class _PrimaryConnection(sync.SentinelManagedConnection):
    """A connection to the server that the sentinels name, if that server says that it is the primary."""

    def connect_to(self, address: Address) -> None:
        """Connect, and ask for the role; see redis-py."""
        try:
            super().connect_to(address)  # type: ignore[no-untyped-call]
        except (AuthenticationError, NoPermissionError):
            raise  # not the sentinel's fault
        except (RedisError, OSError):
            self.connection_pool.sentinel_manager.was_wrong()
            raise

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """Called after authentication and before a subscription is renewed; see redis-py."""
        super().on_connect_check_health(check_health=check_health)
        self._check_role()

    def on_connect(self) -> None:
        """The same in redis-py 5; see `_CALLS_ON_CONNECT`."""
        super().on_connect()  # type: ignore[no-untyped-call]
        if _CALLS_ON_CONNECT:
            self._check_role()

    def _check_role(self) -> None:
        self.send_command("ROLE", check_health=False)  # type: ignore[no-untyped-call]
        try:
            reply = self.read_response()
        except ResponseError as error:
            reply = error
        if not _is_primary(reply):
            raise _not_primary(self.host, self.port, reply)


class _PrimarySSLConnection(_PrimaryConnection, sync.SentinelManagedSSLConnection):
    pass


class _AsyncPrimaryConnection(aio_sentinel.SentinelManagedConnection):
    """The same for asyncio."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self.connection_pool.sentinel_manager.connections.add(self)

    async def connect_to(self, address: Address) -> None:
        """Connect, and ask for the role; see redis-py."""
        try:
            await super().connect_to(address)  # type: ignore[no-untyped-call]
        except (AuthenticationError, NoPermissionError):
            raise
        except (RedisError, OSError, asyncio.CancelledError):
            # cancelled by a timeout: the server accepts connections and does not answer
            self.connection_pool.sentinel_manager.was_wrong()
            raise

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Called after authentication and before a subscription is renewed; see redis-py."""
        await super().on_connect_check_health(check_health=check_health)
        await self._check_role()

    async def on_connect(self) -> None:
        """The same in redis-py 5; see `_CALLS_ON_CONNECT`."""
        await super().on_connect()
        if _CALLS_ON_CONNECT:
            await self._check_role()

    async def _check_role(self) -> None:
        await self.send_command("ROLE", check_health=False)
        reply = await _reply(self)
        if not _is_primary(reply):
            raise _not_primary(self.host, self.port, reply)


class _AsyncPrimarySSLConnection(_AsyncPrimaryConnection, aio_sentinel.SentinelManagedSSLConnection):
    pass


def _options(url: SentinelUrl, given: dict[str, Any]) -> dict[str, Any]:
    """A connection's options. The given ones override those of the URL, as with other URLs."""
    return {**url.options, **given, "db": url.db, "username": url.username, "password": url.password}


def pool(sentinels: Sentinels, **options: Any) -> Any:
    """redis-py's pool of connections to the primary, for threads."""
    kind = _PrimarySSLConnection if sentinels.url.tls else _PrimaryConnection
    given = _options(sentinels.url, options)
    return sync.SentinelConnectionPool(sentinels.url.master_name, sentinels, connection_class=kind, **given)  # type: ignore[no-untyped-call]


def async_pool(sentinels: AsyncSentinels, **options: Any) -> Any:
    """redis-py's pool of connections to the primary, for asyncio."""
    kind = _AsyncPrimarySSLConnection if sentinels.url.tls else _AsyncPrimaryConnection
    given = _options(sentinels.url, options)
    return aio_sentinel.SentinelConnectionPool(sentinels.url.master_name, sentinels, connection_class=kind, **given)  # type: ignore[no-untyped-call]
