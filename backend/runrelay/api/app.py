"""The application: `create_app` builds a whole one; `relay_router` is for another application."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI

from ..environment import warn_unknown_names
from ..pipelines import Pipeline
from ..relay.open_files import warn_if_too_few_files
from ..relay.relay import Relay
from ..relay.settings import Settings
from ..stopping import stop_work_of
from . import actions, health, runs, sse, websockets
from .cors import Cors
from .cut_short import CutShort
from .dashboard import dashboard_router
from .foreign_server import let_go_with_the_server
from .log_config import guarded_logs, one_line_per_connection
from .memory import giving_memory_back
from .problems import install_problems, responses
from .public_root import PublicRoot
from .router_relay import RouterRelay
from .server import drain_on_signals, end_with_supervisor

__all__ = ["create_app", "from_environment", "relay_router"]


@asynccontextmanager
async def _until_asked_to_end(relay: Relay, owns_process: bool) -> AsyncIterator[None]:
    """Within the block, the relay lets its clients go before the server closes them, or waits for them."""
    if owns_process:
        with drain_on_signals(relay), end_with_supervisor():
            yield
    else:
        async with let_go_with_the_server(relay):
            yield


def relay_router(
    settings: Settings | None = None,
    pipelines: dict[str, Pipeline] | None = None,
    *,
    dashboard: bool = False,
    celery_app: Any = None,
    owns_process: bool = False,
) -> APIRouter:
    """All routes of a relay. It starts and stops with the application's lifespan. Each router has a relay of its own.

    Include it in an application (do not mount it: the lifespan of a mounted application does not run). While the relay
    does not run, every request is answered with 503 and what is missing.

    Args:
        settings: read from the environment if absent.
        pipelines: by name; those of the entry points if absent.
        dashboard: also the dashboard's pages: `/`, `/runs/…`, `/new/…`, below the `prefix` of `include_router`.
        celery_app: the application whose tasks `send` and `canvas` send, or where it is (`shop.tasks:app`): with it a
            cancelled run's work is stopped. By default that of the settings, if it is named there.
        owns_process: the process is the relay's own: it ends only when the clients have gone (for `drain_s` at most),
            and it ends if the relay fails.
    """
    router, _ = _relay_router(settings or Settings(), pipelines, celery_app, owns_process)
    if dashboard:
        router.include_router(dashboard_router())
    return router


def _relay_router(
    chosen: Settings, pipelines: dict[str, Pipeline] | None, celery_app: Any, owns_process: bool
) -> tuple[APIRouter, RouterRelay]:
    own = RouterRelay()

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        if own.in_this_loop is not None:  # the router is included twice, under two prefixes
            yield {"runrelay": own.in_this_loop}
            return
        # `os._exit`, not an exception: the clients are closed already, and an orderly end may hang on what has failed.
        end_process = os._exit if owns_process else None
        stop_work = stop_work_of(celery_app or chosen.celery_app)
        relay = Relay(chosen, pipelines, stop_work=stop_work, end_process=end_process)
        with guarded_logs(chosen.log_lines_per_s):
            if not owns_process:  # else the command line has said it
                warn_unknown_names(os.environ)
            if owns_process:
                one_line_per_connection()
                warn_if_too_few_files(chosen.max_connections)
            async with relay.running():
                app.state.runrelay = relay  # for tests and debuggers; with two routers the one started last
                relay.answers_handshakes = owns_process
                if owns_process:
                    # A full garbage collection stops the loop: 20 to 60 ms with a thousand clients. So what exists now
                    # is frozen (no collection visits it again), and collections are made rare.
                    gc.collect()
                    gc.freeze()
                    gc.set_threshold(200_000, 20, 100)
                memory = giving_memory_back(lambda: relay.metrics.deliveries) if owns_process else nullcontext()
                async with _until_asked_to_end(relay, owns_process), memory:
                    with own.running(relay):
                        yield {"runrelay": relay}  # for the protocol classes of `runrelay serve`

    # FastAPI would describe its own answer to invalid input, which `install_problems` replaces.
    router = APIRouter(lifespan=lifespan, responses=responses(422))
    for routes in (runs.routes, actions.routes, sse.routes, websockets, health.routes):
        router.include_router(routes.router(own))
    return router, own


def create_app(
    settings: Settings | None = None,
    pipelines: dict[str, Pipeline] | None = None,
    *,
    celery_app: Any = None,
    owns_process: bool = False,
) -> FastAPI:
    """The relay as an application of its own: routes, problem documents, CORS, the dashboard."""
    chosen = settings or Settings()
    app = FastAPI(
        title="Runrelay",
        version=version("runrelay"),
        description="Live progress of background jobs. The WebSocket protocol is in docs/contract.md.",
    )
    app.add_middleware(Cors, allowed_origins=chosen.allowed_origins)
    app.add_middleware(CutShort)
    router, relay = _relay_router(chosen, pipelines, celery_app, owns_process)
    app.add_middleware(websockets.WebSocketShortcut, relay=relay)
    app.add_middleware(PublicRoot, root_path=chosen.root_path)
    install_problems(app)
    app.include_router(router)
    if chosen.dashboard:
        app.include_router(dashboard_router())
    return app


def from_environment() -> FastAPI:
    """The application with settings from the environment, for `runrelay serve` and uvicorn's `--factory`."""
    return create_app(owns_process=True)
