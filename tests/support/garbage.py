"""Garbage: anything, in every key and in every field that a relay or a worker reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from runrelay.runlog import Keys
from runrelay.runlog.reads import SUMMARY_FIELDS

__all__ = ["Garbage", "Part", "garbage"]

Part = str
"""What it is put under: `hash`, `stream`, `logs` of the run; `runs`, `alive`; `adoption`, `reaper`, the leases."""
FIELDS = (
    *SUMMARY_FIELDS, "server", "seal_key", "renewed_at", "begun_attempt", "queued_attempt", "fenced", "producers",
    "steps", "s:plan", "result", "input", "p:worker", "nobody's",
)  # fmt: skip
WEIRD = (
    b"", b"x", b"0", b"-1", b"1.5", b"1e308", b"-1e308", b"1e999", b"nan", b"inf", b"-inf", b"0x10", b"9" * 20,
    b"9" * 400, b"18446744073709551616", b"-9223372036854775809", b"\xff\xfe", b"\x00", b"null", b"true", b"7", b'"x"',
    b"{}", b"[]", b"{", b"[" * 1_100 + b"]" * 1_100, b"[" * 254 + b"]" * 254, b"running", b"succeeded", b"unknown",
    b"a" * 12, b"-", b'{"i":1,"name":"plan","status":"running","attempt":1,"weight":1e999}',
    b'{"i":"x","name":7,"status":[],"attempt":{}}', b'{"count":1,"done":0,"weight":1e999,"weighted":1}',
    b'{"count":"x"}', b"1\t2\tinfo\t\tx", b"x\ty\tz\t\tx", b"9" * 30 + b"\t1\tinfo\t\tx", b"1 2 3 4",
    b"9999999999999999 0 0 1", b"x y z",
    b'{"run_id":"victim","state":null,"log":7,"status":[],"seq":3,"epoch":"aaaaaaaaaaaa","ts":1}',
)  # fmt: skip
SCORES = ("inf", "-inf", "-1", "1e300", "-1e300", "1.5", "0", "9007199254740993", "8640000000000001")
IDS = ("*", "1-1", "99999-0", "18446744073709551615-18446744073709551615")


@dataclass(frozen=True)
class Garbage:
    """Commands for Redis; `words` say what was done, for a test that fails."""

    part: Part
    words: str
    commands: Callable[[str], list[tuple[Any, ...]]]
    """By the key."""

    def write(self, client: Any, keys: Keys, run_id: str) -> None:
        """Do it, as far as Redis lets."""
        own = dict(zip(("hash", "stream", "logs"), keys.run(run_id), strict=True))
        shared = {"runs": keys.runs, "alive": keys.alive}
        key = own.get(self.part) or shared.get(self.part) or keys.lease(self.part)
        pipeline = client.pipeline(transaction=True)
        for command in self.commands(key):
            pipeline.execute_command(*command)
        pipeline.execute(raise_on_error=False)

    def __repr__(self) -> str:
        return f"<{self.part}: {self.words}>"


def _replace(part: Part, kind: str, value: bytes, field: str) -> Garbage:
    def commands(key: str) -> list[tuple[Any, ...]]:
        made = {
            "string": ("SET", key, value),
            "list": ("RPUSH", key, value),
            "set": ("SADD", key, value),
            "zset": ("ZADD", key, 1, value),
            "hash": ("HSET", key, field, value),
            "stream": ("XADD", key, "*", field, value),
            "nothing": ("PING",),
        }
        return [("DEL", key), made[kind]]

    return Garbage(part, f"a {kind} of {field} {value[:60]!r}", commands)


def _into(part: Part, words: str, *command: Any) -> Garbage:
    return Garbage(part, words, lambda key: [(command[0], key, *command[1:])])


_values = st.one_of(st.sampled_from(WEIRD), st.binary(max_size=30), st.integers().map(lambda n: b"%d" % n))
_fields = st.sampled_from(FIELDS)
_sets = st.sampled_from(["runs", "alive"])
_kinds = st.sampled_from(["string", "list", "set", "zset", "hash", "stream", "nothing"])
_parts = st.sampled_from(["hash", "stream", "logs", "runs", "alive", "adoption", "reaper"])

garbage: st.SearchStrategy[Garbage] = st.one_of(
    st.builds(lambda f, v: _into("hash", f"{f} = {v[:60]!r}", "HSET", f, v), _fields, _values),
    st.builds(lambda f: _into("hash", f"without {f}", "HDEL", f), _fields),
    st.builds(
        lambda i, f, v: _into("stream", f"entry {i} {f} {v[:60]!r}", "XADD", i, f, v),
        st.sampled_from(IDS), st.sampled_from(["e", "x"]), _values,
    ),
    st.builds(lambda end, v: _into("logs", f"{end} {v[:60]!r}", end, v), st.sampled_from(["RPUSH", "LPUSH"]), _values),
    st.builds(
        lambda p, m, s: _into(p, f"{m[:60]!r} at {s}", "ZADD", s, m),
        _sets, st.one_of(_values, st.sampled_from([b"victim", b"bystander"])), st.sampled_from(SCORES),
    ),
    st.builds(_replace, _parts, _kinds, _values, _fields),
)  # fmt: skip
