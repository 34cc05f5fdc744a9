"""Reading runs over HTTP: one run (polling), the list of runs, a log, files."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

import orjson
from fastapi import Header, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import BeforeValidator

from ..errors import RunlogUnavailable, RunNotFound
from ..fanout.frames import Frame, progress_frames
from ..files import check_file_name, file_of
from ..progress import ACTIVE, MAX_SNAPSHOT_BYTES, STATUSES, Cursor, Snapshot, fitted
from ..progress.fields import RUN_FIELDS
from ..progress.sizes import cut_as_json
from ..relay.addresses import address_of
from ..relay.relay import Relay
from ..runlog import LogPage, RunView
from ..runlog.reads import MAX_WHOLE
from .dependencies import ListGrant, RelayOf, RunGrant, RunId, cursor_of
from .file_response import RunFile
from .log_text import disposition, text_of
from .problems import RETRY_AFTER_S, Problem, ProblemRoute, responses
from .route_table import RouteTable

__all__ = ["routes"]

routes = RouteTable(ProblemRoute, tags=["runs"])

_MAX_WAIT_S = 60
_EVENT_BYTES = MAX_SNAPSHOT_BYTES
"""Missed events up to the size of a snapshot; if there are more, the snapshot alone is cheaper."""
_PAGE = 200
_PAGE_BY_DEFAULT = 50
_MAX_SCANNED = 5_000
_MOST_LINES = 1_000
_ERROR_BYTES = 2_048
"""Of an earlier attempt's error, as in a summary."""

_EXAMPLE = {
    **Snapshot("20251105_1430_우주여행고양이", Cursor("k3x9m2p7q1za", 7)).polled(),
    **{name: kept.example for name, kept in RUN_FIELDS.items()},
    "logs": ["시나리오 CSV 생성 완료"],
    "log_lines": [
        {"seq": 7, "ts": 1762300003000, "level": "info", "step": "plan", "message": "시나리오 CSV 생성 완료"}
    ],
}
_LOG_PAGE = {
    "run_id": "20251105_1430_우주여행고양이",
    "lines": [{"n": 7, **_EXAMPLE["log_lines"][0]}],
    "logs_trimmed": 0,
    "total": 7,
}
_SUMMARY = {name: _EXAMPLE[name] for name in Snapshot("").summary()}


def _empty_is(default: Any) -> BeforeValidator:
    """An empty value counts as absent: a form sends `?status=&limit=`."""
    return BeforeValidator(lambda given: default if given == "" else given)


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response that must not be cached."""
    return Response(
        orjson.dumps(body), status, {"Cache-Control": "no-store", **(headers or {})}, media_type="application/json"
    )


@routes.get(
    "/api/runs/{run_id}",
    summary="A run, as it is now",
    responses={
        200: {"content": {"application/json": {"example": _EXAMPLE}}, "description": "The snapshot."},
        304: {"description": "Nothing has changed since `If-None-Match`."},
        **responses(400, 401, 403, 404, 409, 429, 502, 503),
    },
)
async def poll(
    request: Request,
    relay: RelayOf,
    run_id: RunId,
    grant: RunGrant,
    after: Annotated[str | None, Query(description="A cursor: adds `events` and `recovered`.")] = None,
    attempt: Annotated[int | None, Query(ge=1, description="An earlier attempt of the run, in place of it.")] = None,
    wait: Annotated[float, Query(ge=0, le=_MAX_WAIT_S, description="Seconds to wait for a change.")] = 0,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The snapshot. With `wait`, the answer is held until the run's cursor differs from `after` or `If-None-Match`.

    While it is held, the request counts as a connection.
    """
    relay.check_room()
    cursor = cursor_of(after)
    tags = None if if_none_match is None else _tags(if_none_match)
    try:
        view = await _read(relay, run_id, cursor)
        if wait and (_is_known(view, tags) if cursor is None else view.snapshot.cursor == cursor):
            with relay.counted_request(address_of(request), run_id):
                view = await _wait_for_change(relay, request, run_id, cursor, view.snapshot.cursor, wait)
    except RunlogUnavailable as error:
        return _answer_from_cache(relay, run_id, error)
    snapshot = view.snapshot
    if not snapshot.exists:
        raise RunNotFound(run_id)
    if attempt is not None and attempt != snapshot.attempt:
        return json_response(await _past_attempt(relay, run_id, snapshot.attempt, attempt))
    etag = f'"{snapshot.cursor}"'
    if tags is not None and _is_known(view, tags):
        return Response(status_code=304, headers={"ETag": etag, "Cache-Control": "no-store"})
    body = fitted(snapshot.polled())
    if cursor is not None:
        events = view.events
        frames = None if events is None else progress_frames(events, run_id, cursor, snapshot.cursor)
        body = _with_events(body, frames)
    past = await relay.runlog.attempts(run_id, snapshot.attempt)
    if past:
        body = b'%b,"attempts":%b}' % (body[:-1], orjson.dumps([_without_result(one) for one in past]))
    return json_response(orjson.Fragment(body), headers={"ETag": etag})


async def _past_attempt(relay: Relay, run_id: str, current: int, attempt: int) -> dict[str, Any]:
    for one in await relay.runlog.attempts(run_id, current):
        if one["attempt"] == attempt:
            return {"run_id": run_id, **one}
    raise Problem(404, f"attempt {attempt} of run {run_id!r} is not kept: it is at attempt {current}")


def _without_result(attempt: dict[str, Any]) -> dict[str, Any]:
    """An attempt as the snapshot lists it: its result, which may be large, is read by `?attempt=`."""
    error = attempt["error"]
    return {
        **{name: value for name, value in attempt.items() if name != "result"},
        "error": None if error is None else cut_as_json(error, _ERROR_BYTES),
        "has_result": attempt["result"] is not None,
    }


def _with_events(snapshot: bytes, frames: Sequence[Frame] | None) -> bytes:
    """A polled snapshot with these events; if they are more than 512 KiB, with `recovered: false`."""
    bodies = [frame.body for frame in frames or ()]
    whole = frames is not None and sum(map(len, bodies)) <= _EVENT_BYTES
    events = b",".join(bodies) if whole else b""
    return b'%b,"events":[%b],"recovered":%b}' % (snapshot[:-1], events, b"true" if whole else b"false")


async def _read(relay: Relay, run_id: str, cursor: Cursor | None) -> RunView:
    if relay.hub.link == "down" and relay.snapshot_cache.get(run_id) is not None:
        # Answer from the cache at once: otherwise every polling request would wait for a time-out.
        raise RunlogUnavailable("the relay has lost Redis")
    view = await relay.runlog.read(run_id, cursor, event_bytes=_EVENT_BYTES)
    if view.snapshot.exists:
        relay.snapshot_cache.keep(view.snapshot)
    else:
        relay.snapshot_cache.forget(run_id)
    return view


def _tags(if_none_match: str) -> frozenset[str]:
    """The header's tags without quotes; weak tags are compared like strong ones (RFC 9110, section 13.1.2)."""
    return frozenset(tag.strip().removeprefix("W/").strip('"') for tag in if_none_match.split(","))


def _is_known(view: RunView, tags: frozenset[str] | None) -> bool:
    """Whether the client has this view already; a client without tags (None) has every view."""
    return tags is None or str(view.snapshot.cursor) in tags or "*" in tags


async def _wait_for_change(
    relay: Relay, request: Request, run_id: str, cursor: Cursor | None, known: Cursor, wait_s: float
) -> RunView:
    async with relay.hub.changes(run_id) as changed:
        gone = asyncio.create_task(_gone(request, changed), name="poll disconnect")
        relay.held.add(changed)
        try:
            deadline = asyncio.get_running_loop().time() + wait_s
            while True:
                changed.clear()
                view = await _read(relay, run_id, cursor)  # after registering: an earlier change is in it
                if view.snapshot.cursor != known or relay.hub.closing or gone.done():
                    return view
                try:
                    async with asyncio.timeout_at(deadline):
                        await changed.wait()
                except TimeoutError:
                    return view
        finally:
            relay.held.discard(changed)
            gone.cancel()
            await asyncio.wait([gone])


async def _gone(request: Request, changed: asyncio.Event) -> None:
    """Wait until the client has gone, then end the wait of its held request."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    changed.set()


def _answer_from_cache(relay: Relay, run_id: str, error: RunlogUnavailable) -> Response:
    snapshot = relay.snapshot_cache.get(run_id)
    if snapshot is None:
        raise error
    body = orjson.Fragment(fitted({**snapshot.polled(), "stale": True}))
    return json_response(body, headers={"Retry-After": str(RETRY_AFTER_S)})


@routes.get(
    "/api/runs",
    summary="The list of runs, newest first",
    responses={
        200: {
            "content": {"application/json": {"example": {"runs": [_SUMMARY], "next_cursor": None}}},
            "description": "A page of summaries.",
        },
        **responses(400, 401, 403, 422, 502, 503),
    },
)
async def list_runs(
    relay: RelayOf,
    grant: ListGrant,
    status: Annotated[
        Literal["active", "ended", "queued", "running", "retrying", "stalled", "succeeded", "failed", "cancelled"]
        | None,
        _empty_is(None),
        Query(description="A status, or `active`: all that have not ended, or `ended`."),
    ] = None,
    pipeline: Annotated[str | None, Query(max_length=200)] = None,
    q: Annotated[str | None, Query(max_length=200, description="Part of the run id or the title.")] = None,
    limit: Annotated[int, _empty_is(_PAGE_BY_DEFAULT), Query(ge=1, le=_PAGE)] = _PAGE_BY_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")] = None,
) -> Response:
    """A page of the list. Runs that have expired are left out, and removed from the list."""
    position = _list_position(cursor)
    wanted = _statuses(status)
    found: list[dict[str, Any]] = []
    scanned = 0
    while scanned < _MAX_SCANNED:
        page = await relay.runlog.listed(position, _PAGE)
        rows = await relay.runlog.summaries([run_id for run_id, _ in page])
        gone = []
        for (run_id, score), (snapshot, _) in zip(page, rows, strict=True):
            position = (score, run_id)
            scanned += 1
            if snapshot is None:
                gone.append(run_id)
            elif snapshot.status in wanted and _matches(snapshot, pipeline, q):
                found.append(snapshot.summary())
                if len(found) == limit:
                    break
        await relay.runlog.unlist(gone)
        if len(found) == limit:
            break
        if len(page) < _PAGE:
            position = None
            break
    return json_response({"runs": found, "next_cursor": None if position is None else _list_cursor(position)})


def _statuses(status: str | None) -> frozenset[str]:
    if status is None:
        return frozenset(STATUSES)
    if status == "active":
        return frozenset(ACTIVE)
    if status == "ended":
        return frozenset(STATUSES) - ACTIVE
    return frozenset((status,))


def _matches(snapshot: Snapshot, pipeline: str | None, q: str | None) -> bool:
    if pipeline and snapshot.pipeline != pipeline:
        return False
    return not q or q.casefold() in snapshot.run_id.casefold() or q.casefold() in (snapshot.title or "").casefold()


def _list_cursor(position: tuple[int, str]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


def _list_position(cursor: str | None) -> tuple[int, str] | None:
    if not cursor:
        return None
    try:
        score, run_id = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if type(score) is not int or type(run_id) is not str:
            raise ValueError
    except (ValueError, TypeError, binascii.Error) as error:
        raise Problem(400, f"cursor must be the next_cursor of a page before, got {cursor[:80]!r}") from error
    return score, run_id


@routes.get(
    "/api/runs/{run_id}/logs",
    summary="A run's log, as text or page by page",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {
                "text/plain": {"schema": {"type": "string"}},
                "application/json": {"example": _LOG_PAGE},
            },
            "description": "All lines that are kept; with `before` or `limit` a page of them.",
        },
        **responses(400, 401, 403, 404, 409, 422, 502, 503),
    },
)
async def logs(
    relay: RelayOf,
    run_id: RunId,
    grant: RunGrant,
    before: Annotated[
        int | None, Query(ge=1, le=MAX_WHOLE, description="The lines right before the line of this number.")
    ] = None,
    limit: Annotated[int | None, Query(ge=1, le=_MOST_LINES, description="Lines at most, 1,000 by default.")] = None,
    details: Annotated[bool, Query(description="Each line of the text begins with its time, level and step.")] = False,
) -> Response:
    """All kept lines as text, as a file named after the run; with `before` or `limit` at most 256 KiB of them as JSON.

    A line has its number in the run for good, counted from 1 over all attempts.
    """
    if before is not None or limit is not None:
        page = await relay.runlog.log_page(run_id, before, limit or _MOST_LINES)
        if page is None:
            raise RunNotFound(run_id)
        return json_response(_page_json(run_id, page))
    view = await relay.runlog.read(run_id, log_lines=MAX_WHOLE, log_bytes=1 << 30)
    if not view.snapshot.exists:
        raise RunNotFound(run_id)

    async def text() -> AsyncIterator[str]:
        for line in view.snapshot.logs:
            yield text_of(line, details) + "\n"

    headers = {"Content-Disposition": disposition(run_id), "Cache-Control": "no-store"}
    return StreamingResponse(text(), media_type="text/plain; charset=utf-8", headers=headers)


def _page_json(run_id: str, page: LogPage) -> dict[str, Any]:
    lines = [{"n": number, **line.to_json()} for number, line in enumerate(page.lines, page.first)]
    return {"run_id": run_id, "lines": lines, "logs_trimmed": page.trimmed, "total": page.total}


@routes.get(
    "/api/runs/{run_id}/files/{name}",
    summary="A file that a run made",
    response_class=FileResponse,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The file."},
        206: {"description": "The part that `Range` asked for."},
        **responses(400, 401, 403, 404, 416),
    },
)
async def file(relay: RelayOf, run_id: RunId, name: str, grant: RunGrant) -> Response:
    """A file, whole or in part."""
    try:
        check_file_name(name)
    except ValueError as error:
        raise Problem(400, str(error)) from error
    path = await asyncio.to_thread(file_of, relay.settings.files, run_id, name)
    if path is None:
        raise Problem(404, f"run {run_id!r} has no file {name!r}")
    # The file may be an HTML page: it must not run with our origin.
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
    return RunFile(path, headers=headers, content_disposition_type="inline", filename=name)
