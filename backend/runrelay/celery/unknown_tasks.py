"""A message for which a worker has no task: Celery throws it away, and its run would stay queued for ever."""

from __future__ import annotations

from typing import Any

from celery import Celery, signals

from .ends import fail
from .header import info_of

__all__ = ["UnknownTasks"]


class UnknownTasks:
    """Ends the runs of an application's tasks that its workers do not know."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        signals.task_unknown.connect(self._unknown, weak=False)

    def _unknown(self, sender: Any = None, message: Any = None, name: str = "", **_: Any) -> None:
        info = info_of(message.headers or {}) if getattr(sender, "app", None) is self._app else None
        if info is not None:
            fail(
                info,
                None,
                f"the worker {sender.hostname} has no task of the name {name!r}: is its module imported there?",
            )
