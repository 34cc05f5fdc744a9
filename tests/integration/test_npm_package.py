"""The npm package: it can be packed from a fresh clone, and every resolver finds its modules, types and stylesheet."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "frontend"
# The tests need no registry: `npm ci` is replaced by a program that takes what `make setup` has installed.
_INSTALL = """#!/bin/sh
echo "$npm_config_dry_run $*" >> {log}
ln -s {modules} {clone}/node_modules
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The front end as in a fresh clone, without node_modules and without anything that was built."""
    folder = tmp_path_factory.mktemp("clone") / "frontend"
    folder.mkdir()
    shutil.copy(ROOT / "LICENSE", folder.parent)
    for name in ("package.json", "package-lock.json", "README.md", "tsconfig.json", "tsconfig.lib.json", ".npmrc"):
        shutil.copy(FRONTEND / name, folder)
    for name in ("src/core", "src/react", "scripts"):
        shutil.copytree(FRONTEND / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def tarball(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `npm pack` makes of the clone."""
    programs = tmp_path_factory.mktemp("programs")
    npm = shutil.which("npm")
    assert npm is not None
    install = programs / "npm"
    install.write_text(_INSTALL.format(log=clone / "installs", modules=FRONTEND / "node_modules", clone=clone))
    install.chmod(0o755)
    packed = subprocess.run(
        [npm, "pack", "--pack-destination", str(programs)],
        cwd=clone,
        env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert packed.returncode == 0, packed.stdout + packed.stderr
    last = packed.stdout.splitlines()[-1]
    assert last == "runrelay-react-0.1.0.tgz", "scripts read the name from stdout"
    return programs / last


@pytest.fixture(scope="module")
def user(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder in which the package is installed, with what it depends on."""
    folder = tmp_path_factory.mktemp("user")
    modules = folder / "node_modules"
    (modules / "@runrelay").mkdir(parents=True)
    with tarfile.open(tarball) as archive:
        archive.extractall(folder, filter="data")
    (folder / "package").rename(modules / "@runrelay" / "react")
    for name in ("react", "eventsource-parser"):
        (modules / name).symlink_to(FRONTEND / "node_modules" / name)
    return folder


def installed(user: Path) -> Path:
    return user / "node_modules" / "@runrelay" / "react"


def manifest(user: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((installed(user) / "package.json").read_text(encoding="utf-8"))
    return content


def named_files(value: Any) -> Iterator[str]:
    """All paths in a part of package.json."""
    if isinstance(value, str):
        yield value
    else:
        for part in value.values() if isinstance(value, dict) else value:
            yield from named_files(part)


def test_a_fresh_clone_is_packed(clone: Path, tarball: Path) -> None:
    """`npm pack`, which docs/react.md tells to run, failed without node_modules: there was no compiler."""
    assert (clone / "installs").read_text().split() == ["false", "ci", "--include=dev"]
    with tarfile.open(tarball) as archive:
        names = {name.removeprefix("package/").partition("/")[0] for name in archive.getnames()}
    assert names == {"LICENSE", "README.md", "core", "dist", "package.json", "styles.css"}


@pytest.mark.parametrize("field", ["main", "types", "typesVersions", "exports"])
def test_every_path_in_package_json_is_a_file(user: Path, field: str) -> None:
    """Resolvers that do not read `exports` found nothing: there was neither `main` nor `types`."""
    paths = list(named_files(manifest(user)[field]))
    assert paths
    assert [path for path in paths if not (installed(user) / path).is_file()] == []


@pytest.mark.parametrize(
    ("module", "name"), [("@runrelay/react", "RunStatus"), ("@runrelay/react/core", "RelayClient")]
)
@pytest.mark.parametrize("how", ["import", "require"])
def test_node_finds_the_modules(user: Path, module: str, name: str, how: str) -> None:
    """`require()`, and tools that resolve as it does, were refused: `exports` had no `default`."""
    load = f"require('{module}')" if how == "require" else f"await import('{module}')"
    program = f"const loaded = {load}; if (!loaded.{name}) throw new Error(Object.keys(loaded));"
    kind = "commonjs" if how == "require" else "module"
    done = subprocess.run(
        ["node", f"--input-type={kind}", "-e", program], cwd=user, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_resolvers_without_exports_find_the_core_and_the_stylesheet(user: Path) -> None:
    """They take the path literally: `@runrelay/react/core` is a folder with a package.json of its own."""
    core = installed(user) / "core"
    entry = json.loads((core / "package.json").read_text(encoding="utf-8"))
    assert (core / entry["main"]).is_file()
    assert (core / entry["types"]).is_file()
    assert (installed(user) / "styles.css").read_bytes() == (FRONTEND / "src/react/styles.css").read_bytes()
