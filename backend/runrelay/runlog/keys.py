"""Redis' keys: the only module that knows their names, and the channel of each run."""

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
            # a brace would move the hash tag, and a run's three keys would not be in one slot
            raise ValueError(f"a prefix of keys has at least a character, no braces and no spaces, got {self.prefix!r}")

    def run(self, run_id: str) -> tuple[str, str, str]:
        """A run's own keys: hash, stream, log lines. The braces are a hash tag: all are in one slot, for scripts."""
        base = f"{self.prefix}:run:{{{run_id}}}"
        return base, f"{base}:events", f"{base}:logs"

    def run_id_of(self, hash_key: str) -> str | None:
        """The run id of a run's hash key, or None for another key."""
        head, tail = f"{self.prefix}:run:{{", "}"
        if hash_key.startswith(head) and hash_key.endswith(tail):
            return hash_key[len(head) : -len(tail)]
        return None

    def channel_of(self, run_id: str) -> str:
        """The channel of this run's events. One for all runs today; sharded channels would be chosen here."""
        del run_id
        return self.channel

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that a relay's listener subscribes to; the relays' own control channel is the last."""
        return self.channel, self.control

    @property
    def control(self) -> str:
        """The channel between relays: probes, markers, deletions."""
        return f"{self.prefix}:relays"

    @property
    def runs(self) -> str:
        """Sorted set: run ids by updated_at."""
        return f"{self.prefix}:runs"

    @property
    def alive(self) -> str:
        """Sorted set: run ids by their workers' last heartbeat. The reaper reads the oldest."""
        return f"{self.prefix}:alive"

    @property
    def given_up(self) -> str:
        """Hash: how many events publishers have given up, and why the last ones."""
        return f"{self.prefix}:run:given-up"

    def lease(self, name: str) -> str:
        """Key of a lease, which at most one relay holds."""
        return f"{self.prefix}:lease:{name}"
