"""The run log: a run's snapshot, events and log lines in Redis, committed and read atomically.

The clients, and what needs redis-py, are imported when they are first used: redis-py takes most of the time that
`from runrelay import publish_progress` takes, and brings asyncio and its asyncio client, whoever imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .commits import MIN_LOG_BYTES, Batch, Committed, ProducerSequence, Retention
from .given_up import GivenUp
from .keys import Keys
from .listing import LATEST_MS
from .mac import Signer
from .reads import LogPage, RunView

if TYPE_CHECKING:
    from .aio import AsyncRunLog
    from .pipelined import Pipelined, take_over
    from .sync import RunLog
    from .troubles import DeniedCommand, denied_in_words, trouble_of

__all__ = [
    "LATEST_MS",
    "MIN_LOG_BYTES",
    "AsyncRunLog",
    "Batch",
    "Committed",
    "DeniedCommand",
    "GivenUp",
    "Keys",
    "LogPage",
    "Pipelined",
    "ProducerSequence",
    "Retention",
    "RunLog",
    "RunView",
    "Signer",
    "denied_in_words",
    "take_over",
    "trouble_of",
]

_LATER: Final = {
    "AsyncRunLog": "aio",
    "DeniedCommand": "troubles",
    "Pipelined": "pipelined",
    "RunLog": "sync",
    "denied_in_words": "troubles",
    "take_over": "pipelined",
    "trouble_of": "troubles",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_LATER[name]}", __name__), name)
    globals()[name] = value
    return value
