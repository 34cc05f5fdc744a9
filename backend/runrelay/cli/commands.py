"""The commands. Each imports its modules when it runs, so that `runrelay --help` is quick."""

from __future__ import annotations

import asyncio
import inspect
import os
import shlex
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..progress.fields import EVENT_FIELDS, GIVEN
from .terminal import STYLES, check_redis_url, err, fail, out, settings

__all__ = ["app"]

app = typer.Typer(
    name="runrelay",
    help="Live progress of background jobs. Settings come from the environment: REDIS_URL, PORT, RUNRELAY_…",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_PIPE_WIDTH = 10_000
_PIPELINES = "pipelines.app:app"
_LOG_LEVELS = ("debug", "info", "warning", "error")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"runrelay {version('runrelay')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself."""


@app.command()
def dev(
    port: Annotated[
        int, typer.Option(envvar="PORT", min=1, max=65535, help="Port of the relay and the dashboard.")
    ] = 8000,
    host: Annotated[str, typer.Option(envvar="RUNRELAY_HOST", help="Address to listen on.")] = "127.0.0.1",
    state: Annotated[Path, typer.Option(help="Folder that keeps runs and files across restarts.")] = Path(".runrelay"),
    worker: Annotated[bool, typer.Option(help="Also start a Celery worker for the pipelines.")] = True,
    concurrency: Annotated[int, typer.Option(min=1, help="Processes of the worker.")] = 2,
    reload: Annotated[bool, typer.Option(help="Restart when sources change.")] = False,
) -> None:
    """Everything on this machine: an embedded Valkey (without REDIS_URL), the relay, a worker, the dashboard."""
    import logging

    from .dev import run_all
    from .embedded_valkey import EmbeddedValkeyError

    # the embedded server's warnings are printed on the same stream, before its URL
    logging.basicConfig(stream=sys.stdout, format="%(levelname)s: %(message)s")
    if worker and (missing := _missing_for_a_worker(os.environ.get("RUNRELAY_CELERY_APP", _PIPELINES))):
        raise fail(f"{missing}; or start without a worker: --no-worker")
    keys = settings().keys()  # checks the environment before anything is started
    try:
        code = run_all(
            host=host,
            port=port,
            state=state,
            worker=worker,
            reload=reload,
            concurrency=concurrency,
            channel=keys.channel,
            print_line=lambda line: out.print(escape(line), soft_wrap=True),
        )
    except EmbeddedValkeyError as error:
        raise fail(error) from None
    except OSError as error:
        raise fail(f"cannot use {error.filename or state}: {error.strerror}") from None
    raise typer.Exit(code)


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; PORT or 8000 by default.")] = None,
    host: Annotated[str | None, typer.Option(help="Address; RUNRELAY_HOST or 127.0.0.1 by default.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Relay processes on this port.")] = 1,
    reload: Annotated[bool, typer.Option(help="Restart when sources change.")] = False,
    root_path: Annotated[
        str | None, typer.Option(help="Path under which a proxy serves it, as /relay; RUNRELAY_ROOT_PATH by default.")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """The relay: WebSocket, SSE, polling, API, dashboard. Needs a Redis or Valkey (REDIS_URL)."""
    import uvicorn.config

    from ..api.log_config import log_config
    from ..api.server import plain_path_reason
    from ..api.server import serve as run

    if port is not None:
        os.environ["PORT"] = str(port)
    if host is not None:
        os.environ["RUNRELAY_HOST"] = host
    if root_path is not None:
        os.environ["RUNRELAY_ROOT_PATH"] = root_path
    if log_level not in _LOG_LEVELS:
        raise fail(f"log level must be one of {', '.join(_LOG_LEVELS)}, got {log_level!r}")
    # uvicorn passes this dictionary to each process that it starts, and configures logging there from it alone
    uvicorn.config.LOGGING_CONFIG.update(log_config(log_level))
    given = settings()
    if (reason := plain_path_reason()) is not None:
        err.print(escape(reason), style="yellow", soft_wrap=True)
    run(given, workers=workers, reload=reload, sources=_sources(), log_level=log_level)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def worker(
    context: typer.Context,
    application: Annotated[
        str, typer.Option("--app", "-A", envvar="RUNRELAY_CELERY_APP", help="The Celery application.")
    ] = _PIPELINES,
    concurrency: Annotated[int, typer.Option(min=1)] = 2,
    reload: Annotated[bool, typer.Option(help="Restart when sources change.")] = False,
) -> None:
    """A Celery worker (further arguments go to `celery worker`)."""
    from ..settings import PublisherSettings

    if missing := _missing_for_a_worker(application):
        raise fail(missing)
    try:  # one line here; Celery would print the traceback of an import
        check_redis_url(PublisherSettings.from_env(os.environ).redis_url)
    except ValueError as error:
        raise fail(error) from None
    arguments = ["-A", application, "worker", "--concurrency", str(concurrency), "--loglevel", "info", *context.args]
    command = [sys.executable, "-m", "celery", *arguments]
    if reload:
        try:
            from watchfiles import PythonFilter, run_process
        except ModuleNotFoundError:
            raise fail("--reload of a worker needs watchfiles: pip install watchfiles") from None
        # Python files only: the dashboard is built into one of the folders, and the worker does not need it
        run_process(*_sources(), target=shlex.join(command), target_type="command", watch_filter=PythonFilter())
    else:
        os.execv(sys.executable, command)  # noqa: S606 - without a shell, on purpose


def _sources() -> list[str]:
    """Folders to watch for changes. The current folder as a whole has too much else in it (node_modules, data)."""
    return [name for name in ("backend", "workers") if Path(name).is_dir()] or ["."]


def _missing_for_a_worker(application: str) -> str | None:
    if find_spec("celery") is None:
        return "a worker needs the extra 'celery': pip install 'runrelay[celery]'"
    # the worker also imports from the folder that it starts in
    if application == _PIPELINES and find_spec("pipelines") is None and not Path("pipelines").exists():
        return f"no Celery application {application} here: name yours in RUNRELAY_CELERY_APP, as in shop.tasks:app"
    return None


@app.command()
def tail(
    run_id: str,
    raw: Annotated[bool, typer.Option(help="Print the channel's messages as they are, without redis-cli.")] = False,
    after: Annotated[str | None, typer.Option(help="Start after this cursor.")] = None,
) -> None:
    """Follow a run until it ends."""
    import logging

    from ..errors import RunrelayError
    from ..progress import check_run_id, parse_cursor
    from .tail import follow, follow_raw

    logging.getLogger("runrelay").setLevel(logging.ERROR)  # Redis' state is printed between the run's lines
    try:
        check_run_id(run_id)
        cursor = None if after is None else parse_cursor(after)
    except ValueError as error:
        raise fail(error) from None
    try:
        asyncio.run(follow_raw(settings(), run_id) if raw else follow(settings(), run_id, cursor))
    except RunrelayError as error:
        raise fail(error) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def runs(
    status: Annotated[str | None, typer.Option(help="active, running, failed, …")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
) -> None:
    """List the runs, the last updated first."""
    from ..errors import RunrelayError
    from ..progress import ACTIVE, STATUSES

    if status is not None and status not in (*STATUSES, "active"):
        raise fail(f"status must be active or one of {', '.join(STATUSES)}, got {status!r}")
    wanted: set[str] = set(STATUSES) if status is None else set(ACTIVE) if status == "active" else {status}
    try:
        rows = asyncio.run(_listed(wanted, limit))
    except RunrelayError as error:
        raise fail(error) from None
    table = Table(box=None, pad_edge=False)
    for column in ("run", "status", "state", "progress", "updated"):
        table.add_column(column, overflow="fold" if column == "run" else "ellipsis")
    for snapshot in rows:
        ago_s = max(0, time.time() - (snapshot.updated_at or 0) / 1000)
        table.add_row(
            escape(snapshot.run_id),
            f"[{STYLES[snapshot.status]}]{snapshot.status}[/]",
            escape(snapshot.state or ""),
            "" if snapshot.progress is None else f"{snapshot.progress:.0%}",
            f"{ago_s:.0f} s ago" if ago_s < 120 else f"{ago_s / 60:.0f} min ago",
        )
    # a pipe has no width: a long run id must not be wrapped
    (out if out.is_terminal else Console(width=_PIPE_WIDTH, emoji=False)).print(table)


async def _listed(wanted: set[str], limit: int) -> list[Any]:
    from ..runlog import AsyncRunLog

    given = settings()
    runlog = AsyncRunLog.from_settings(given)
    found: list[Any] = []
    try:
        before = None
        while len(found) < limit and (page := await runlog.listed(before, 200)):
            rows = await runlog.summaries([run_id for run_id, _ in page])
            found += [snapshot for snapshot, _ in rows if snapshot is not None and snapshot.status in wanted]
            before = (page[-1][1], page[-1][0])
    finally:
        await runlog.close()
    return found[:limit]


def _publish(run_id: str, **given: Any) -> None:
    """Publish one event of a run, as a worker does."""
    from ..errors import RunrelayError
    from ..progress import check_run_id, make_event
    from ..progress.text import check_label
    from ..publisher.run_progress import MAX_TITLE_CHARS
    from ..runlog import AsyncRunLog

    async def commit() -> Any:
        runlog = AsyncRunLog.from_settings(settings())
        try:
            title = given.pop("title")
            if title is not None:
                check_label("title", title, MAX_TITLE_CHARS)
            event = make_event(**{name: _decoded(name, value) for name, value in given.items() if value is not None})
            return await runlog.commit(check_run_id(run_id), [event._replace(title=title)])
        finally:
            await runlog.close()

    try:
        done = asyncio.run(commit())
    except (RunrelayError, TypeError, ValueError) as error:
        raise fail(error) from None
    if done.fenced:
        raise fail(f"run {run_id!r} is {done.status}: nothing is added after the end")
    if done.data_ignored:
        err.print(escape(f"the data was not merged: run {run_id!r} would have more than 4 KiB of it"), style="yellow")
    out.print(f"{done.cursor}  {done.status}", markup=False)


def _decoded(name: str, value: Any) -> Any:
    """An option's value as `make_event` takes it: JSON is given as a text."""
    import json

    if EVENT_FIELDS[name].type not in ("object", "json"):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"{name} must be JSON: {error}, got {value[:80]!r}") from None


def _with_options() -> Callable[..., None]:
    """`_publish` with an option for each field that a publisher may give, and the title: from the table of fields."""
    types = {"number": float, "whole": int}
    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[types.get(field.type, str) | None, typer.Option(help=field.about)],
        )
        for name, field in EVENT_FIELDS.items()
        if name in GIVEN or name == "title"
    ]
    run_id = inspect.Parameter("run_id", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str)
    command: Any = _publish
    command.__signature__ = inspect.Signature([run_id, *options])
    command.__annotations__ = {option.name: option.annotation for option in (run_id, *options)}
    return _publish


app.command("publish")(_with_options())


@app.command()
def demo(
    run_id: Annotated[str | None, typer.Argument(help="By default a new one.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long the run takes.")] = 20.0,
    failing: Annotated[bool, typer.Option("--fail/--no-fail", help="Let the run fail near its end.")] = False,
) -> None:
    """Publish a sample run, to have something to look at."""
    from ..errors import RunrelayError
    from ..progress import check_run_id, is_ended
    from .demo import run_demo

    try:
        name = check_run_id(run_id or time.strftime("%Y%m%d_%H%M%S_demo"))
        status = asyncio.run(_status_of(name))
    except (RunrelayError, ValueError) as error:
        raise fail(error) from None
    if is_ended(status):
        raise fail(f"run {name!r} is {status}: nothing is added after the end; choose another id")
    watch = f"watch it: runrelay tail {shlex.quote(name)}   or on the page: /runs/{quote(name)}"
    out.print(f"run {name}   {watch}", markup=False, soft_wrap=True)
    committed = True
    try:
        committed = run_demo(name, seconds, fail=failing)
    except RuntimeError as error:
        err.print(f"as asked, the run has failed: {error}", style="yellow")
    except (TypeError, ValueError) as error:
        raise fail(error) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if not committed:
        raise fail("Redis is away: not all of the run is committed")


async def _status_of(run_id: str) -> str:
    from ..runlog import AsyncRunLog

    given = settings()
    runlog = AsyncRunLog.from_settings(given)
    try:
        return (await runlog.read(run_id)).snapshot.status
    finally:
        await runlog.close()
