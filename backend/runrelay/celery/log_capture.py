"""`install(app, capture_logs=True)`: what a task logs becomes lines of its run's log.

A handler that a program adds to the root logger does not last in a worker: Celery takes away the root's handlers when
it sets up logging, and gives the loggers of tasks (`get_task_logger`) a parent that does not pass records on. So the
handler is put where it is missing whenever a task begins.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from celery import Celery, signals

from ..publisher.log_handler import RunLogHandler

__all__ = ["LogCapture"]

_OF_TASKS: Final = ("celery.task", "celery.redirected")
_OF_CELERY: Final = ("celery", "kombu", "amqp", "billiard")


class LogCapture:
    """Keeps a `RunLogHandler` on the loggers that get what tasks of an application log.

    What Celery itself logs is left out. Where the program has put a `RunLogHandler` already, none is added.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._handler = RunLogHandler()
        self._handler.addFilter(_is_no_record_of_celery)
        signals.task_prerun.connect(self._attach, weak=False)

    def _attach(self, task: Any = None, **_: Any) -> None:
        if task.app is not self._app:
            return
        loggers = [logging.getLogger(), *(logging.getLogger(name) for name in _OF_TASKS)]
        for logger in loggers:
            passes_on = logger.parent is not None and logger.propagate
            if not passes_on and not any(isinstance(handler, RunLogHandler) for handler in logger.handlers):
                logger.addHandler(self._handler)


def _is_no_record_of_celery(record: logging.LogRecord) -> bool:
    name = record.name
    return name.partition(".")[0] not in _OF_CELERY or name.startswith(_OF_TASKS)
