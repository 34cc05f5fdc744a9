"""Health and statistics: /healthz, /readyz, /metrics, /api/stats."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any

from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..errors import RunlogUnavailable
from ..relay.relay import Relay
from .dependencies import ListGrant, RelayOf
from .problems import Problem, ProblemRoute, responses
from .route_table import RouteTable
from .runs import json_response

__all__ = ["routes"]

routes = RouteTable(ProblemRoute, tags=["operation"])


@routes.get("/healthz", summary="The relay is alive", response_class=PlainTextResponse, responses=responses(503))
async def healthz(relay: RelayOf) -> str:
    """Whether the process and the relay in it are alive. A relay that has failed does not recover: restart the
    process.
    """
    if relay.failure is not None:
        raise Problem(503, f"{relay.failure}: {relay.failure.__cause__}")
    return "ok\n"


@routes.get(
    "/readyz", summary="Clients see the current state", response_class=PlainTextResponse, responses=responses(503)
)
async def readyz(relay: RelayOf) -> str:
    """Whether this process receives the channel's messages, reads runs and accepts clients; if not, why.

    If Redis refuses only what is needed for writing, the process is ready: it shows runs. The refusal is said after
    `but:`.
    """
    listener = relay.listener
    if relay.ready:
        return f"ready\nbut: {listener.remark}\n" if listener.remark else "ready\n"
    if relay.failure is not None:
        why = f"{relay.failure}: {relay.failure.__cause__}"
    elif relay.hub.closing:
        why = "shutting down"
    else:
        why = f"{listener.trouble or 'the listener receives nothing from Redis'} (for {listener.trouble_s:.0f} s)"
    raise Problem(503, why, headers={"Retry-After": "2"})


def _gauges(relay: Relay) -> dict[str, int]:
    return {
        "connections": relay.limits.total,
        "half_open": relay.half_open.total,
        "runs_watched": relay.hub.topics,
        "link_up": int(relay.hub.link == "up"),
    }


@routes.get("/api/stats", summary="Counters of this process", responses=responses(401, 403))
async def stats(relay: RelayOf, grant: ListGrant) -> Response:
    """Counters and gauges of this process; `given_up` is of all publishers."""
    return json_response(
        {
            "relay": relay.listener.relay_id,
            "pid": os.getpid(),
            "uptime_s": round(time.time() - relay.started_at, 3),
            "ready": relay.ready,
            **_gauges(relay),
            **relay.metrics.to_json(),
            "given_up": await _given_up(relay),
        }
    )


async def _given_up(relay: Relay) -> dict[str, Any] | None:
    """Of all publishers on this Redis, in the last days. None: nothing, or Redis is away."""
    if relay.hub.link != "up":
        return None
    try:
        async with asyncio.timeout(1.0):
            found = await relay.runlog.given_up()
    except (RunlogUnavailable, TimeoutError):
        return None
    return None if found is None else found._asdict()


class _RelayCollector(Collector):
    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def collect(self) -> Iterator[Metric]:
        for name, value in _gauges(self._relay).items():
            yield GaugeMetricFamily(f"runrelay_{name}", name.replace("_", " "), value)
        for name, value in self._relay.metrics.to_json().items():
            yield CounterMetricFamily(f"runrelay_{name}", name.replace("_", " "), value)


@routes.get("/metrics", summary="The same for Prometheus", response_class=PlainTextResponse)
async def metrics(relay: RelayOf) -> Response:
    """Counters and gauges in the Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(_RelayCollector(relay))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")
