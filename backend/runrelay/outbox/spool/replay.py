"""Rows of a spool's file as batches, and what became of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import CannotBeSent, RunlogError, RunlogUnavailable
from ...progress import Event
from ...runlog import Batch, Committed
from ..outbox import BATCH_EVENTS, Outbox
from ..scopes import STARTS, TaskScope
from .file import Row

if TYPE_CHECKING:
    from ...runlog import RunLog

__all__ = ["append_follow", "batches_of", "commit_rows", "count", "scope_of_row"]

_log = logging.getLogger("runrelay.publisher")


def batches_of(rows: Sequence[Row], *, adopted: bool) -> list[list[Row]]:
    """For each run its oldest rows that can be one batch.

    Their numbers have no gap, and nothing is after a row on which the next ones depend.

    Args:
        rows: in the order in which they were written.
        adopted: whether a dead process has written them. By now another task may have started what that one had: so
            its starts count only if they are not superseded.
    """
    batches: dict[str, list[Row]] = {}
    complete: set[str] = set()
    for row in rows:
        if row.run_id in complete:
            continue
        batch = batches.setdefault(row.run_id, [])
        starts = row.event.kind in STARTS
        follows = not batch or (batch[-1].producer == row.producer and batch[-1].number + 1 == row.number)
        if not follows:
            complete.add(row.run_id)
            continue
        batch.append(row._replace(event=row.event._replace(only_if_not_superseded=True)) if adopted and starts else row)
        if starts or row.follow is not None or len(batch) >= BATCH_EVENTS:
            complete.add(row.run_id)
    return list(batches.values())


def commit_rows(
    batches: Sequence[list[Row]], scopes: Mapping[int, TaskScope], runlog: RunLog
) -> list[tuple[list[Row], Committed | RunlogError]]:
    """Commit batches of rows in one round trip. Returns each with its result.

    If one of them cannot even be sent, each is sent by itself, so that the others need not wait for it.
    """
    commits = [
        Batch(rows[0].run_id, rows[0].producer, rows[0].number, [_fenced(row, scopes) for row in rows])
        for rows in batches
    ]
    try:
        return list(zip(batches, runlog.commit_many(commits), strict=True))
    except CannotBeSent as error:
        if len(batches) == 1:
            return [(batches[0], error)]
        return [pair for rows in batches for pair in commit_rows([rows], scopes, runlog)]
    except Exception as error:  # a mistake, here or in a library: it is not known what became of the rows
        runlog.close()
        return [(rows, RunlogUnavailable(f"a commit has failed: {error!r}")) for rows in batches]


def count(outbox: Outbox, rows: Sequence[Row], result: Committed | RunlogError) -> None:
    """Count what became of a batch of rows."""
    if isinstance(result, Committed):
        outbox.counts.committed += len(rows)
        outbox.counts.fenced += result.fenced
    else:
        outbox.counts.reject(len(rows), rows[0].run_id, str(result))
        _log.error("run %r: %d events are given up: %s", rows[0].run_id, len(rows), result)


def append_follow(outbox: Outbox, last: Row, result: Committed | RunlogError) -> None:
    """Append the event that follows the last row of a batch, if there is one and the row was committed unfenced."""
    if last.follow is not None and isinstance(result, Committed) and not result.fenced:
        outbox.append(last.run_id, last.follow)


def scope_of_row(row: Row, scopes: Mapping[int, TaskScope]) -> TaskScope | None:
    """The scope that fences the row's event, if the event does not have its attempts yet."""
    return None if row.scope is None else scopes.get(row.scope)


def _fenced(row: Row, scopes: Mapping[int, TaskScope]) -> Event:
    scope = scope_of_row(row, scopes)
    return row.event if scope is None else scope.fence(row.event)
