"""The two sorted sets over all runs: the list and the heartbeats. Other clients may have entered anything there."""

from __future__ import annotations

from typing import Any, Final

from .keys import Keys
from .reads import run_ids

__all__ = ["LATEST_MS", "escaped", "hashes", "listed", "prune", "silent_since"]

LATEST_MS: Final = 8_640_000_000_000_000
"""The last time that a browser's `Date` can show (ECMA-262, 21.4.1.1). A time is within 0 and this."""
_LEAP_MS: Final = 24 * 3600 * 1000
"""A heartbeat further in the future than this was never one. (A clock that is set back makes some hours of future.)"""


async def listed(redis: Any, keys: Keys, before: tuple[int, str] | None, count: int) -> list[tuple[str, int]]:
    """See AsyncRunLog.listed. An entry that is no run id is removed: no commit has entered it."""
    most = LATEST_MS if before is None else min(before[0], LATEST_MS)
    rows: list[tuple[str, int]] = []
    strange: list[bytes] = []
    offset = 0
    while len(rows) < count:
        page = await redis.zrevrangebyscore(keys.runs, most, 0, start=offset, num=count, withscores=True)
        offset += len(page)
        for member, score in page:
            if not (found := run_ids([member])):
                strange.append(member)
            elif before is None or (int(score), member) < (before[0], before[1].encode()):
                rows.append((found[0], int(score)))
        if len(page) < count:
            break
    if strange:
        await redis.zrem(keys.runs, *strange)
    return rows[:count]


async def prune(redis: Any, keys: Keys, now_ms: int, count: int) -> list[str]:
    """See AsyncRunLog.prune."""
    late = f"({LATEST_MS}"
    found = [
        *await redis.zrangebyscore(keys.runs, "-inf", "(0", start=0, num=count),
        *await redis.zrangebyscore(keys.runs, late, "+inf", start=0, num=count),
    ]
    if found:
        await redis.zremrangebyscore(keys.runs, "-inf", "(0")
        await redis.zremrangebyscore(keys.runs, late, "+inf")
    early = await redis.zrangebyscore(keys.alive, now_ms + _LEAP_MS, "+inf", start=0, num=count)
    if early:
        await redis.zadd(keys.alive, dict.fromkeys(early, now_ms))
    return run_ids(found)


async def silent_since(redis: Any, keys: Keys, before_ms: int, count: int) -> list[str]:
    """See AsyncRunLog.silent_since."""
    rows = await redis.zrangebyscore(keys.alive, "-inf", before_ms, start=0, num=count)
    found = run_ids(rows)
    if len(found) < len(rows):  # entries that are no run ids would be the first for ever
        known = {run_id.encode() for run_id in found}
        await redis.zrem(keys.alive, *(row for row in rows if row not in known))
    return found


def hashes(rows: list[Any], fields: int) -> list[list[Any]]:
    """Replies of HMGET. A key of another type, which another client has set, is not a run."""
    for i, row in enumerate(rows):
        if isinstance(row, BaseException):
            if not str(row.__cause__).startswith("WRONGTYPE"):
                raise row
            rows[i] = [None] * fields
    return rows


def escaped(text: str) -> str:
    """A pattern of SCAN that matches only this text."""
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in text)
