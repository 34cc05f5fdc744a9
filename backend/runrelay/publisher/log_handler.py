"""A logging handler that publishes its records as lines of a run's log."""

from __future__ import annotations

import logging
from typing import Final

from ..outbox.scopes import current_run_id
from ..progress import check_run_id
from .publish import publish_progress

__all__ = ["RunLogHandler"]

_OWN: Final = ("runrelay", "redis")


class RunLogHandler(logging.Handler):
    """Publishes each record as a line of a run's log.

    Records of runrelay's own loggers and of the Redis client are left out: publishing them would cause new ones.

    Args:
        run_id: the run; by default that of the task or block that the code is in (`current_run`), if there is one.
            Threads of your own are in none, unless they are given the context.
        level: as for `logging.Handler`.

    Raises:
        TypeError, ValueError: `run_id` is wrong.
    """

    def __init__(self, run_id: str | None = None, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self.run_id = None if run_id is None else check_run_id(run_id)
        self.addFilter(_is_foreign)

    def emit(self, record: logging.LogRecord) -> None:
        """Publish one record. Errors are reported by logging (`handleError`), and never fail the task."""
        try:
            run_id = current_run_id() if self.run_id is None else self.run_id
            if run_id is not None:
                publish_progress(run_id, log=self.format(record), level=_level(record.levelno))
        except Exception:
            self.handleError(record)


def _is_foreign(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] not in _OWN


def _level(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
