"""The relay of one router: it runs within the application's lifespan, and the router's own routes find it here.

Two routers in one application have a relay each: another Redis, another prefix, other limits. So a relay is not looked
up in the application's state, where the second would replace the first. Each router's routes know their `RouterRelay`,
which puts the relay into the scope of each request; handlers get it with `relay_of`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from starlette.requests import HTTPConnection
from starlette.types import Scope

from ..errors import RunrelayError
from ..relay.relay import Relay

__all__ = ["NotRunning", "RouterRelay", "relay_of"]

log = logging.getLogger(__name__)

_KEY: Final = "runrelay"
_WHY: Final = (
    "the relay is not running: this application's lifespan has not started it. In a test: `with TestClient(app) as "
    "client:`. If it is mounted: include the router instead, or let the outer application's lifespan enter this one's, "
    "see docs/troubleshooting.md"
)


class NotRunning(RunrelayError):
    """No lifespan has started the relay in this event loop."""


class RouterRelay:
    """The relay of a router. A router may be used by several applications, each in an event loop of its own."""

    def __init__(self) -> None:
        self._relays: dict[asyncio.AbstractEventLoop, Relay] = {}
        self._has_warned = False

    @property
    def in_this_loop(self) -> Relay | None:
        """The relay that runs in the current event loop."""
        return self._relays.get(asyncio.get_running_loop())

    @contextmanager
    def running(self, relay: Relay) -> Iterator[None]:
        """Within the block, `relay` is this router's relay in the current event loop."""
        loop = asyncio.get_running_loop()
        self._relays[loop] = relay
        try:
            yield
        finally:
            del self._relays[loop]

    def attach(self, scope: Scope) -> None:
        """Give a request or a WebSocket its relay.

        Raises:
            NotRunning: no lifespan has started the relay.
        """
        relay = self.in_this_loop
        if relay is None:
            raise NotRunning(self.not_running())
        scope[_KEY] = relay

    def not_running(self) -> str:
        """Why there is no relay, and what to do; logged once."""
        if not self._has_warned:
            self._has_warned = True
            log.error(_WHY)
        return _WHY


def relay_of(connection: HTTPConnection | Scope) -> Relay:
    """The relay of the router that a request or a WebSocket (or its scope) belongs to."""
    scope: Any = connection.scope if isinstance(connection, HTTPConnection) else connection
    return cast("Relay", scope[_KEY])
