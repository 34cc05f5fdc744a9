"""A method of every task of an application is replaced, whenever the task is made, and whatever its class."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from celery import Celery, signals

__all__ = ["on_every_task"]

_WRAPPED: Final = "_runrelay_wrapped"


def on_every_task(app: Celery, name: str, wrapping: Callable[[Any], Any]) -> None:
    """Replace the method `name` of each task class of the application, now and when further tasks are known.

    Each class by itself: a user's class does not inherit from the application's. `worker_init` comes when all modules
    are imported, and before the worker builds its tracers. A method is replaced once.

    Args:
        wrapping: makes the new method of the old one. It is also called for methods that a class inherits.
    """

    def replace(**_: Any) -> None:
        for task in list(app.tasks.values()):
            task_class = type(task)
            method = getattr(task_class, name)
            if (app, name) not in getattr(method, _WRAPPED, ()):
                replaced = wraps(method)(wrapping(method))
                # Celery's tracer does not call a `before_start` whose module is Celery's own.
                replaced.__module__ = __name__
                setattr(replaced, _WRAPPED, (*getattr(method, _WRAPPED, ()), (app, name)))
                setattr(task_class, name, replaced)

    app.on_after_finalize.connect(replace, weak=False)
    signals.worker_init.connect(replace, weak=False)
    if app.finalized:
        replace()
