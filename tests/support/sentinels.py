"""A primary, its replicas and three sentinels for the tests: real processes on this machine."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from runrelay.cli import parent_death
from runrelay.cli.ports import wait_until_ready
from tests.support.servers import HOST, Server, valkey_binary

__all__ = ["MASTER_NAME", "Sentinel", "SentinelSet", "sentinel_set", "wait_for"]

MASTER_NAME = "autoshorts-primary"
DEADLINE_S = 30.0
_START_TIMEOUT_S = 15.0
_REPLICATOR = "replicator"


class Sentinel(Server):
    """valkey-server as a sentinel. It writes its configuration file, so that it has one."""

    def __init__(self, data_dir: Path, primary: Server, down_after_ms: int) -> None:
        super().__init__(valkey_binary(), data_dir)
        self._primary = primary
        self._down_after_ms = down_after_ms

    def _start(self) -> None:
        path = self.data_dir / "sentinel.conf"
        if not path.exists():
            path.write_text(
                f"bind {HOST}\nport {self.port}\ndir {self.data_dir}\n"
                f"sentinel monitor {MASTER_NAME} {HOST} {self._primary.port} 2\n"
                f"sentinel down-after-milliseconds {MASTER_NAME} {self._down_after_ms}\n"
                f"sentinel failover-timeout {MASTER_NAME} 5000\n"
                f"sentinel parallel-syncs {MASTER_NAME} 1\n"
            )
        with (self.data_dir / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                parent_death.command([str(self.binary), str(path), "--sentinel"], signal.SIGKILL),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until_ready(self._process, HOST, self.port, timeout_s=_START_TIMEOUT_S)


class SentinelSet:
    """What a `redis+sentinel://` URL leads to. `servers[0]` is the primary at first."""

    def __init__(self, servers: list[Server], sentinels: list[Sentinel]) -> None:
        self.servers = servers
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        """The URL with all sentinels."""
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{MASTER_NAME}/0"

    def primary(self) -> Server:
        """The server that a majority of the sentinels names."""
        named = [self._named_by(sentinel) for sentinel in self.sentinels if sentinel.is_running]
        for server in self.servers:
            if named.count(server.port) * 2 > len(self.sentinels):
                return server
        raise LookupError(f"the sentinels name {named}")

    def replicas(self) -> list[Server]:
        """The running servers that are not the primary."""
        primary = self.primary()
        return [server for server in self.servers if server is not primary and server.is_running]

    def _named_by(self, sentinel: Sentinel) -> int:
        with asking(sentinel) as client, suppress(redis.RedisError):
            found: Any = cast(Any, client).execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)
            return int(found[1])
        return 0

    def cut_replication(self) -> None:
        """From now on the primary takes writes that no replica hears of; connections of clients are left alone."""
        with self.primary().client() as client:
            do = cast(Any, client).execute_command
            do("ACL", "SETUSER", _REPLICATOR, "off")
            do("CLIENT", "KILL", "TYPE", "REPLICA")

    def wait_for_failover(self, old: Server) -> Server:
        """Wait until most sentinels name another primary, and that it says so itself; returns it."""

        def is_over() -> bool:
            with suppress(LookupError, redis.RedisError):
                new = self.primary()
                if new is old:  # which may be frozen: it is not asked
                    return False
                with asking(new) as client:
                    role: Any = cast(Any, client).execute_command("ROLE")
                return bool(role[0] == "master")
            return False

        wait_for(is_over, "the sentinels have promoted a replica")
        return self.primary()

    def wait_for_agreement(self, new: Server) -> None:
        """Wait until all running sentinels name this primary: a client asks any of them."""
        running = [sentinel for sentinel in self.sentinels if sentinel.is_running]
        wait_for(lambda: all(self._named_by(one) == new.port for one in running), "all sentinels name the new primary")

    def wait_for_sync(self) -> None:
        """Wait until each replica has all that its primary has."""
        primary = self.primary()

        def is_synced() -> bool:
            with asking(primary) as client:
                info: Any = client.info("replication")
            replicas = [value for name, value in info.items() if name.startswith("slave") and isinstance(value, dict)]
            return len(replicas) == len(self.replicas()) and all(
                replica["state"] == "online" and replica["offset"] == info["master_repl_offset"] for replica in replicas
            )

        wait_for(is_synced, "the replicas have what the primary has")

    def wait_until_watched(self) -> None:
        """Wait until each sentinel knows the others and the replicas: before that there is no failover."""

        def is_watched() -> bool:
            for sentinel in self.sentinels:
                with asking(sentinel) as client:
                    flat: Any = cast(Any, client).execute_command("SENTINEL", "MASTER", MASTER_NAME)
                state = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
                if int(state["num-other-sentinels"]) != len(self.sentinels) - 1:
                    return False
                if int(state["num-slaves"]) != len(self.servers) - 1:
                    return False
            return True

        wait_for(is_watched, "the sentinels know each other and the replicas")


@contextmanager
def asking(server: Server) -> Iterator[redis.Redis]:
    """A client that is told soon if the server is frozen."""
    once = Retry(NoBackoff(), 0)
    with redis.Redis(port=server.port, socket_timeout=1.0, retry=once, decode_responses=True) as client:
        yield client


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Ask until it is so; whoever does not answer does not say that it is."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        with suppress(redis.RedisError):
            if condition():
                return
        time.sleep(0.02)
    raise AssertionError(f"not within {DEADLINE_S} s: {what}")


@contextmanager
def sentinel_set(folder: Path, *, replicas: int = 1, down_after_ms: int = 1000, **config: str) -> Iterator[SentinelSet]:
    """Start a primary, `replicas` replicas and three sentinels; `config` holds for all servers, `_` stands for `-`."""
    options = {
        "repl-diskless-sync-delay": "0",
        # replicas have a user of their own, so that they alone can be shut out
        "masteruser": _REPLICATOR,
        "masterauth": _REPLICATOR,
        **{name.replace("_", "-"): value for name, value in config.items()},
    }
    servers: list[Server] = []
    sentinels: list[Sentinel] = []
    try:
        for number in range(1 + replicas):
            data_dir = folder / f"server-{number}"
            data_dir.mkdir()
            following = {} if not servers else {"replicaof": f"{HOST} {servers[0].port}"}
            servers.append(Server(valkey_binary(), data_dir, {**options, **following}))
            servers[-1].start()
            with servers[-1].client() as client:
                cast(Any, client).execute_command("ACL", "SETUSER", _REPLICATOR, "on", f">{_REPLICATOR}", "+@all")
        for number in range(3):
            data_dir = folder / f"sentinel-{number}"
            data_dir.mkdir()
            sentinels.append(Sentinel(data_dir, servers[0], down_after_ms))
            sentinels[-1].start()
        made = SentinelSet(servers, sentinels)
        made.wait_until_watched()
        made.wait_for_sync()
        yield made
    finally:
        for process in (*sentinels, *servers):
            process.kill()
