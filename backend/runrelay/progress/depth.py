"""How deep JSON goes: bounded where it is taken in, so that whatever is made of it can be written again.

A value becomes part of a message, of a frame and of a snapshot, each some levels deeper; orjson writes 254 levels,
Lua's cjson reads 1,000, a browser's parser what its stack holds.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

__all__ = ["MAX_DEPTH", "check_depth", "depth_of", "is_shallow", "shallow"]

MAX_DEPTH: Final = 100
"""Of `data`, `result` and a pipeline's input: `1` has depth 0, `[1]` and `{}` have 1."""


_WRITABLE: Final = 240


def depth_of(value: Any, most: int = MAX_DEPTH) -> int:
    """How many lists and objects lie within each other; `most + 1` for whatever goes deeper than `most`."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, (list, tuple, dict))]:
        depth += 1
        if depth > most:
            break
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth


def check_depth(name: str, raw: bytes) -> None:
    """Refuse JSON that goes too deep.

    Args:
        raw: the JSON. Few brackets cannot go deep, and nearly all that is ever published has few: so it is decoded
            only when it has many.

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
    """The value; or None if it could not be written again within a frame, as an older version, or somebody else, may
    have put it there.
    """
    return value if depth_of(value, _WRITABLE) <= _WRITABLE else None
