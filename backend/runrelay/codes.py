"""WebSocket close codes and message types: the one list, mirrored in frontend/src/core/codes.ts."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = ["MESSAGE_TYPES", "CloseCode"]


class CloseCode(IntEnum):
    """Why the relay closed a WebSocket. 4xxx are ours, the others RFC 6455's."""

    NORMAL = 1000
    """The run has ended. The client stops."""
    GOING_AWAY = 1001
    """The relay is shutting down. The client reconnects, spread out by `retry_in_ms`."""
    FRAME_TOO_BIG = 1009
    """A client frame was over the limit. The client stops."""
    INTERNAL_ERROR = 1011
    """An unexpected error of this run or this client, in this relay. The client reconnects, backing off, some times."""
    SERVICE_RESTART = 1012
    """As 1001: the relay restarts."""
    BAD_REQUEST = 4400
    """A malformed run id, cursor or frame. The client stops."""
    UNAUTHORIZED = 4401
    """No token, or an expired one. The client renews it and reconnects."""
    FORBIDDEN = 4403
    """The token does not cover this run. The client stops."""
    TOO_SLOW = 4408
    """More waits for this client than its byte bound. It reconnects with its cursor."""
    NOT_A_RUN = 4409
    """What is stored under the run's name is no run: somebody else's key, or a damaged one. The client stops."""
    TOO_MANY = 4429
    """Too many connections (total, per address or per run). The client reconnects later."""


MESSAGE_TYPES: Final = (
    # from the relay
    "initial_state",
    "progress",
    "resumed",
    "upstream",
    "end",
    "stale",
    "error",
    "pong",
    "subscribed",
    "run",
    "run_deleted",
    # from the client
    "ping",
    "subscribe",
    "unsubscribe",
)
"""Every `type` that a WebSocket message can carry."""
