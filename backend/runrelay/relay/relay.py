"""One relay: the parts of a relay process, how they are put together, and the order of its shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from ..codes import CloseCode
from ..errors import ListenerDown, Refusal
from ..fanout import Hub, Listener, for_ever
from ..metrics import RelayMetrics
from ..pipelines import Pipeline, load_pipelines
from ..progress import check_run_id, step_specs
from ..runlog import AsyncRunLog
from ..stopping import StopWork
from . import Adopter, Reaper
from .half_open import HalfOpen
from .limits import Limits
from .returns import Returns
from .senders import Senders
from .settings import Settings
from .snapshot_cache import SnapshotCache
from .withdrawals import Withdrawals

__all__ = ["Relay", "retry_in_ms", "retry_reason"]

log = logging.getLogger(__name__)

EXIT_CODE: Final = 70
"""Exit code of a process whose relay has failed: EX_SOFTWARE (sysexits.h). Not 3: uvicorn's `--workers` would take the
process for one that cannot start, and end all workers."""


def retry_in_ms() -> int:
    """After how many milliseconds a client should reconnect: random, so that clients are spread over five seconds."""
    return random.randint(200, 5000)


def retry_reason() -> str:
    """The same, as the reason of a close."""
    return json.dumps({"retry_in_ms": retry_in_ms()})


def _check_steps(pipeline: Pipeline) -> None:
    """Fail at the start, and not at each run, if these steps cannot be declared."""
    try:
        step_specs(pipeline.steps)
    except (TypeError, ValueError) as error:
        raise ValueError(f"pipeline {pipeline.name!r}: {error}") from error


class Relay:
    """The parts of a relay process. Nothing runs before `running()`."""

    def __init__(
        self,
        settings: Settings,
        pipelines: dict[str, Pipeline] | None = None,
        *,
        stop_work: StopWork | None = None,
        end_process: Callable[[int], object] | None = None,
    ) -> None:
        self.settings = settings
        self.pipelines = load_pipelines() if pipelines is None else pipelines
        for pipeline in self.pipelines.values():
            _check_steps(pipeline)
        self.stop_work = stop_work
        """Stops the work of runs whose pipeline cannot, or that have none; None: it goes on."""
        self.started_at = time.time()
        self.metrics = RelayMetrics()
        self.limits = Limits(settings)
        self.half_open = HalfOpen(settings, self.metrics)
        self.bounds = settings.client_bounds()
        self.snapshot_cache = SnapshotCache()
        self.runlog = AsyncRunLog.from_settings(settings, list_data=settings.list_data)
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
            on_control=self._receive_control,
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
        self.returns = Returns()
        self.held: set[asyncio.Event] = set()
        """Events of held polling requests. Each is set when the relay shuts down, so that no request delays that."""
        self.answers_handshakes = False
        """Whether handshakes may be answered from their first bytes (see api/handshake.py): no other application's
        layer lies between the server and this relay."""
        self.failure: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._end_process = end_process

    @property
    def ready(self) -> bool:
        """Whether clients see the current state here: the link is up, and no task has died."""
        return self.failure is None and self.hub.link == "up" and not self.hub.closing

    @contextmanager
    def counted_request(self, address: str, run_id: str) -> Iterator[None]:
        """Count an HTTP request among the connections to a run for as long as the block takes.

        Raises:
            Refusal: 1012, this process has as many connections as it may have; 4429, the address or the run has.
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
        """Refuse an HTTP request that would read a run while too many joins wait for a read.

        Raises:
            Refusal: 4429.
        """
        if self.hub.is_crowded:
            self.metrics.refused += 1
            raise Refusal(CloseCode.TOO_MANY, "too many joins wait for their turn", 5)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the relay for as long as the block takes.

        Shutdown, in this order: refuse new clients, notify the connected ones and wait up to `drain_s` for them to go,
        let the senders take no more calls, cancel the tasks, close Redis. The same happens on cancellation.
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
        """A task of the relay has failed: close the clients, so that none sees stale state.

        If the process is not the relay's own, it goes on answering, so that /healthz, /readyz and the log say what
        happened. Otherwise it ends, and a supervisor starts another: a worker process without a working relay would
        keep its share of the port's connections.
        """
        self.failure = ListenerDown("a task of the relay has died")
        self.failure.__cause__ = error
        log.critical("a task of the relay has died; this process serves no clients any more", exc_info=error)
        self.hub.link_down()
        self._close_clients()
        if self._end_process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.drain_s):
                    await self.hub.empty.wait()
            log.critical("the process ends with code %d, so that another can be started", EXIT_CODE)
            self._end_process(EXIT_CODE)

    def send_away(self) -> None:
        """Refuse new clients, and let the connected ones go: sockets, streams and held requests. Waits for nothing."""
        if not self.hub.closing:
            self._close_clients()

    async def drain(self) -> None:
        """Refuse new clients, send the connected ones away, and wait up to `drain_s` for them to go."""
        if self.hub.closing:
            return
        self._close_clients()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_s):
                await self.hub.empty.wait()

    def _close_clients(self) -> None:
        self.hub.close(CloseCode.SERVICE_RESTART, retry_reason)
        for event in self.held:
            event.set()

    def _receive_control(self, message: dict[str, Any]) -> None:
        self.adopter.receive_control(message)
        if "deleted" in message:
            try:
                run_id = check_run_id(message["deleted"])
            except (TypeError, ValueError) as error:  # anybody may publish there
                log.debug("discarded a message about a deletion: %s", error)
                return
            self.snapshot_cache.forget(run_id)
            self.hub.feed.deleted(run_id)
            self.hub.check_run(run_id)
