"""Actions on runs over HTTP: start, cancel, retry, delete."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any
from urllib.parse import quote

import orjson
from fastapi import Body, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field, ValidationError

from ..errors import RunlogError, RunlogUnavailable, RunNotFound
from ..files import delete_files, run_folder
from ..pipelines import Pipeline
from ..progress import Event, Snapshot, check_run_id, is_ended, make_event, step_specs
from ..progress.checks import MAX_RESULT_BYTES
from ..progress.depth import MAX_DEPTH, depth_of
from ..relay.relay import Relay
from ..relay.senders import SendersBusy
from .bodies import BodyRoute
from .dependencies import ListGrant, RelayOf, RunGrant, RunId
from .problems import Problem, responses
from .route_table import RouteTable
from .runs import json_response

__all__ = ["routes"]

log = logging.getLogger(__name__)

_GOES_ON = (
    "the run is shown as cancelled, but its work is not stopped: this relay knows no Celery application; name it in "
    "RUNRELAY_CELERY_APP or router(celery_app=…)"
)
routes = RouteTable(BodyRoute, tags=["runs"])


class StartRequest(BaseModel):
    """Which pipeline to start, with which input."""

    pipeline: str = Field(examples=["shorts"], max_length=200)
    input: dict[str, Any] = Field(default_factory=dict, examples=[{"prompt": "우주여행 고양이", "locale": "ko"}])
    run_id: str | None = Field(None, examples=["20251105_1430_우주여행고양이"], description="Made if absent.")


@routes.get(
    "/api/pipelines",
    summary="What can be started",
    responses={
        200: {
            "content": {
                "application/json": {
                    "example": {"pipelines": [{"name": "shorts", "title": "Short film", "input_schema": {}}]}
                }
            },
            "description": "Names and input schemas.",
        },
        **responses(401, 403),
    },
)
async def pipelines(relay: RelayOf, grant: ListGrant) -> Response:
    """All pipelines that are installed in the relay, each with the JSON schema of its input.

    `cancellable`: whether cancelling such a run stops its work; beside `pipelines`, a run of none of them.
    """
    found = [
        {
            "name": pipeline.name,
            "title": pipeline.title,
            "description": pipeline.description,
            "cancellable": pipeline.cancel is not None or relay.stop_work is not None,
            "steps": list(pipeline.steps),
            "input_schema": pipeline.input_model.model_json_schema(),
        }
        for pipeline in relay.pipelines.values()
    ]
    return json_response({"pipelines": found, "cancellable": relay.stop_work is not None})


@routes.post(
    "/api/runs",
    status_code=202,
    summary="Start a run",
    responses={
        202: {
            "content": {
                "application/json": {
                    "example": {
                        "run_id": "20251105_1430_우주여행고양이",
                        "links": {"ws": "/ws/…", "events": "/api/runs/…/events", "self": "/api/runs/…"},
                    }
                }
            },
            "description": "The run is queued, and its work is sent.",
        },
        **responses(400, 401, 403, 404, 409, 413, 422, 502, 503),
    },
)
async def start(relay: RelayOf, grant: ListGrant, request: Request, body: Annotated[StartRequest, Body()]) -> Response:
    """Queue a run, then send its work. If the work cannot be sent, the run ends as FAILED and the answer is 503."""
    pipeline = relay.pipelines.get(body.pipeline)
    if pipeline is None:
        known = ", ".join(relay.pipelines) or "none is installed"
        raise Problem(404, f"no pipeline {body.pipeline!r}; there are: {known}")
    try:
        run_id = check_run_id(body.run_id if body.run_id is not None else _new_run_id(pipeline))
    except (TypeError, ValueError) as error:
        raise Problem(400, str(error)) from error
    value = _input(pipeline, body.input)
    encoded = value.model_dump_json().encode()
    if len(encoded) > MAX_RESULT_BYTES:
        raise Problem(413, f"input must be at most {MAX_RESULT_BYTES} bytes of JSON, got {len(encoded)}")
    event = Event(
        _now_ms(),
        state="QUEUED",
        kind="queue",
        precondition="absent",
        title=(pipeline.title_of(value) if pipeline.title_of else pipeline.title)[:200],
        pipeline=pipeline.name,
        steps=step_specs(pipeline.steps) or None,
        input=encoded,
    )
    with _sender(relay):
        done = await relay.runlog.commit(run_id, [event])
        await _send(relay, pipeline, run_id, value, done.attempt)
    root, name = _root(request), quote(run_id, safe="")
    links = {"ws": f"{root}/ws/{name}", "events": f"{root}/api/runs/{name}/events", "self": f"{root}/api/runs/{name}"}
    return json_response({"run_id": run_id, "links": links}, 202, {"Location": links["self"]})


def _root(request: Request) -> str:
    """The prefix of our paths: where the application is mounted, and the prefix of its router."""
    mounted: str = request.scope.get("root_path", "")
    path: str = request.scope["path"]
    # Servers include the root path in the path; FastAPI(root_path=…) does not.
    return quote((path if path.startswith(mounted) else mounted + path).removesuffix("/api/runs"))


def _new_run_id(pipeline: Pipeline) -> str:
    return f"{time.strftime('%Y%m%d_%H%M%S')}_{pipeline.name}_{secrets.token_hex(3)}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _input(pipeline: Pipeline, value: object) -> BaseModel:
    if depth_of(value) > MAX_DEPTH:  # it is encoded, stored and validated by the pipeline's model
        message = f"input must be at most {MAX_DEPTH} levels deep"
        raise Problem(422, f"input: {message}", errors=[{"where": ["input"], "message": message}])
    try:
        return pipeline.input_model.model_validate(value)
    except ValidationError as error:
        errors = [
            {"where": ["input", *(str(part) for part in item["loc"])], "message": item["msg"]}
            for item in error.errors()
        ]
        detail = "; ".join(f"{'.'.join(e['where'])}: {e['message']}" for e in errors)
        raise Problem(422, detail, errors=errors) from error


@contextmanager
def _sender(relay: Relay) -> Iterator[None]:
    """Reserve a sender before anything is committed. If there is none, the answer is 503, and nothing was done."""
    try:
        with relay.senders.reserve():
            yield
    except SendersBusy as error:
        raise Problem(503, f"nothing can be sent now: {error}", headers={"Retry-After": "5"}) from error


async def _send(relay: Relay, pipeline: Pipeline, run_id: str, value: BaseModel, attempt: int) -> None:
    """Send the work to the broker. If that fails, the run ends as FAILED, and work that arrives late does not begin."""
    try:
        await relay.senders.call(pipeline.start, run_id, value, attempt)
    except asyncio.CancelledError:
        with suppress(RunlogError):
            await relay.withdrawals.withdraw(run_id, attempt, "the relay was stopped")
        raise
    except Exception as error:
        log.warning("the work of run %r could not be sent", run_id, exc_info=error)
        reason = f"{type(error).__name__}: {error}"
        if await relay.withdrawals.withdraw(run_id, attempt, reason):
            raise Problem(
                503, f"run {run_id!r} could not be sent: {reason}", headers={"Retry-After": "5"}, run_id=run_id
            ) from error
        log.info("the work of run %r was sent after all: the run has begun", run_id)


@routes.post(
    "/api/runs/{run_id}/cancel",
    status_code=202,
    summary="Stop a run",
    responses={
        202: {
            "content": {
                "application/json": {
                    "example": {"run_id": "20251105_1430_우주여행고양이", "status": "cancelled", "stops_work": True}
                }
            },
            "description": "The run is cancelled. `stops_work`: whether its work is being stopped.",
        },
        **responses(400, 401, 403, 404, 409, 502, 503),
    },
)
async def cancel(relay: RelayOf, run_id: RunId, grant: RunGrant) -> Response:
    """End a run as CANCELLED, then stop its work. Later events of the work are fenced: they come after the end.

    The relay can stop the work if the run's pipeline can, or if it was told the Celery application.
    """
    # Read first: if the read failed after the commit, the run would have ended and its work could not be stopped.
    snapshot = (await relay.runlog.read(run_id, log_lines=0)).snapshot
    event = make_event("CANCELLED", log="cancelled")._replace(precondition="unfinished")
    stop = _stop_of(relay, snapshot)
    if stop is None:
        done = await relay.runlog.commit(run_id, [event])
        return json_response({"run_id": run_id, "status": done.status, "stops_work": False, "detail": _GOES_ON}, 202)
    with _sender(relay):
        done = await relay.runlog.commit(run_id, [event])
        try:
            await relay.senders.call(stop, run_id, done.attempt)
        except Exception as error:
            log.warning("the work of run %r could not be stopped", run_id, exc_info=error)
            raise Problem(
                503, f"run {run_id!r} is cancelled, but its work could not be stopped: {error}", run_id=run_id
            ) from error
    return json_response({"run_id": run_id, "status": done.status, "stops_work": True}, 202)


def _stop_of(relay: Relay, snapshot: Snapshot) -> Callable[[str, int], object] | None:
    """How the work of a run is stopped, by its pipeline or by the Celery application. None: this relay cannot."""
    pipeline, stop_work = relay.pipelines.get(snapshot.pipeline or ""), relay.stop_work
    if pipeline is not None and pipeline.cancel is not None:
        return pipeline.cancel
    if stop_work is None:
        return None
    steps = [step.name for step in snapshot.steps]
    return lambda run_id, attempt: stop_work(run_id, attempt, steps)


@routes.post(
    "/api/runs/{run_id}/retry",
    status_code=202,
    summary="Do an ended run again",
    responses={
        202: {"description": "The new attempt is queued, and its work is sent."},
        **responses(400, 401, 403, 404, 409, 422, 502, 503),
    },
)
async def retry(relay: RelayOf, run_id: RunId, grant: RunGrant) -> Response:
    """Queue the run's next attempt with the same input. `seq` and the log continue."""
    view = await relay.runlog.read(run_id, log_lines=0)
    if not view.snapshot.exists:
        raise RunNotFound(run_id)
    pipeline = relay.pipelines.get(view.snapshot.pipeline or "")
    if pipeline is None or view.input is None:
        raise Problem(409, f"run {run_id!r} was not started here, so it cannot be started again")
    value = _input(pipeline, orjson.loads(view.input))
    event = Event(
        _now_ms(), state="QUEUED", kind="queue", precondition="ended", steps=step_specs(pipeline.steps) or None
    )
    with _sender(relay):
        done = await relay.runlog.commit(run_id, [event])
        await _send(relay, pipeline, run_id, value, done.attempt)
    return json_response({"run_id": run_id, "attempt": done.attempt}, 202)


@routes.delete(
    "/api/runs/{run_id}",
    status_code=204,
    summary="Delete an ended run, with its files",
    response_class=Response,
    responses=responses(400, 401, 403, 404, 409, 502, 503),
)
async def delete(relay: RelayOf, run_id: RunId, grant: RunGrant) -> Response:
    """Delete a run's log and files; if the log has expired, the files."""
    status = await relay.runlog.delete(run_id)
    if status is None and not await asyncio.to_thread(run_folder(relay.settings.files, run_id).exists):
        raise RunNotFound(run_id)
    if status is not None and not is_ended(status):
        raise Problem(409, f"run {run_id!r} is {status}: only an ended run can be deleted", run_status=status)
    await asyncio.to_thread(delete_files, relay.settings.files, run_id)
    try:
        await relay.listener.send({"deleted": run_id})
    except RunlogUnavailable as error:  # it is deleted; clients read the list again after an outage
        log.warning("the other relays could not be notified that run %r is deleted: %s", run_id, error)
    return Response(status_code=204)
