"""A run's earlier attempts: what is kept of each when the next one begins (attempts.lua), and how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from ..progress import STATUSES
from ..progress.depth import shallow

__all__ = ["attempt_fields", "parse_attempts"]

_KEPT: Final = 10
"""As in attempts.lua."""
_NAMES: Final = ("attempt", "status", "error", "result", "ended_in", "started_at", "finished_at")


def attempt_fields(current: int) -> list[str]:
    """The fields of a run's hash that have the attempts before the current one, oldest first."""
    return [f"a:{number}" for number in range(max(1, current - _KEPT), current)]


def parse_attempts(values: Sequence[bytes | None]) -> list[dict[str, Any]]:
    """Read these fields. Attempts that are not kept, or are damaged, are left out: others can write anything."""
    return [attempt for attempt in map(_attempt, values) if attempt is not None]


def _attempt(raw: bytes | None) -> dict[str, Any] | None:
    if raw is None:
        return None
    try:
        found = shallow(orjson.loads(raw))
        kept = {name: found.get(name) for name in _NAMES}
    except (ValueError, AttributeError):
        return None
    texts = (kept["error"], kept["ended_in"])
    times = (kept["started_at"], kept["finished_at"])
    is_ours = (
        type(kept["attempt"]) is int
        and kept["status"] in STATUSES
        and all(text is None or type(text) is str for text in texts)
        and all(ts is None or type(ts) is int for ts in times)
    )
    return kept if is_ours else None
