"""What the environment says to the pipelines: where messages go and where files lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

__all__ = ["WorkerSettings"]

_DEFAULT_REDIS_URL: Final = "redis://127.0.0.1:6379/0"


@dataclass(frozen=True)
class WorkerSettings:
    """The settings of the Celery application."""

    broker_url: str = _DEFAULT_REDIS_URL
    result_url: str = _DEFAULT_REDIS_URL
    """Where the members of a chord are counted; always the Redis of the runs."""
    files: Path = Path(".runrelay/files")
    """Folder of the runs' files, shared with the relays."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read `CELERY_BROKER_URL` (else `REDIS_URL`), `REDIS_URL` and `RUNRELAY_FILES`; empty counts as absent."""
        redis_url = environ.get("REDIS_URL") or cls.result_url
        return cls(
            broker_url=environ.get("CELERY_BROKER_URL") or redis_url,
            result_url=redis_url,
            files=Path(environ.get("RUNRELAY_FILES") or cls.files),
        )
