"""Everything that a fault needs to happen to: a Redis, relays, publishers, and clients that check what they are told.

The fixture `open_stage` (stage_fixtures.py):

    async with open_stage(server) as stage:
        await stage.relay()
        publisher = await stage.publisher(["run"])
        stage.watch(["run"])
        await publisher.order("go", 100)
        await stage.flowing()
        …the fault…
        await stage.flowing()
        await stage.finish()      # nothing lost, doubled or out of order, and nothing left behind
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx

from runrelay.runlog import Keys
from tests.support.publisher_process import PublisherProcess
from tests.support.readings import Ledger, code_of, holes_in
from tests.support.relay import RelayProcess
from tests.support.servers import Server
from tests.support.viewers import KINDS, Place, PollingViewer, Viewer

__all__ = ["RUNS", "Fault", "OpenStage", "Stage", "open_sockets", "play", "resident_bytes"]

_ESTABLISHED, _CLOSE_WAIT = "01", "08"
_QUICK = {"end_after_s": 0.2, "check_s": 1.0, "heartbeat_s": 2.0, "drain_s": 1.0, "max_connections_per_address": 10_000}


def open_sockets(port: int) -> int:
    """How many connections to a local port its owner has not closed yet."""
    count = 0
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[3] in (_ESTABLISHED, _CLOSE_WAIT):
            count += 1
    return count


def resident_bytes(pid: int) -> int:
    """What a process holds in memory."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096


class Stage:
    """One test's processes and clients; all of them end with it.

    patience_s: for how long a condition is waited for. A control gives little: its condition never comes.
    lossy: Redis loses data in this test, so clients may be given a picture that takes back what they were shown.
    """

    def __init__(
        self, folder: Path, server: Server, prefix: str, http: httpx.AsyncClient, *, patience_s: float, lossy: bool
    ) -> None:
        self.server = server
        self.keys = Keys(prefix, f"{prefix}:progress")
        self.ledger = Ledger()
        self.http = http
        self.relays: list[RelayProcess] = []
        self.publishers: list[PublisherProcess] = []
        self.viewers: list[Viewer] = []
        self.watching: list[asyncio.Task[None]] = []
        self.places: list[str] = []
        """Where clients go, in turn: the relays, unless a test puts something before them."""
        self.folder = folder
        self._patience_s = patience_s
        self._lossy = lossy
        self._turn = itertools.count()

    # Putting up

    async def relay(self, redis_url: str | None = None, *, broken: str = "", **settings: Any) -> RelayProcess:
        """A relay process that is ready, among the places."""
        relay = RelayProcess(
            self.folder, redis_url or self.server.url, self.keys.prefix, broken=broken, **{**_QUICK, **settings}
        )
        self.relays.append(relay)
        self.places.append(relay.url)
        relay.launch()
        await self.ready(relay)
        return relay

    async def ready(self, relay: RelayProcess, ready: bool = True) -> None:
        """Wait until a relay says that it is ready, or that it is not."""

        async def says() -> bool:
            assert relay.is_running, f"the relay has ended:\n{relay.log}"
            try:
                return ((await self.http.get(f"{relay.url}/readyz")).status_code == 200) is ready
            except httpx.TransportError:
                return False

        await self.until(says, "the relay is ready" if ready else "the relay is not ready", 30.0 if ready else None)

    async def publisher(
        self, run_ids: Iterable[str], generation: int = 0, redis_url: str | None = None, **more: Any
    ) -> PublisherProcess:
        """A publisher process that waits for orders."""
        publisher = PublisherProcess(
            self.folder, redis_url or self.server.url, self.keys.prefix, [*run_ids], generation, **more
        )
        self.publishers.append(publisher)
        await publisher.start()
        return publisher

    def place(self) -> str:
        """The next place for a client to go to."""
        return self.places[next(self._turn) % len(self.places)]

    def watch(
        self,
        run_ids: Iterable[str],
        kinds: Iterable[str] = tuple(KINDS),
        each: int = 1,
        place: Place | None = None,
        **more: Any,
    ) -> list[Viewer]:
        """Let clients of these kinds watch: `each` of every kind and run; those of many runs watch all of them."""
        made: list[Viewer] = []
        run_ids = [*run_ids]
        for kind in kinds:
            for watched in [run_ids] if kind == "many" else [[run_id] for run_id in run_ids]:
                for _ in range(each):
                    http: dict[str, Any] = {"http": self.http} if KINDS[kind] is PollingViewer else {}
                    made.append(
                        KINDS[kind](watched, place or self.place, self.ledger, lossy=self._lossy, **http, **more)
                    )
        self.viewers += made
        self.watching += [asyncio.create_task(viewer.run(), name=f"viewer {viewer.kind}") for viewer in made]
        return made

    # Waiting

    async def until(self, met: Callable[[], Any], what: str, patience_s: float | None = None) -> None:
        """Wait until a condition holds, asking again and again; what a client finds wrong meanwhile is raised."""
        deadline = time.monotonic() + (patience_s or self._patience_s)
        while True:
            found = met()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            self.raise_broken()
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {patience_s or self._patience_s} s: {what}")
            await asyncio.sleep(0.02)

    def raise_broken(self) -> None:
        """Raise what a client has found wrong."""
        for viewer, task in zip(self.viewers, self.watching, strict=True):
            if viewer.broken is not None:
                raise viewer.broken
            if task.done():
                task.result()

    async def begin(self, publisher: PublisherProcess, rate: float) -> None:
        """Let a publisher's lines flow; when this returns, its runs are known."""
        await publisher.order("say", 1)
        assert (await publisher.order("flush", 30))["committed"], "nothing has happened yet"
        await publisher.order("go", rate)

    async def begun(self) -> None:
        """Wait until every client is shown lines as they come, before anything happens."""
        try:
            await self.flowing(patience_s=40.0)
        except AssertionError as error:
            raise RuntimeError(f"before anything has happened: {error}") from error

    async def flowing(
        self, lines: int = 5, viewers: list[Viewer] | None = None, patience_s: float | None = None
    ) -> None:
        """Wait until every client (or each of these) has been shown so many more lines of each of its runs."""
        watched = [(one, reading) for one in viewers or self.viewers for reading in one.readings.values()]
        before = [reading.lines[-1] if reading.lines else -1 for _, reading in watched]

        def behind() -> list[Viewer]:
            return [
                viewer
                for (viewer, reading), was in zip(watched, before, strict=True)
                if not reading.closed and (not reading.lines or reading.lines[-1] < was + lines)
            ]

        try:
            await self.until(lambda: not behind(), f"every client has {lines} lines more", patience_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; behind: {behind()[:4]}") from error

    async def told_down(self, down: bool = True, viewers: list[Viewer] | None = None) -> None:
        """Wait until every client knows that Redis is away, or back; not pollers, who learn it when they ask."""
        viewers = [viewer for viewer in viewers or self.viewers if viewer.kind != "polling"]
        await self.until(lambda: all(v.told_down is down for v in viewers), f"every client is told: down {down}")

    # The end

    async def finish(self, *, extra: bool = False) -> None:
        """End the runs and hold all that was told against the log; then see that nothing is left behind.

        extra: data was lost, so there were more lines than the log has now.
        """
        for publisher in self.publishers:
            if publisher.is_running:
                await publisher.end()
        await self.seen_to_the_end()
        self.verify(extra=extra)
        await self.nothing_left()

    async def seen_to_the_end(self) -> None:
        """Wait until every client has been told that its runs are over."""

        def missing() -> list[str]:
            return [f"{v.kind} {v.closes}" for v in self.viewers if not v.done]

        try:
            await self.until(lambda: not missing(), "every client has seen the end")
        except AssertionError as error:
            raise AssertionError(f"{error}; not: {missing()[:5]}") from error
        self.raise_broken()

    def truth(self, run_id: str) -> list[int]:
        """The lines in the run's log, as Redis has it now."""
        with self.server.client(decode_responses=True) as client:
            found: Any = client.lrange(self.keys.run(run_id)[2], 0, -1)
        return [code_of(line.split("\t", 4)[4]) for line in found]

    def verify(self, *, extra: bool = False) -> None:
        """What publishers were told is committed is in the log once and in order, and each client shows just that."""
        for run_id in {run_id for publisher in self.publishers for run_id in publisher.run_ids}:
            truth = self.truth(run_id)
            if not extra:
                assert not (holes := holes_in(truth)), f"the log of {run_id} has holes: {holes[:5]}"
                for publisher in self.publishers:
                    if run_id in publisher.run_ids:
                        there = set(truth)
                        lost = [c for c in publisher.codes(publisher.acknowledged) if c not in there]
                        assert not lost, f"{run_id}: {len(lost)} acknowledged lines are lost: {lost[:5]}"
            for viewer in self.viewers:
                if run_id in viewer.readings:
                    difference = viewer.readings[run_id].differs_from(truth)
                    assert not difference, f"{viewer.kind}: {difference}"

    async def nothing_left(self) -> None:
        """Wait until no relay knows of a connection or a run any more."""
        await asyncio.gather(*self.watching)
        for relay in self.relays:
            if not relay.is_running:
                continue

            async def at_zero(relay: RelayProcess = relay) -> bool:
                stats = (await self.http.get(f"{relay.url}/api/stats")).json()
                return bool(stats["connections"] == stats["runs_watched"] == 0)

            await self.until(at_zero, "the gauges are back at zero", 30.0)
            # the one of the client that asks
            await self.until(lambda relay=relay: open_sockets(relay.port) <= 1, "the sockets are closed", 30.0)  # type: ignore[misc]
            assert "Traceback" not in relay.log, relay.log[-5000:]

    async def close(self) -> None:
        """End everything."""
        for task in self.watching:
            task.cancel()
        await asyncio.gather(*self.watching, return_exceptions=True)
        await asyncio.sleep(0)  # closes what was aborted
        for publisher in self.publishers:
            await publisher.kill()
        for relay in self.relays:
            relay.kill()


OpenStage = Callable[..., AbstractAsyncContextManager[Stage]]
"""`open_stage(server, patience_s=…, lossy=…)`"""


Fault = Callable[[Stage], Awaitable[None]]
RUNS = ["run-1", "우주여행-2"]
CONTROL_S = 4.0
"""A control's condition does not come; where nothing is broken it is met in far less."""


async def play(
    open_stage: OpenStage,
    server: Server,
    fault: Fault,
    *,
    again: int = 1,
    rate: float = 200.0,
    publisher: str = "",
    relay: str = "",
    lossy: bool = False,
    keeps_cursor: bool = True,
) -> Stage:
    """Let lines flow to one relay's clients, let the fault happen, let lines flow, end; check everything.

    again: how often it happens. rate: lines a second of all runs. publisher, relay: what is switched off in them
    (weakened.py), for a control;
    keeps_cursor: the clients' own. lossy: see Stage.
    """
    control = publisher or relay or not keeps_cursor
    async with open_stage(server, patience_s=CONTROL_S if control else 40.0, lossy=lossy) as stage:
        await stage.relay(broken=relay)
        lines = await stage.publisher(RUNS, broken=publisher)
        await stage.begin(lines, rate)
        stage.watch(RUNS, keeps_cursor=keeps_cursor)
        await stage.begun()
        for _ in range(again):
            await fault(stage)
            await stage.flowing()
        await stage.finish(extra=lossy)
        return stage
