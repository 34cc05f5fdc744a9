"""Sends a task or canvas as a run, also while the progress' Redis is away: the broker may be up all the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

from celery import Signature

from ..errors import RunlogError, RunlogUnavailable
from ..progress import make_event
from ..publisher.publish import commit, current_sink
from ..publisher.run_progress import error_text
from .canvas import marked
from .header import HEADER
from .shapes import last, leaves

__all__ = ["asend", "send"]

_log = logging.getLogger("runrelay.celery")
_FLUSH_S: Final = 5.0
"""Seconds that an eager `send` waits at most for what its tasks have published, before it ends their run."""


def send(
    signature: Signature,
    run_id: str,
    *,
    weights: Mapping[str, float] | None = None,
    title: str | None = None,
    pipeline: str | None = None,
    closing: str | None = None,
    attempt: int | None = None,
    stop_on_failure: bool = False,
    headers: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Send a task or canvas as a run. Returns Celery's result.

    As `canvas(…).apply_async(**options)`, but:

    - While the progress' Redis is away, the work is sent without being queued in the run's log; the run begins with its
      first task's start. It waits for Redis 3 s at most, and not at all within 2 s after that.
    - If it cannot be sent (the broker is away, an argument cannot be encoded), the queued run ends as failed.

    Args:
        weights, title, pipeline, closing, attempt, stop_on_failure: as for `canvas`.
        headers: your own; every member gets them beside the run's.
        options: as for `apply_async`. With `task_id`, or a signature with an id (`freeze`), the task has that id. A
            relay does not know it, so it cannot stop such a task.

    Raises:
        TypeError, ValueError: as `canvas` does.
        Exception: Celery's and the broker's.
    """
    given: dict[str, Any] = {"weights": weights, "title": title, "pipeline": pipeline, "closing": closing}
    given["stop_on_failure"] = stop_on_failure
    queued = attempt is not None or not current_sink().down
    try:
        ready = marked(run_id, signature, **given, attempt=attempt, queued=queued)
    except RunlogUnavailable as error:
        _log.warning("run %r is sent without being queued: %s", run_id, error)
        queued = False
        ready = marked(run_id, signature, **given, attempt=None, queued=False)
    if headers is not None:  # headers given to apply_async would replace the run's
        for member in leaves(ready):
            member.set(headers={**headers, **member.options["headers"]})
    ends = last(ready)
    if ends is not None and options.get("task_id") is not None:
        ends.set(task_id=options.pop("task_id"))  # Celery would prefer the id that the task has
    try:
        return ready.apply_async(**options)
    except Exception as error:
        if queued and attempt is None:
            if ready.app.conf.task_always_eager:
                _fail_eager(run_id, ready, error)
            else:
                _withdraw(run_id, ready, error)
        raise


def _fail_eager(run_id: str, ready: Signature, error: Exception) -> None:
    """The work was executed here (`task_always_eager`), and Celery passes an error on (`task_eager_propagates`).

    It then executes no further member of a group, so no member would end the run.
    """
    current_sink().flush(_FLUSH_S, while_down=False)  # what the tasks have published comes first
    attempt = next(leaves(ready)).options["headers"][HEADER]["attempt"]
    event = make_event("FAILED", error=error_text(error), attempt=attempt)
    with suppress(RunlogError):
        commit(run_id, event._replace(precondition="unfinished"))


def _withdraw(run_id: str, ready: Signature, error: Exception) -> None:
    """End the queued run, unless a part of the work was sent and has begun. Work that arrives late does not begin."""
    attempt = next(leaves(ready)).options["headers"][HEADER]["attempt"]
    event = make_event("FAILED", error=f"the work could not be sent: {error!r}", attempt=attempt)
    with suppress(RunlogError):
        commit(run_id, event._replace(kind="unsent", precondition="unbegun"))


async def asend(signature: Signature, run_id: str, **given: Any) -> Any:
    """`send` for asyncio: in a thread, because Celery's client and the commit block. Takes what `send` takes.

    If it is cancelled, the work may be sent all the same.
    """
    return await asyncio.to_thread(partial(send, signature, run_id, **given))
