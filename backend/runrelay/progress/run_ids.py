"""Run ids: which names a run may have."""

from __future__ import annotations

from typing import Final

from .text import control_char

__all__ = ["MAX_RUN_ID_CHARS", "check_run_id"]

MAX_RUN_ID_CHARS: Final = 200


def check_run_id(run_id: object) -> str:
    """Return `run_id`, as a plain `str`, if it can name a run: 1 to 200 code points, compared bytewise as UTF-8.

    A subclass of `str` is converted: a member of an enum, for example, is formatted as its name and would give other
    keys. No control characters (they would break a log line), no `/`, `{`, `}` (a path segment, a hash tag), not `.` or
    `..`, and no lone surrogate (it has no UTF-8).

    Raises:
        TypeError: it is not a string.
        ValueError: it is one of the above; the message says which.
    """
    if not isinstance(run_id, str):
        raise TypeError(f"run_id must be a str, got {type(run_id).__name__}")
    if not 1 <= len(run_id) <= MAX_RUN_ID_CHARS:
        raise ValueError(f"run_id must have 1 to {MAX_RUN_ID_CHARS} characters, got {len(run_id)}")
    if run_id in (".", ".."):
        raise ValueError(f"run_id must not be {run_id!r}: it is a path segment of its own")
    char = next((c for c in "/{}" if c in run_id), None) or control_char(run_id)
    if char is not None:
        raise ValueError(f"run_id must not contain {char!r}, got {run_id!r}")
    return str.__str__(run_id)
