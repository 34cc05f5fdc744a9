"""Run tests with the oldest and the newest versions that are allowed of the packages that others bring, too.

`make test-versions`, or `make test-versions ARGS="oldest redis-6"`. Each combination has a virtual environment of
its own in .runrelay/versions/, which is kept while its requirements stay the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".runrelay" / "versions"

PUBLISHER = (
    "tests/integration/test_publisher_runs.py",
    "tests/integration/test_runlog_commit.py",
    "tests/faults/test_outbox_outage.py",
    "tests/faults/test_runlog_refusals.py",
    "tests/faults/test_sentinel_failover.py",
    # this one needs the pipelines; the other one's own client needs a redis-py that tries again
    "--deselect=tests/faults/test_sentinel_failover.py::test_celery_gets_its_tasks_through_sentinels",
    "--deselect=tests/faults/test_sentinel_failover.py::test_a_relay_that_does_not_ask_again_stays_with_it",
)
CELERY = (
    "tests/unit/celery",
    "tests/integration/test_celery_canvases.py",
    "tests/integration/test_celery_runs.py",
)
# Before 5.6.3, a task that calls `sys.exit` does not end its run: Celery signals nothing.
OLD_CELERY = (*CELERY, "--deselect=tests/integration/test_celery_canvases.py::test_every_way_to_end_ends_the_run[exit]")
SERVER = (
    "tests/integration/test_relay_mounted.py",
    "tests/integration/test_relay_polling.py",
    "tests/integration/test_relay_readiness.py",
    "tests/integration/test_relay_streams.py",
)
# uvicorn 0.35 sends an answer to a refused handshake with two lengths.
OLD_SERVER = (
    *SERVER,
    "--deselect=tests/integration/test_relay_mounted.py::test_the_application_s_dependencies_hold_for_sockets_too",
)
TOOLS = ("httpx", "httpx-sse", "hypothesis", "pytest", "pytest-asyncio", "pytest-timeout", "tqdm")


@dataclass(frozen=True)
class Combination:
    """Versions, as pip's requirements, and the files and folders of tests that are run with them."""

    pins: tuple[str, ...]
    tests: tuple[str, ...]


COMBINATIONS = {
    "oldest": Combination(
        ("redis==5.0.1", "hiredis==3.0.0", "celery==5.3.*", "uvicorn==0.35.*"), PUBLISHER + OLD_SERVER + OLD_CELERY
    ),
    "celery-5.5": Combination(("celery==5.5.*",), OLD_CELERY),
    "redis-6": Combination(("redis==6.*",), PUBLISHER + SERVER),
    "redis-7": Combination(("redis==7.*",), PUBLISHER + SERVER),
    "newest": Combination(("redis", "celery", "uvicorn"), PUBLISHER + SERVER + CELERY),
}


def requirements(pins: tuple[str, ...]) -> list[str]:
    """What is installed for a combination; no versions but its own, and those of the test tools."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        dev = tomllib.load(file)["dependency-groups"]["dev"]
    tools = [line for line in dev if line.split(">")[0] in TOOLS]
    return [*tools, *pins, "-e", ".[celery,embedded,server,tqdm]"]


def environment(name: str, pins: tuple[str, ...]) -> Path:
    """The Python of a combination's virtual environment, made if needed."""
    folder = FOLDER / name
    python, stamp = folder / "bin" / "python", folder / ".stamp"
    wanted = requirements(pins)
    made_from = "\n".join([*wanted, (ROOT / "pyproject.toml").read_text(encoding="utf-8")])
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != made_from:
        print(f"versions: {name}: installing", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], cwd=ROOT, check=True)
        stamp.write_text(made_from, encoding="utf-8")
    return python


def run(name: str, combination: Combination) -> bool:
    """Run the tests of a combination. Returns whether all have passed."""
    python = environment(name, combination.pins)
    names = ("redis", "hiredis", "celery", "kombu", "uvicorn", "fastapi", "starlette")
    show = "from importlib.metadata import version as v; print(*(f'{n} {v(n)}' for n in " + repr(names) + "), sep=', ')"
    installed = subprocess.run([python, "-c", show], capture_output=True, text=True, check=True).stdout.strip()
    print(f"versions: {name}: {installed}", flush=True)
    # Older versions warn of what newer ones have changed, and leave objects behind: that is not what is tested.
    ignored = ("DeprecationWarning", "PendingDeprecationWarning", "pytest.PytestUnraisableExceptionWarning")
    quiet = ["-q", "-p", "no:cacheprovider", *(part for name in ignored for part in ("-W", f"ignore::{name}"))]
    return subprocess.run([python, "-m", "pytest", *quiet, *combination.tests], cwd=ROOT, check=False).returncode == 0


def main() -> int:
    chosen = sys.argv[1:] or list(COMBINATIONS)
    if unknown := [name for name in chosen if name not in COMBINATIONS]:
        print(f"versions: there are {', '.join(COMBINATIONS)}; got {', '.join(unknown)}", file=sys.stderr)
        return 2
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    failed = [name for name in chosen if not run(name, COMBINATIONS[name])]
    print(f"versions: {'failed: ' + ', '.join(failed) if failed else 'all passed'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
