"""The names of the variables `RUNRELAY_…`: a misspelt one would silently change nothing.

All names are here, the relay's, the workers' and the commands': a worker and a relay often share one environment, and a
worker does not have what the relay's settings are made with. tests/unit/test_environment.py compares the names with the
settings and with the sources.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Final

__all__ = ["KNOWN", "unknown_names", "warn_unknown_names"]

_PREFIX: Final = "RUNRELAY_"
_RELAY: Final = """
    ALLOWED_ORIGINS CELERY_APP CHANNEL CHECK_S CLIENT_BUFFER_BYTES CLIENT_BURST_S DASHBOARD DRAIN_S ENDED_RUN_TTL_S
    END_AFTER_S
    FILES HEARTBEAT_S HEADERS_WITHIN_S BODY_WITHIN_S HOST JWT_AUDIENCE JWT_SECRET KEEP_ALIVE_S LIST_DATA LOG_BYTES
    LOG_LINES
    LOG_LINES_PER_S MAX_BODY_BYTES MAX_CLIENT_BYTES_PER_S MAX_CONNECTIONS MAX_CONNECTIONS_PER_ADDRESS
    MAX_CONNECTIONS_PER_RUN MAX_FRAMES_PER_S MAX_FRAME_BYTES MAX_HALF_OPEN MAX_HALF_OPEN_PER_ADDRESS MAX_HEADERS
    MAX_HEADER_BYTES MAX_JOINING MAX_SUBSCRIPTIONS MAX_SUBSCRIPTIONS_TOTAL MAX_URL_BYTES PIPELINE_THREADS
    PIPELINE_TIMEOUT_S PIPELINE_WAITING PREFIX ROOT_PATH RUN_TTL_S STALLED_AFTER_S TRUSTED_PROXIES
"""
_WORKER: Final = "FLUSH_MS OUTBOX_BYTES QUICK_PATH SPOOL WORKER_HEARTBEAT_S"
_OTHERS: Final = """
    URL WITHOUT_DASHBOARD SHORTS_FORMAT SHORTS_IMAGE_MODEL SHORTS_MODEL SHORTS_SPEECH_MODEL
    SHORTS_SPEECH_VOICE
"""
"""Of the commands, the front end's development server, the build, and the pipelines."""
_USUAL: Final = ("CELERY_BROKER_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "PORT", "REDIS_URL")
"""Settings that have the names which other programs use, too: without the prefix."""
KNOWN: Final = frozenset(f"{_PREFIX}{name}" for name in f"{_RELAY} {_WORKER} {_OTHERS}".split())
"""All names with the prefix."""

_log = logging.getLogger("runrelay")


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable `RUNRELAY_…` that nothing reads, with the nearest name that is read."""
    return [
        _sentence(name) for name in sorted(environ) if name.upper().startswith(_PREFIX) and name.upper() not in KNOWN
    ]


def warn_unknown_names(environ: Mapping[str, str]) -> None:
    """Log these sentences as warnings, each once in this process."""
    for sentence in unknown_names(environ):
        _warn(sentence)


@cache
def _warn(sentence: str) -> None:
    _log.warning("%s", sentence)


def _sentence(name: str) -> str:
    from difflib import get_close_matches  # not at each start of a worker

    right = {known.removeprefix(_PREFIX): known for known in KNOWN} | {usual: usual for usual in _USUAL}
    nearest = get_close_matches(name.upper().removeprefix(_PREFIX), right, n=1, cutoff=0.7)
    meant = f"did you mean {right[nearest[0]]}?" if nearest else "README.md lists the settings"
    return f"the environment variable {name} is no setting and is ignored: {meant}"
