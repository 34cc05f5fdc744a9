"""One relay: everything that lives as long as the process serves, put together and taken apart in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import orjson

from ..codes import CloseCode
from ..errors import ListenerDown, Refusal
from ..fanout import Hub, Listener, for_ever
from ..metrics import RelayMetrics
from ..pipelines import Pipeline, load_pipelines
from ..progress import Snapshot, check_run_id, step_specs
from ..runlog import AsyncRunLog
from . import Adopter, Reaper
from .half_open import HalfOpen
from .limits import Limits
from .senders import Senders
from .settings import Settings
from .withdrawals import Withdrawals

__all__ = ["Relay", "retry_in_ms", "retry_reason"]

log = logging.getLogger(__name__)

_CACHE_BYTES = 32 << 20
EXIT_CODE: Final = 70
"""Of a process whose relay has failed: EX_SOFTWARE (sysexits.h). At 3, uvicorn would take it for one that cannot start,
and end all the others."""


def retry_in_ms() -> int:
    """When to come back, in milliseconds: clients are spread over five seconds."""
    return random.randint(200, 5000)


def retry_reason() -> str:
    """The same as a close reason."""
    return json.dumps({"retry_in_ms": retry_in_ms()})


def _check_steps(pipeline: Pipeline) -> None:
    """Find out now, and not with each run, that these steps cannot be declared."""
    try:
        step_specs(pipeline.steps)
    except (TypeError, ValueError) as error:
        raise ValueError(f"pipeline {pipeline.name!r}: {error}") from error


class SnapshotCache:
    """The snapshots that were read last, for the time when Redis is away. Bounded; the oldest goes first."""

    def __init__(self, bound_bytes: int = _CACHE_BYTES) -> None:
        self._bound_bytes = bound_bytes
        self._bytes = 0
        self._snapshots: OrderedDict[str, tuple[Snapshot, int]] = OrderedDict()

    def keep(self, snapshot: Snapshot) -> None:
        """Remember a snapshot as the last one of its run."""
        self.forget(snapshot.run_id)
        size = 1000 + sum(len(line.message) * 2 + 100 for line in snapshot.logs)
        size += sum(500 + 4 * len(step.error or "") for step in snapshot.steps) + 4 * len(snapshot.error or "")
        if snapshot.result is not None:
            size += 8 * len(orjson.dumps(snapshot.result))  # about what small objects take
        self._snapshots[snapshot.run_id] = snapshot, size
        self._bytes += size
        while self._bytes > self._bound_bytes:
            _, (_, gone) = self._snapshots.popitem(last=False)
            self._bytes -= gone

    def forget(self, run_id: str) -> None:
        """The run is gone."""
        _, size = self._snapshots.pop(run_id, (None, 0))
        self._bytes -= size

    def get(self, run_id: str) -> Snapshot | None:
        """The last snapshot of a run."""
        found = self._snapshots.get(run_id)
        return None if found is None else found[0]


class Relay:
    """The parts of a relay process. `running()` is its life; nothing happens before."""

    def __init__(
        self,
        settings: Settings,
        pipelines: dict[str, Pipeline] | None = None,
        *,
        end_process: Callable[[int], object] | None = None,
    ) -> None:
        self.settings = settings
        self.pipelines = load_pipelines() if pipelines is None else pipelines
        for pipeline in self.pipelines.values():
            _check_steps(pipeline)
        self.started_at = time.time()
        self.metrics = RelayMetrics()
        self.limits = Limits(settings)
        self.half_open = HalfOpen(settings, self.metrics)
        self.bounds = settings.client_bounds()
        self.snapshot_cache = SnapshotCache()
        self.runlog = AsyncRunLog(settings.redis_url, settings.keys(), settings.retention())
        self.adopter = Adopter(self.runlog, self.metrics)
        self.hub = Hub(
            self.runlog,
            self.metrics,
            client_buffer_bytes=settings.client_buffer_bytes,
            end_after_s=settings.end_after_s,
            check_s=settings.check_s,
            max_joining=settings.max_joining,
            on_raw=self.adopter.receive,
        )
        self.listener = Listener(
            self.runlog,
            self.hub,
            self.metrics,
            on_control=self._control,
            on_subscribed=self.adopter.resubscribed,
        )
        self.adopter.attach(self.listener)
        self.reaper = Reaper(
            self.runlog, self.metrics, self.listener.relay_id, stalled_after_s=settings.stalled_after_s
        )
        self.senders = Senders(
            threads=settings.pipeline_threads,
            waiting=settings.pipeline_waiting,
            timeout_s=settings.pipeline_timeout_s,
        )
        self.withdrawals = Withdrawals(self.runlog)
        self.held: set[asyncio.Event] = set()
        """Of held polling requests: each is set when the relay goes away, so that nobody waits for it."""
        self.answers_handshakes = False
        """Nothing lies between the server and this relay: see handshake.py."""
        self.failure: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._end_process = end_process

    @property
    def ready(self) -> bool:
        """Whether clients see the truth here: the listener hears, and nothing has died."""
        return self.failure is None and self.hub.link == "up" and not self.hub.closing

    @contextmanager
    def counted_request(self, address: str, run_id: str) -> Iterator[None]:
        """Count an HTTP request among the connections to a run for as long as the block takes.

        Raises:
            Refusal: 1012, this process has as many as it may have; 4429, the address or the run has.
        """
        if self.limits.is_full:
            self.metrics.refused += 1
            raise Refusal(CloseCode.SERVICE_RESTART, "too many connections", 2)
        self.check_room()
        with contextlib.ExitStack() as held:
            try:
                self.limits.enter(address)
                held.callback(self.limits.leave, address)
                self.limits.enter_run(run_id)
                held.callback(self.limits.leave_run, run_id)
            except Refusal:
                self.metrics.refused += 1
                raise
            yield

    def check_room(self) -> None:
        """Refuse an HTTP request that would read a run while too many wait for that.

        Raises:
            Refusal: 4429.
        """
        if self.hub.is_crowded:
            self.metrics.refused += 1
            raise Refusal(CloseCode.TOO_MANY, "too many wait to be told of their run", 5)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The life of the relay.

        Shutdown, in this order: new clients are refused, those that are there are told and have `drain_s` to go, the
        senders take no more calls, the tasks are cancelled, Redis is closed.
        """
        self._task = asyncio.create_task(self._run(), name="runrelay")
        try:
            yield
        finally:
            await self.drain()
            self.senders.close()
            self._task.cancel()
            await asyncio.wait([self._task])
            await self.runlog.close()

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for part in (self.hub, self.listener, self.adopter, self.reaper, self.withdrawals):
                    tasks.create_task(for_ever(part.run), name=type(part).__name__.lower())
        except Exception as error:
            await self._die(error)

    async def _die(self, error: Exception) -> None:
        """The relay's own life has failed: nobody is served old news, and a supervisor is to start another.

        Where the process is not the relay's own, it goes on answering, so that /healthz, /readyz and the log say what
        happened. Else it ends: a dead worker process would keep its share of the port's connections for good.
        """
        self.failure = ListenerDown("a task of the relay has died")
        self.failure.__cause__ = error
        log.critical("a task of the relay has died; this process is not well any more", exc_info=error)
        self.hub.link_down()
        self._close_clients()
        if self._end_process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.drain_s):
                    await self.hub.empty.wait()
            log.critical("the process ends with code %d, so that another can be started", EXIT_CODE)
            self._end_process(EXIT_CODE)

    async def drain(self) -> None:
        """Refuse new clients, tell those that are there to go elsewhere, wait for them, within `drain_s`."""
        if self.hub.closing:
            return
        self._close_clients()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_s):
                await self.hub.empty.wait()

    def _close_clients(self) -> None:
        self.hub.close(CloseCode.SERVICE_RESTART, retry_reason)
        for news in self.held:
            news.set()

    def _control(self, message: dict[str, Any]) -> None:
        self.adopter.control(message)
        if "deleted" in message:
            try:
                run_id = check_run_id(message["deleted"])
            except (TypeError, ValueError) as error:  # anyone may publish there
                log.debug("discarded a message about a deletion: %s", error)
                return
            self.snapshot_cache.forget(run_id)
            self.hub.feed.deleted(run_id)
            self.hub.check_run(run_id)
