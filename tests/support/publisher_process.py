"""Publisher processes: workers whose lines are numbered, and who are told what to do; see numbered_lines.py."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from runrelay.cli import parent_death
from tests.support.readings import code_of

__all__ = ["ROOT", "PublisherProcess", "program"]

ROOT = Path(__file__).resolve().parents[2]


def program(module: str, *arguments: str, broken: str = "") -> list[str]:
    """The command that runs a module's `main`, with protections switched off (weakened.py) if any are named."""
    with_switches = ["tests.support.weakened", broken, module] if broken else [module]
    return [sys.executable, "-W", "error", "-m", *with_switches, *arguments]


class PublisherProcess:
    """One life of a publisher: a generation of the lines of its runs.

    Arguments: `folder` is its working directory; `padding`, how many characters each line is longer; `broken`, switches
    of tests/support/weakened.py; `settings`, RUNRELAY_….
    """

    def __init__(
        self, folder: Path, redis_url: str, prefix: str, run_ids: list[str], generation: int = 0, *,
        padding: int = 0, broken: str = "", **settings: object,
    ) -> None:  # fmt: skip
        self.run_ids = run_ids
        self.generation = generation
        self.published = 0
        """Lines of each run, as far as it has answered."""
        self.acknowledged = 0
        """Of these, how many are known to be committed."""
        self._command = program("tests.support.numbered_lines", str(generation), str(padding), *run_ids, broken=broken)
        self._folder = folder
        self._environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": redis_url,
            "RUNRELAY_PREFIX": prefix,
            "RUNRELAY_LOG_LINES": "1000000",
            "RUNRELAY_LOG_BYTES": "1000000000",
            **{f"RUNRELAY_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "the publisher is not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it is there."""
        return self._process is not None and self._process.returncode is None

    def codes(self, count: int) -> range:
        """Its first lines, as readings.py numbers them."""
        first = code_of(f"{self.generation} 0")
        return range(first, first + count)

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log_path.read_text(errors="replace")

    async def start(self) -> None:
        """Start it; it waits for orders."""
        self._log_path = self._folder / f"publisher-{id(self):x}.log"
        with self._log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *parent_death.command(self._command, signal.SIGKILL),
                cwd=self._folder,
                env=self._environ,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )

    async def order(self, *words: object, timeout_s: float = 90.0) -> dict[str, Any]:
        """Give an order and wait for the answer; AssertionError if there is none."""
        process = self._process
        assert process is not None, "the publisher is not started"
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write((" ".join(map(str, words)) + "\n").encode())
            await process.stdin.drain()
            async with asyncio.timeout(timeout_s):
                line = await process.stdout.readline()
        except (OSError, TimeoutError) as error:
            raise AssertionError(f"no answer to {words}: {error!r}\n{self.log}") from error
        assert line, f"the publisher has ended at {words}:\n{self.log}"
        answer: dict[str, Any] = json.loads(line)
        self.published = answer["published"]
        if answer["committed"]:
            self.acknowledged = self.published
        return answer

    async def end(self, timeout_s: float = 60.0) -> None:
        """End its runs; AssertionError if not everything is committed in time."""
        answer = await self.order("end", timeout_s, timeout_s=timeout_s + 30)
        assert answer["committed"], f"not committed within {timeout_s} s:\n{self.log}"
        await self.wait()

    async def wait(self) -> int:
        """Wait until it has ended."""
        assert self._process is not None, "the publisher is not started"
        async with asyncio.timeout(30):
            return await self._process.wait()

    async def kill(self) -> None:
        """End it as a crash does; does nothing when it has ended."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
