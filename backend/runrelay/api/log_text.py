"""A run's log as a text file."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import quote

from ..progress.snapshots import LogLine

__all__ = ["disposition", "text_of"]


def text_of(line: LogLine, details: bool) -> str:
    """The line's message; with `details` after its time (UTC), level and step: `2025-11-05T… WARNING [plan] message`.

    A message may be several lines, of which the first has the details, as in Python's logging.
    """
    if not details:
        return line.message
    step = "" if line.step is None else f"[{line.step}] "
    return f"{_time_of(line.ts_ms)} {line.level.upper():<7} {step}{line.message}"


def _time_of(ts_ms: int) -> str:
    try:
        moment = datetime.fromtimestamp(ts_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):  # a producer's clock may say anything
        return f"{ts_ms} ms"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def disposition(run_id: str) -> str:
    """A `Content-Disposition` that names the file after the run (RFC 6266), other characters encoded as in RFC 5987.

    A client that does not know `filename*` gets the name with `_` in place of each other character.
    """
    name = f"{run_id}.log"
    plain = re.sub(r"[^A-Za-z0-9 ._-]", "_", name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'attachment; filename="{plain}"{extended}'
