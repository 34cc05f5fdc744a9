"""Honest publishers and honest clients: seasons of runs that are told, watched, held against the log, and forgotten."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis.asyncio
import redis.exceptions

from runrelay.runlog import Keys
from tests.support.publisher_process import PublisherProcess
from tests.support.readings import Ledger, Wrong, code_of, holes_in
from tests.support.viewers import KINDS, Place, PollingViewer, Viewer

__all__ = ["Crowd", "Tally"]

log = logging.getLogger("soak")

RUNS = 8
"""Of one season."""
EACH = {"socket": 40, "many": 10, "stream": 20, "polling": 8}
"""Clients of a season; one of many runs watches three."""
RATE = 66.0
"""Lines a second of one season; three are told at once."""
END_S = 90.0
"""For so long a season's clients may take to see the end of it, with everything well again."""


@dataclass
class Tally:
    """What was found."""

    published: int = 0
    committed: int = 0
    """Lines that the runs' logs had at the end."""
    checked: int = 0
    """Frames that clients were given and held against the contract."""
    lines: int = 0
    """Lines that clients showed at the end, each of which was compared with the log."""
    clients: int = 0
    connects: Counter[str] = field(default_factory=Counter)
    unrecovered: int = 0
    """initial_states in place of events that were missed; Redis was another process then."""
    seasons: int = 0
    workers_killed: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    """lost, double, order, other."""
    examples: list[str] = field(default_factory=list)

    def note(self, kind: str, what: str) -> None:
        """Count a mistake, and keep the first ones' words."""
        self.wrong[kind] += 1
        if len(self.examples) < 40:
            self.examples.append(f"{kind}: {what[:1500]}")


class Season:
    """Some runs from their first line to their last, and those who watch them."""

    def __init__(self, name: str, crowd: Crowd) -> None:
        self.run_ids = [f"{name}-{number}-고양이" for number in range(RUNS)]
        self.ledger = Ledger()
        self.publishers: list[PublisherProcess] = []
        self.viewers: list[Viewer] = []
        self._crowd = crowd

    @property
    def publisher(self) -> PublisherProcess:
        """The present one."""
        return self.publishers[-1]

    async def next_publisher(self) -> None:
        """A worker that goes on with the runs, the first or the next after one that was killed."""
        crowd = self._crowd
        publisher = PublisherProcess(
            crowd.folder, crowd.redis_url, crowd.keys.prefix, self.run_ids, len(self.publishers), padding=20
        )
        await publisher.start()
        self.publishers.append(publisher)
        await publisher.order("go", RATE)

    def gather(self) -> None:
        """Let the clients come."""
        crowd = self._crowd
        for kind, count in EACH.items():
            more: dict[str, Any] = {"http": crowd.http, "pace_s": 0.5} if KINDS[kind] is PollingViewer else {}
            for _ in range(count):
                run_ids = random.sample(self.run_ids, 3 if kind == "many" else 1)
                self.viewers.append(KINDS[kind](run_ids, crowd.place, self.ledger, **more))

    async def live(self, for_s: float) -> None:
        """Tell the runs for a while, with a worker killed now and then; end them; hold everything against the log."""
        await self.next_publisher()
        self.gather()
        watching = [asyncio.create_task(viewer.run(), name=f"viewer {viewer.kind}") for viewer in self.viewers]
        try:
            loop = asyncio.get_running_loop()
            until = loop.time() + for_s
            while (left_s := until - loop.time()) > 0:
                await asyncio.sleep(min(left_s, random.uniform(4, 12)))  # a worker's life
                await self.publisher.order("flush", 0.5)
                if random.random() < 0.3:
                    await self.publisher.kill()
                    self._crowd.tally.workers_killed += 1
                    await self.next_publisher()
                else:
                    await self.publisher.order("go", RATE)
            await self.publisher.end(END_S)
            _, waiting = await asyncio.wait(watching, timeout=END_S)
            log.info("%s has ended; %d of %d clients do not know", self.run_ids[0], len(waiting), len(watching))
            await self._verify()
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            for publisher in self.publishers:
                await publisher.kill()
            self._sum_up()

    async def _verify(self) -> None:
        tally, crowd = self._crowd.tally, self._crowd
        for run_id in self.run_ids:
            truth = await crowd.truth(run_id)
            tally.committed += len(truth)
            for hole in holes_in(truth):
                tally.note("lost", f"in the log of {run_id}: {hole}")
            there = set(truth)
            for publisher in self.publishers:
                if lost := [code for code in publisher.codes(publisher.acknowledged) if code not in there]:
                    tally.note("lost", f"{run_id}: {len(lost)} acknowledged lines, {lost[:3]}")
            for viewer in self.viewers:
                if run_id in viewer.readings and viewer.broken is None:
                    reading = viewer.readings[run_id]
                    tally.lines += len(reading.lines)
                    if not reading.closed:
                        tally.note("lost", f"{viewer.kind} of {run_id} never heard of the end: {viewer}")
                    elif difference := reading.differs_from(truth):
                        tally.note("lost", f"{viewer.kind}: {difference}")

    def _sum_up(self) -> None:
        tally = self._crowd.tally
        tally.seasons += 1
        tally.published += sum(publisher.published for publisher in self.publishers) * RUNS
        tally.checked += self.ledger.checked
        for viewer in self.viewers:
            tally.clients += 1
            tally.connects[viewer.kind] += viewer.connects
            tally.unrecovered += viewer.unrecovered
            if isinstance(viewer.broken, Wrong):
                tally.note(viewer.broken.kind, f"{viewer}: {viewer.broken}")
            elif viewer.broken is not None:
                tally.note("other", f"{viewer}: {viewer.broken}")


class Crowd:
    """Three seasons at a time until `until`, on the loop's clock."""

    def __init__(self, folder: Path, redis_url: str, keys: Keys, place: Place, http: httpx.AsyncClient) -> None:
        self.folder = folder
        self.redis_url = redis_url
        self.keys = keys
        self.place = place
        self.http = http
        self.tally = Tally()
        self.seasons: set[Season] = set()

    @property
    def run_ids(self) -> list[str]:
        """The runs that are watched now."""
        return [run_id for season in self.seasons for run_id in season.run_ids]

    @property
    def viewers(self) -> list[Viewer]:
        """The clients that watch now."""
        return [viewer for season in self.seasons for viewer in season.viewers if not viewer.done]

    async def live(self, until: float, season_s: float) -> None:
        """One season after another, three beside each other."""
        async with asyncio.TaskGroup() as tasks:
            for place in range(3):
                tasks.create_task(self._one_after_another(place, until, season_s), name=f"seasons {place}")

    async def _one_after_another(self, place: int, until: float, season_s: float) -> None:
        loop = asyncio.get_running_loop()
        number = 0
        while (left_s := until - loop.time()) > 1:
            number += 1
            season = Season(f"s{place}-{number}", self)
            self.seasons.add(season)
            try:
                await season.live(min(left_s, season_s * random.uniform(0.7, 1.3)))
            except AssertionError as error:
                self.tally.note("other", str(error))
            finally:
                self.seasons.discard(season)

    async def truth(self, run_id: str) -> list[int]:
        """The lines in the run's log; waits for Redis."""
        found: list[str] = await self._ask(lambda client: client.lrange(self.keys.run(run_id)[2], 0, -1))
        return [code_of(line.split("\t", 4)[4]) for line in found]

    async def _ask(self, question: Callable[[Any], Any]) -> Any:
        while True:
            client = redis.asyncio.Redis.from_url(self.redis_url, decode_responses=True, socket_timeout=5)
            try:
                return await question(client)
            except (redis.exceptions.RedisError, OSError):
                await asyncio.sleep(0.2)
            finally:
                await client.aclose()
