"""What happens to the honest ones: kills of relays and of Redis, frozen servers, cut connections, silent links."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections import Counter
from pathlib import Path

import redis

from tests.soak.crowd import Crowd
from tests.support.relay import RelayProcess
from tests.support.servers import Server
from tests.support.tcp_proxy import TcpProxy

__all__ = ["Storms", "Supervised"]

log = logging.getLogger("soak")


class Supervised:
    """A relay that is started again whenever it ends, as a supervisor does. `mortal`: we may kill it."""

    def __init__(self, name: str, relay: RelayProcess, mortal: bool) -> None:
        self.name = name
        self.relay = relay
        self.mortal = mortal
        self.kills = 0
        self.deaths: list[str] = []
        """Ends that nobody asked for: what the relay logged last."""
        self._expected = False

    async def run(self) -> None:
        """Keep it running until cancelled."""
        self.relay.launch()
        while True:
            await asyncio.sleep(0.1)  # a supervisor looks every so often
            if self.relay.is_running:
                continue
            code = self.relay.wait()
            if not self._expected:
                self.deaths.append(f"{self.name} ended with {code}:\n{self.relay.log[-4000:]}")
                log.error("relay %s has died by itself: %d", self.name, code)
            self._expected = False
            self.relay.launch()

    def kill(self, number: signal.Signals) -> None:
        """End it by a signal; it is started again."""
        if self.relay.is_running and not self._expected:
            self.kills += 1
            self._expected = True
            self.relay.signal(number)


class Storms:
    """All that happens, each kind at its own pace."""

    def __init__(self, crowd: Crowd, relays: list[Supervised], server: Server, links: list[TcpProxy]) -> None:
        self.crowd = crowd
        self.relays = relays
        self.server = server
        self.links = links
        self.happened: Counter[str] = Counter()

    async def rage(self) -> None:
        """Go on until cancelled; then Redis is left running."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for happens, from_s, to_s in (
                    (self._relay_killed, 10, 25),
                    (self._redis_away, 20, 40),
                    (self._connections_killed, 7, 15),
                    (self._clients_cut, 8, 15),
                    (self._links_break, 3, 8),
                ):
                    tasks.create_task(self._now_and_then(happens, from_s, to_s), name=happens.__name__)
        finally:
            if not self.server.is_running:
                self.server.start()
            self.server.resume()

    async def _now_and_then(self, happens, from_s: float, to_s: float) -> None:  # type: ignore[no-untyped-def]
        while True:
            await asyncio.sleep(random.uniform(from_s, to_s))  # the weather
            await happens()

    def _note(self, what: str) -> None:
        self.happened[what] += 1
        log.info("%s", what)

    async def _relay_killed(self) -> None:
        one = random.choice([relay for relay in self.relays if relay.mortal])
        number = random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        self._note(f"relay {number.name}")
        one.kill(number)

    async def _redis_away(self) -> None:
        if random.random() < 0.6:
            self._note("Redis SIGKILL")
            self.server.kill()
            await asyncio.sleep(random.uniform(0, 3))  # the outage's length
            self.server.start()
        else:
            self._note("Redis SIGSTOP")
            self.server.pause()
            try:
                await asyncio.sleep(random.uniform(1, 8))  # the outage's length
            finally:
                self.server.resume()

    async def _connections_killed(self) -> None:
        kind = random.choice(["pubsub", "normal"])
        self._note(f"CLIENT KILL {kind}")

        def kill() -> None:
            try:
                with self.server.client() as admin:
                    admin.execute_command("CLIENT", "KILL", "TYPE", kind)  # type: ignore[no-untyped-call]
            except redis.RedisError as error:
                log.info("no CLIENT KILL: %s", error)

        await asyncio.to_thread(kill)

    async def _clients_cut(self) -> None:
        viewers = self.crowd.viewers
        self._note("200 clients cut off")
        for viewer in random.sample(viewers, min(200, len(viewers))):
            viewer.drop()

    async def _links_break(self) -> None:
        link = random.choice(self.links)
        if random.random() < 0.5:
            self._note("a link cut")
            link.cut()
        else:
            self._note("a link silent for good")
            link.silence(for_good=True)


def free_of(folder: Path) -> list[str]:
    """What is left of the test's processes: their command lines, by the folder in which they were started."""
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == folder and process.name != str(Path("/proc/self").resolve().name):
                left.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return left
