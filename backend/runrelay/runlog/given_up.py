"""What publishers have given up, summed up in Redis for the relays' statistics. Pure.

A publisher's own counters are in a worker's process, where nobody looks. The key has the prefix of runs, so that a
publisher needs no right beyond those for its runs (docs/redis-acl.md); without braces it is no run's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from .keys import Keys

__all__ = ["FIELDS", "GivenUp", "parse_given_up", "report_commands"]

EXPIRE_S: Final = 7 * 24 * 3600
FIELDS: Final = ("events", "run_id", "why")


class GivenUp(NamedTuple):
    """Events that no server would ever take: how many, and the last of them."""

    events: int
    run_id: str
    """The run of the last ones."""
    why: str
    """In words."""


def report_commands(keys: Keys, given_up: GivenUp) -> list[tuple[Any, ...]]:
    """The commands that add it to what is there."""
    return [
        ("HINCRBY", keys.given_up, "events", given_up.events),
        ("HSET", keys.given_up, "run_id", given_up.run_id, "why", given_up.why[:1000]),
        ("EXPIRE", keys.given_up, EXPIRE_S),
    ]


def parse_given_up(values: Sequence[Any]) -> GivenUp | None:
    """What the key says, from its `FIELDS`; None if nothing was given up, or the key is somebody else's."""
    try:
        events, run_id, why = (value.decode("utf-8", "replace") for value in values)
        return GivenUp(int(events), run_id, why)
    except (AttributeError, TypeError, ValueError):
        return None
