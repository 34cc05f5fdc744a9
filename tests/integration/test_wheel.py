"""The wheel: what a user gets from it, and that its bare install is enough to publish."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "backend" / "runrelay"
# What `pip install runrelay` brings, and what that needs in turn.
BARE = ("redis", "hiredis", "orjson", "async_timeout")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sources as they are, with a dashboard that git ignores as it does the built one."""
    copy = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, copy / name)
    ignore = shutil.ignore_patterns("dashboard", "__pycache__")
    shutil.copytree(PACKAGE, copy / "backend" / "runrelay", ignore=ignore)
    assets = copy / "backend" / "runrelay" / "dashboard" / "assets"
    assets.mkdir(parents=True)
    (assets.parent / "index.html").write_text("<!doctype html>")
    (assets / "index-abc123.js").write_text("export {};")
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(copy / "dist"),
        str(copy),
    ]
    built = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = (copy / "dist").glob("runrelay-*.whl")
    return path


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the bare install puts into site-packages, and nothing else."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    for name in BARE:
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            assert name == "async_timeout"  # newer Pythons do without
            continue
        for file in distribution.files or ():
            if file.parts[0] != ".." and "__pycache__" not in file.parts:
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
    return folder


def run_bare(bare: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with the bare install only: -S keeps this environment's own packages out."""
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        env={"PYTHONPATH": str(bare), "PATH": "/usr/bin:/bin"},
        cwd=bare,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_wheel_ships_scripts_types_and_the_dashboard(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = {
        f"runrelay/{path.relative_to(PACKAGE)}"
        for pattern in ("*.py", "*.lua", "py.typed")
        for path in PACKAGE.rglob(pattern)
    }
    assert any(name.endswith(".lua") for name in sources)
    assert sources - names == set()
    assert {"runrelay/dashboard/index.html", "runrelay/dashboard/assets/index-abc123.js"} <= names


def test_the_wheel_ships_nothing_but_the_package(wheel: Path) -> None:
    """Tests, pipelines or the front end's sources in a user's site-packages would be in somebody's way."""
    with zipfile.ZipFile(wheel) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"runrelay", "runrelay-0.1.0.dist-info"}


def test_the_bare_install_needs_what_a_publisher_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read("runrelay-0.1.0.dist-info/METADATA").decode()
    required = re.findall(r"^Requires-Dist: ([\w-]+)(?!.*extra ==)", metadata, re.MULTILINE)
    assert sorted(required) == ["hiredis", "orjson", "redis"]
    assert sorted(re.findall(r"^Provides-Extra: (\S+)", metadata, re.MULTILINE)) == [
        "celery",
        "pipelines",
        "server",
        "tqdm",
    ]


def test_the_extra_celery_can_talk_to_a_redis_broker(wheel: Path) -> None:
    """kombu's Redis transport imports what only `celery[redis]` brings: without, no task can be sent."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read("runrelay-0.1.0.dist-info/METADATA").decode()
    assert re.search(r"^Requires-Dist: celery\[redis\].*; extra == 'celery'$", metadata, re.MULTILINE), metadata


def test_the_bare_install_publishes(bare: Path, redis_url: str, prefix: str) -> None:
    """Without the extras a worker must still be able to do the one thing it needs."""
    program = (
        "import runrelay; runrelay.publish_progress('bare', state='WORKING', progress=0.5, log='line');"
        "assert runrelay.flush(10)"
    )
    answer = subprocess.run(
        [sys.executable, "-S", "-W", "error", "-c", program],
        env={
            "PYTHONPATH": str(bare),
            "REDIS_URL": redis_url,
            "RUNRELAY_PREFIX": prefix,
            "RUNRELAY_CHANNEL": f"{prefix}:progress",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("command", [["serve"], ["dev"], ["runs"], []])
def test_a_command_without_its_extra_names_it_in_one_line(bare: Path, command: list[str]) -> None:
    answer = run_bare(bare, "-c", "import sys; from runrelay.cli import main; sys.exit(main())", *command)
    assert answer.returncode == 2, answer.stderr
    (line,) = answer.stderr.strip().splitlines()
    assert "runrelay[server]" in line
