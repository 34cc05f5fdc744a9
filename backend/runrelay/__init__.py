"""Live progress of background jobs: one line in the worker, one hook in the page.

Each name is imported when it is first used, so that a program loads only what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .publisher import RunLogHandler, configure, current_run, flush, publish_progress, run_progress, track
    from .settings import PublisherSettings

__all__ = [
    "PublisherSettings",
    "RunLogHandler",
    "configure",
    "current_run",
    "flush",
    "publish_progress",
    "run_progress",
    "track",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(".settings" if name == "PublisherSettings" else ".publisher", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
