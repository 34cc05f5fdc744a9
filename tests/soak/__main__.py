"""Everything at once: `python -m tests.soak [MINUTES] [--seed N] [--report FILE]`.

Three relays under a supervisor (one of them is never killed, so that its memory can be watched), one Redis (Valkey with
appendfsync always: what is acknowledged is on disk), 200 lines a second of some 24 runs, and 230 honest clients that
check what they are told; meanwhile storms (storms.py) and hostile clients, messages and keys (hostile.py).

Exit code 1 if an honest client lost a line, saw one twice or out of order, if a relay died that nobody had killed, if
the memory of the elder relay grows in the second half (from ten minutes on), or if something is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from runrelay.cli import parent_death
from runrelay.cli.embedded_valkey import valkey_binary
from runrelay.runlog import Keys
from tests.soak.crowd import Crowd
from tests.soak.report import Samples, as_json, judge, table, tracebacks
from tests.soak.storms import Storms, Supervised, free_of
from tests.support.publisher_process import ROOT
from tests.support.relay import RelayProcess
from tests.support.servers import Server
from tests.support.stage import open_sockets
from tests.support.tcp_proxy import TcpProxy

PREFIX = "soak"
SAMPLE_S = 5.0
SETTINGS: dict[str, Any] = {
    "end_after_s": 0.5, "drain_s": 2.0, "heartbeat_s": 5.0, "max_connections": 2_000,
    "max_connections_per_address": 600,
}  # fmt: skip
log = logging.getLogger("soak")


class Soak:
    """One soak, from putting up to the report."""

    def __init__(self, minutes: float, folder: Path, http: httpx.AsyncClient) -> None:
        self.minutes = minutes
        self.folder = folder
        self.began = time.monotonic()
        data = folder / "valkey"
        data.mkdir()
        self.server = Server(valkey_binary(), data, {"appendonly": "yes", "appendfsync": "always"})
        self.server.start()
        names = ("elder", "mortal 1", "mortal 2")
        self.relays = [
            Supervised(name, RelayProcess(folder, self.server.url, PREFIX, **SETTINGS), mortal=name != "elder")
            for name in names
        ]
        self.links = [TcpProxy(relay.relay.port) for relay in self.relays]
        self.samples: dict[str, Samples] = {name: Samples() for name in (*names, "Valkey", "clients")}
        self._turn = itertools.count()
        self.crowd = Crowd(folder, self.server.url, Keys(PREFIX, f"{PREFIX}:progress"), self.place, http)
        self.http = http

    def place(self) -> str:
        """Where an honest client goes next: mostly to a relay itself, at times over a link that breaks."""
        number = next(self._turn)
        relay, link = self.relays[number % 3].relay, self.links[number % 3]
        return f"http://127.0.0.1:{link.port}" if number % 5 == 0 else relay.url

    async def run(self) -> dict[str, Any]:
        """Soak, and report."""
        for number, link in enumerate(self.links):
            await link.start()
            link.cut_after_bytes = 20_000 * (number + 1)
        supervised = [asyncio.create_task(one.run(), name=f"supervise {one.name}") for one in self.relays]
        await self._ready()
        storms = Storms(self.crowd, self.relays, self.server, self.links)
        until = asyncio.get_running_loop().time() + self.minutes * 60
        season_s = min(50.0, self.minutes * 60 / 4)
        raging = asyncio.create_task(storms.rage(), name="storms")
        beside = [raging, asyncio.create_task(self._sample(), name="samples")]
        hostile = await self._start_hostile()
        living = asyncio.create_task(self.crowd.live(until, season_s), name="crowd")
        try:
            await asyncio.wait([living, *beside, *supervised], timeout=self.minutes * 60, return_when="FIRST_COMPLETED")
            log.info("the time is over: nothing more happens, and everybody sees the end")
            raging.cancel()
            await asyncio.wait([raging])
            await living
            log.info("everybody has seen it, or will not any more")
            made = await self._stop_hostile(hostile)
            log.info("the hostile ones have gone")
            left = await self._left_at_relays()
            for task in (*beside, *supervised):
                if task.done() and not task.cancelled():
                    task.result()
        finally:
            for task in (living, *beside, *supervised):
                task.cancel()
            await asyncio.gather(living, *beside, *supervised, return_exceptions=True)
            if hostile.returncode is None:
                hostile.kill()
                await hostile.wait()
            for link in self.links:
                await link.close()
            for one in self.relays:
                one.relay.kill()
            self.server.kill()
        left += [f"a process: {command}" for command in free_of(self.folder)]
        for one in self.relays:
            left += [f"a traceback in the log of {one.name}: {said}" for said in tracebacks(one.relay.log)[:5]]
        return self._report(storms, made, left)

    async def _ready(self) -> None:
        for one in self.relays:
            while True:
                try:
                    if (await self.http.get(f"{one.relay.url}/readyz")).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)  # a relay says by itself when it is ready

    async def _start_hostile(self) -> asyncio.subprocess.Process:
        ports = ",".join(str(one.relay.port) for one in self.relays)
        run_ids = self.folder / "run-ids"
        run_ids.write_text("")
        command = [sys.executable, "-m", "tests.soak.hostile", self.server.url, PREFIX, ports, str(run_ids)]
        with (self.folder / "hostile.log").open("wb") as errors:
            return await asyncio.create_subprocess_exec(
                *parent_death.command(command, signal.SIGKILL), cwd=self.folder, env={"PYTHONPATH": str(ROOT)},
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors,
            )  # fmt: skip

    async def _stop_hostile(self, hostile: asyncio.subprocess.Process) -> dict[str, int]:
        out, _ = await hostile.communicate(b"")  # closes its input
        if hostile.returncode:
            raise RuntimeError((self.folder / "hostile.log").read_text()[-4000:])
        made: dict[str, int] = json.loads(out)
        return made

    async def _sample(self) -> None:
        """Memory and CPU of everything, and the runs that hostile clients may go to."""
        while True:
            minutes = (time.monotonic() - self.began) / 60
            for one in self.relays:
                if one.relay.is_running:
                    self.samples[one.name].take(one.relay.pid, minutes)
            if self.server.is_running:
                self.samples["Valkey"].take(self.server.pid, minutes)
            self.samples["clients"].take(int(Path("/proc/self").resolve().name), minutes)
            (self.folder / "run-ids").write_text("\n".join(self.crowd.run_ids), encoding="utf-8")
            await asyncio.sleep(SAMPLE_S)

    async def _left_at_relays(self) -> list[str]:
        """What the relays still hold when everybody has gone: nothing, within half a minute."""
        left: list[str] = []
        for _ in range(60):
            left = []
            for one in self.relays:
                try:
                    stats = (await self.http.get(f"{one.relay.url}/api/stats")).json()
                except httpx.TransportError as error:
                    left.append(f"{one.name} does not answer: {error!r}")
                    continue
                if stats["connections"] or stats["runs_watched"]:
                    left.append(f"{one.name}: {stats['connections']} connections, {stats['runs_watched']} runs watched")
                ready = await self.http.get(f"{one.relay.url}/readyz")
                if ready.status_code != 200:
                    left.append(f"{one.name} is not ready: {ready.text[:300]}")
                if (sockets := open_sockets(one.relay.port)) > 1:  # the one that asks
                    left.append(f"{one.name}: {sockets} sockets")
            if not left:
                break
            await asyncio.sleep(0.5)  # the relay finds out by its own timers
        return left

    def _report(self, storms: Storms, made: dict[str, int], left: list[str]) -> dict[str, Any]:
        tally = self.crowd.tally
        deaths = [death for one in self.relays for death in one.deaths]
        took_s = time.monotonic() - self.began
        return {
            "minutes": round(took_s / 60, 1),
            "redis": "Valkey, appendonly yes, appendfsync always",
            "honest": as_json(tally),
            "happened": dict(storms.happened),
            "hostile": made,
            "deaths": deaths,
            "processes": {
                name: {
                    "cpu_percent": round(100 * one.cpu_s / took_s),
                    "mb_per_minute": one.per_minute(),
                    "second_half": one.second_half(),
                }
                for name, one in self.samples.items()
            },
            "faults": judge(tally, deaths, self.samples["elder"], left, self.minutes),
        }


async def soak(minutes: float, keep: Path | None) -> dict[str, Any]:
    """Soak in a folder that is removed at the end (or kept, at `keep`)."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    with tempfile.TemporaryDirectory(prefix="runrelay-soak-") as name:
        folder = Path(name) if keep is None else keep
        folder.mkdir(exist_ok=True)
        async with httpx.AsyncClient(trust_env=False, timeout=10, limits=limits) as http:
            return await Soak(minutes, folder, http).run()


def main() -> int:
    """Parse, soak, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--report", type=Path, help="write the report there as JSON, too")
    parser.add_argument("--keep", type=Path, help="keep the logs in this folder")
    given = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    random.seed(given.seed)
    log.info("soaking for %g minutes, seed %d", given.minutes, given.seed)
    report = asyncio.run(soak(given.minutes, given.keep))
    text = json.dumps({"seed": given.seed, **report}, ensure_ascii=False, indent=1)
    if given.report is not None:
        given.report.write_text(text + "\n", encoding="utf-8")
    print(text)  # noqa: T201
    print(table(report))  # noqa: T201
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
