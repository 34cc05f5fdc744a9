"""Which runs a process that `multiprocessing` has spawned works for: those of its parent.

A forked child has its parent's memory, and so its scopes. A spawned one (also by a fork server) has nothing of it but
what is pickled with the process object. Each process object takes a copy of its parent's `_config`, where an object
lies that is pickled as the ids of the runs which are active at that moment.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any, Final

__all__ = ["announce_to_children", "current_process_name", "runs_of_parent", "share_runs"]

_NAME: Final = "runrelay"
_active: Collection[str] = ()


def share_runs(active: Collection[str]) -> None:
    """Children shall know of these runs. The collection is read when a child is started."""
    global _active
    _active = active


class _Runs:
    """In a parent: pickled as the runs that are active. In a child: those runs."""

    def __init__(self, run_ids: frozenset[str] = frozenset()) -> None:
        self.run_ids = run_ids

    def __reduce__(self) -> tuple[Any, ...]:
        return _Runs, (self.run_ids.union(_active),)


def announce_to_children() -> None:
    """Let processes that this one starts by `multiprocessing` know of its runs.

    Called whenever a run begins: the module is not imported for it, as most programs that publish start no processes.
    """
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process()._config.setdefault(_NAME, _Runs())


def runs_of_parent() -> frozenset[str]:
    """The runs that were active in the process that has spawned this one; empty in any other process."""
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return frozenset()
    found = process.current_process()._config.get(_NAME)
    return found.run_ids if isinstance(found, _Runs) else frozenset()


def current_process_name() -> str:
    """The name that `multiprocessing` has given to this process."""
    from multiprocessing import current_process

    return current_process().name
