"""Redis' keys: the one place that knows their names, and which channel carries which run."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Keys"]


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of keys and channels under one prefix."""

    prefix: str = "autoshorts"
    channel: str = "autoshorts:progress"

    def __post_init__(self) -> None:
        if not self.prefix or any(char in "{}" or char.isspace() for char in self.prefix):
            # a brace would move the hash tag: a run's three keys would not be in one slot
            raise ValueError(f"a prefix of keys has at least a character, no braces and no spaces, got {self.prefix!r}")

    def run(self, run_id: str) -> tuple[str, str, str]:
        """A run's own keys: hash, stream, log. The braces are a hash tag: all three in one slot, for scripts."""
        base = f"{self.prefix}:run:{{{run_id}}}"
        return base, f"{base}:events", f"{base}:logs"

    def run_id_of(self, hash_key: str) -> str | None:
        """The run id of a run's hash key, or None for another key."""
        head, tail = f"{self.prefix}:run:{{", "}"
        if hash_key.startswith(head) and hash_key.endswith(tail):
            return hash_key[len(head) : -len(tail)]
        return None

    def channel_of(self, run_id: str) -> str:
        """The channel of this run's events. One for all today; a sharded one would be decided here."""
        del run_id
        return self.channel

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that a relay's listener follows, the relays' own control channel last."""
        return self.channel, self.control

    @property
    def control(self) -> str:
        """Channel of the relays among themselves: probes, markers, deletions."""
        return f"{self.prefix}:relays"

    @property
    def runs(self) -> str:
        """Sorted set: run ids by updated_at."""
        return f"{self.prefix}:runs"

    @property
    def alive(self) -> str:
        """Sorted set: run ids by their workers' last heartbeat. The reaper looks at its low end."""
        return f"{self.prefix}:alive"

    def lease(self, name: str) -> str:
        """Key of a lease that one relay holds at a time."""
        return f"{self.prefix}:lease:{name}"
