"""The settings of the worker side, from the environment. Standard library only: a worker needs nothing more.

The relay's settings are in relay/settings.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .runlog import MIN_LOG_BYTES, Keys, Retention

__all__ = ["DEFAULT_REDIS_URL", "PublisherSettings"]

DEFAULT_REDIS_URL: Final = "redis://localhost:6379/0"
_MIN_OUTBOX_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class PublisherSettings:
    """The settings of the worker side, made once and passed in."""

    redis_url: str = DEFAULT_REDIS_URL
    keys: Keys = field(default_factory=Keys)
    retention: Retention = field(default_factory=Retention)
    flush_ms: float = 0.0
    """Milliseconds between two commits at least. 0: commit at once whenever nothing is in flight."""
    outbox_bytes: int = 64 * 1024 * 1024
    """The bound of the events that wait in memory while Redis is away."""
    spool: Path | None = None
    """Folder where events wait that do not fit in memory. None: the outbox's drop policy decides."""
    heartbeat_s: float = 10.0
    """Seconds between two heartbeats of the runs that this process executes."""
    quick_path: bool = True
    """Whether `publish_progress` may take the quick path (outbox/quick.py). False: each call takes the plain one."""

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> PublisherSettings:
        """Read `REDIS_URL` and `RUNRELAY_…`. An empty value counts as absent.

        Raises:
            ValueError: a number is not one or is out of its range, or the prefix is wrong. The message names the
                variable.
        """
        prefix = environ.get("RUNRELAY_PREFIX") or Keys().prefix
        spool = environ.get("RUNRELAY_SPOOL")
        kept = Retention()
        try:
            keys = Keys(prefix, environ.get("RUNRELAY_CHANNEL") or f"{prefix}:progress")
        except ValueError as error:
            raise ValueError(f"RUNRELAY_PREFIX: {error}") from None
        return PublisherSettings(
            redis_url=environ.get("REDIS_URL") or DEFAULT_REDIS_URL,
            keys=keys,
            retention=Retention(
                run_ttl_s=_whole(environ, "RUNRELAY_RUN_TTL_S", kept.run_ttl_s, 1),
                ended_run_ttl_s=_whole(environ, "RUNRELAY_ENDED_RUN_TTL_S", kept.ended_run_ttl_s, 1),
                log_lines=_whole(environ, "RUNRELAY_LOG_LINES", kept.log_lines, 1),
                log_bytes=_whole(environ, "RUNRELAY_LOG_BYTES", kept.log_bytes, MIN_LOG_BYTES),
            ),
            flush_ms=_number(environ, "RUNRELAY_FLUSH_MS", 0.0, 0.0),
            outbox_bytes=_whole(environ, "RUNRELAY_OUTBOX_BYTES", 64 * 1024 * 1024, _MIN_OUTBOX_BYTES),
            spool=Path(spool) if spool else None,
            heartbeat_s=_number(environ, "RUNRELAY_WORKER_HEARTBEAT_S", 10.0, 0.01),
            quick_path=_whole(environ, "RUNRELAY_QUICK_PATH", 1, 0) != 0,
        )


def _number(environ: Mapping[str, str], name: str, default: float, least: float) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {text!r}") from None
    if not (math.isfinite(value) and value >= least):
        raise ValueError(f"{name} must be {least:g} or more, got {text}")
    return value


def _whole(environ: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f"{name} must be a whole number, got {text!r}") from None
    if value < least:
        raise ValueError(f"{name} must be {least} or more, got {text}")
    return value
