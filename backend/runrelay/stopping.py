"""Stopping the work of runs that no pipeline of the relay started: through the Celery application that sent them.

The tasks that `send` and `canvas` send have ids that are derived from the run, so any process that reaches the broker
can revoke them. This is the only module of the relay's side that knows Celery, and it imports Celery only when it is
given an application.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

__all__ = ["StopWork", "stop_work_of"]

log = logging.getLogger(__name__)

StopWork = Callable[[str, int, Sequence[str]], object]
"""`stop(run_id, attempt, steps)` stops the work of an attempt, and of those before it. It may block."""


def stop_work_of(app: Any) -> StopWork | None:
    """How the work of this Celery application is stopped. None without one, or if it cannot be imported, which is
    logged: a relay often shares its environment with workers, and not their code.

    Args:
        app: a Celery application, or where it is, as for `celery -A`: `shop.tasks` or `shop.tasks:app`. Empty: none.
    """
    if app is None or app == "":
        return None
    try:
        return partial(_stop, _found(app) if isinstance(app, str) else app)
    except Exception as error:  # whatever a module raises when it is imported
        log.error(
            "RUNRELAY_CELERY_APP %r cannot be imported, so the work of cancelled runs is not stopped: %s: %s",
            app, type(error).__name__, error,
        )  # fmt: skip
        return None


def _found(name: str) -> Any:
    from celery.app.utils import find_app

    return find_app(name)


def _stop(app: Any, run_id: str, attempt: int, steps: Sequence[str]) -> None:
    from .celery import cancel

    # A run of one task may have steps, too, which its task has made: its id is that of the step without a name.
    cancel(app, run_id, attempt, [*steps, ""])
