"""Stops the other members of a canvas when one has failed, if its sender has asked for that (`stop_on_failure`)."""

from __future__ import annotations

import logging

from celery import Celery

from ..errors import RunlogError
from ..outbox.publisher import Publisher
from ..progress.states import is_ended
from ..publisher.publish import current_sink
from .canvas import task_id
from .header import TaskInfo

__all__ = ["has_ended", "stop_others"]

_log = logging.getLogger("runrelay.celery")


def has_ended(info: TaskInfo) -> bool:
    """Whether the run has ended already, as far as can be known: then its members are being stopped."""
    status, _ = _look(info)
    return status is None or is_ended(status)


def stop_others(app: Celery, info: TaskInfo, flush_s: float) -> None:
    """Revoke the other members, and kill those that run, if the run has failed with this one.

    The run log says whether it has: the failure of an execution that was replaced is fenced, and stops nobody. Members
    with an id of their own, and those whose steps are not kept, are not found.
    """
    current_sink().flush(flush_s, while_down=False)
    status, names = _look(info)
    if status in ("failed", "cancelled"):
        ids = [task_id(info.run_id, info.attempt or 1, name) for name in names if name != info.step]
        app.control.revoke(ids, terminate=True, signal="SIGTERM")


def _look(info: TaskInfo) -> tuple[str | None, list[str]]:
    sink = current_sink()
    try:
        return sink.steps_of(info.run_id) if isinstance(sink, Publisher) else (None, [])
    except RunlogError as error:
        _log.warning("run %r: the other members are not stopped: %s", info.run_id, error)
        return None, []
