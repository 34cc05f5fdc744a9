"""The depth of JSON. It is bounded where a value comes in, so that messages with the value can be written again.

A value becomes part of a message, of a frame and of a snapshot, each some levels deeper. orjson writes 254 levels,
Lua's cjson reads 1,000, and a browser's parser as many as its stack holds.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

__all__ = ["MAX_DEPTH", "check_depth", "depth_of", "is_shallow", "shallow"]

MAX_DEPTH: Final = 100
"""Limit of `data`, `result` and a pipeline's input. `1` has depth 0, `[1]` and `{}` have 1."""


_WRITABLE: Final = 240


def depth_of(value: Any, most: int = MAX_DEPTH) -> int:
    """The number of lists and objects within each other; `most + 1` for all values that are deeper than `most`."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, (list, tuple, dict))]:
        depth += 1
        if depth > most:
            break
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth


def check_depth(name: str, raw: bytes) -> None:
    """Refuse JSON that is too deep.

    Args:
        raw: the JSON. It is decoded only if it has more brackets than MAX_DEPTH; nearly all values have fewer.

    Raises:
        ValueError: it is deeper than MAX_DEPTH, or no JSON.
    """
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return
    depth = depth_of(orjson.loads(raw), 10 * MAX_DEPTH)
    if depth > MAX_DEPTH:
        raise ValueError(f"{name} must be at most {MAX_DEPTH} levels deep, got {depth}")


def is_shallow(raw: bytes) -> bool:
    """Whether JSON is at most MAX_DEPTH deep."""
    try:
        check_depth("it", raw)
    except ValueError:
        return False
    return True


def shallow(value: Any) -> Any:
    """The value; None if it is too deep to be written again in a frame. An older version, or another client of Redis,
    may have stored such a value.
    """
    return value if depth_of(value, _WRITABLE) <= _WRITABLE else None
