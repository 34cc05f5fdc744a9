"""A program of ours with one protection switched off, for the negative controls of tests that need real processes.

    python -m tests.support.weakened SWITCH[,SWITCH…] MODULE ARGUMENT…

runs the module's `main` with these switches. A test whose check still passes then has checked nothing.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["SWITCHES", "main"]

SWITCHES: dict[str, Callable[[], None]] = {}


def switch(change: Callable[[], None]) -> Callable[[], None]:
    """Name a change by its function."""
    SWITCHES[change.__name__] = change
    return change


# Of a publisher


def _replace(owner: object, name: str, instead: object) -> None:
    """Put something in the place of what is there. Raises AttributeError: a protection that is not there is not off."""
    getattr(owner, name)
    setattr(owner, name, instead)


@switch
def no_retry() -> None:
    """What could not be committed at the first try is forgotten."""
    from runrelay.errors import RunlogError, RunlogUnavailable
    from runrelay.runlog import RunLog

    commit_many = RunLog.commit_many

    def once(self: RunLog, batches: Any) -> Any:
        try:
            results = commit_many(self, batches)
        except RunlogUnavailable as error:
            results = [error] * len(batches)
        return [RunlogError("given up") if isinstance(one, RunlogUnavailable) else one for one in results]

    _replace(RunLog, "commit_many", once)


@switch
def no_numbers() -> None:
    """Each try is a new producer's: the run log cannot know what it has already."""
    from runrelay.runlog import Batch, ProducerSequence, RunLog

    commit_many = RunLog.commit_many

    def anew(self: RunLog, batches: Sequence[Batch]) -> Any:
        return commit_many(
            self, [Batch(one.run_id, ProducerSequence.fresh().producer, 1, one.events) for one in batches]
        )

    _replace(RunLog, "commit_many", anew)


@switch
def no_identity() -> None:
    """All servers are one: a log is continued wherever it is found."""
    import runrelay.runlog.commit_connection
    import runrelay.runlog.sync

    for module in (runrelay.runlog.sync, runrelay.runlog.commit_connection):
        _replace(module, "identity", lambda *_: "one and the same")


@switch
def no_waiting() -> None:
    """`flush` says that everything is committed without looking."""
    from runrelay.outbox.flusher import Flusher

    _replace(Flusher, "wait", lambda self, timeout_s, *, while_down=True: True)


@switch
def no_end() -> None:
    """A run that has ended takes events all the same."""
    _weaken_commits("local over = has_ended(status)", "local over = false")


def _weaken_commits(protection: str, instead: str) -> None:
    import runrelay.runlog.sync
    from runrelay.runlog.scripts import COMMIT
    from tests.support.runlog import weakened

    _replace(runrelay.runlog.sync, "COMMIT", weakened(COMMIT, protection, instead))


# Of a relay


@switch
def no_repair_after_reconnect() -> None:
    """The listener is back, and what it has missed is not read."""
    from runrelay.fanout import Hub

    async def nothing(self: Hub) -> None:
        pass

    _replace(Hub, "_catch_up", nothing)


@switch
def no_repair() -> None:
    """What does not follow is not explained by the log: it is thrown away."""
    from runrelay.fanout import hub
    from tests.support.weakened_topics import NoRepair

    _replace(hub, "Topic", NoRepair)


@switch
def no_check() -> None:
    """Nobody compares positions with the log."""
    from runrelay.fanout import Hub

    async def check(self: Hub) -> None:
        pass

    _replace(Hub, "check", check)


@switch
def no_probe() -> None:
    """A subscription that is there is believed to hear."""
    import asyncio

    from runrelay.fanout import Listener

    async def believe(self: Listener) -> None:
        self._hub.link_up()
        await asyncio.Event().wait()

    _replace(Listener, "_probe_on", believe)


@switch
def no_pings() -> None:
    """Nobody looks whether a client is still there."""
    from runrelay.fanout.uvicorn import DirectConnection

    _replace(DirectConnection, "tick", lambda self: None)


@switch
def fragile_frames() -> None:
    """A frame that is none is an error that nobody expects."""
    from runrelay.api import sessions
    from runrelay.errors import Refusal

    parse_frame = sessions.parse_frame

    def fragile(raw: bytes, limit_bytes: int) -> Any:
        try:
            return parse_frame(raw, limit_bytes)
        except Refusal as error:
            raise RuntimeError("nobody expects this") from error

    _replace(sessions, "parse_frame", fragile)


@switch
def fragile_messages() -> None:
    """A message that is none is an error that nobody expects."""
    from runrelay.fanout import hub

    parse_message = hub.parse_message  # type: ignore[attr-defined]

    def fragile(raw: bytes) -> Any:
        try:
            return parse_message(raw)
        except (TypeError, ValueError) as error:
            raise RuntimeError("nobody expects this") from error

    _replace(hub, "parse_message", fragile)


@switch
def quick_pings() -> None:
    """Not a protection less: clients are looked after every second instead of every twenty."""
    from runrelay.fanout import Hub

    init = Hub.__init__

    def quick(self: Hub, *given: Any, **more: Any) -> None:
        init(self, *given, **{**more, "tick_s": 1.0})

    Hub.__init__ = quick  # type: ignore[method-assign]


# Of both


def _clock(by_s: int) -> Callable[[], None]:
    def turn() -> None:
        time_, time_ns = time.time, time.time_ns
        time.time = lambda: time_() + by_s
        time.time_ns = lambda: time_ns() + by_s * 1_000_000_000

    return turn


SWITCHES["an_hour_fast"] = _clock(3600)
SWITCHES["an_hour_slow"] = _clock(-3600)


def main() -> None:
    """Switch off, then run."""
    switches, module, *arguments = sys.argv[1:]
    for name in switches.split(","):
        SWITCHES[name]()
    sys.argv = [module, *arguments]
    importlib.import_module(module).main()


if __name__ == "__main__":
    main()
