"""The settings of the Celery application, from environment variables: broker, result backend, folder of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pipelines.brokers import CeleryUrl, celery_url

__all__ = ["WorkerSettings"]

_DEFAULT_REDIS: Final = CeleryUrl("redis://127.0.0.1:6379/0", {}, None)


@dataclass(frozen=True)
class WorkerSettings:
    """The settings of the Celery application."""

    broker: CeleryUrl = _DEFAULT_REDIS
    results: CeleryUrl = _DEFAULT_REDIS
    """Where the members of a chord are counted; always the Redis of the runs."""
    files: Path = Path(".runrelay/files")
    """Folder of the runs' files, shared with the relays."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read `CELERY_BROKER_URL` (else `REDIS_URL`), `REDIS_URL` and `RUNRELAY_FILES`; empty counts as absent.

        Raises:
            ValueError: a URL of sentinels is malformed; the message names the variable.
        """
        redis_url = environ.get("REDIS_URL") or cls.results.url
        results = celery_url(redis_url, "REDIS_URL")
        broker_url = environ.get("CELERY_BROKER_URL")
        return cls(
            broker=celery_url(broker_url, "CELERY_BROKER_URL") if broker_url else results,
            results=results,
            files=Path(environ.get("RUNRELAY_FILES") or cls.files),
        )
