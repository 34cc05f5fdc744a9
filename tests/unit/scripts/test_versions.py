"""The ranges of versions: they let existing code bases in, and both ends are tested."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from versions import COMBINATIONS

ROOT = Path(__file__).resolve().parents[3]


def ranges() -> dict[str, Requirement]:
    """The requirements of pyproject.toml by name, those of the extras included."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    lines = [*project["dependencies"]]
    for extra in ("celery", "server"):
        lines += project["optional-dependencies"][extra]
    return {found.name: found for found in map(Requirement, lines)}


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        ("redis", ["5.0.1", "5.2.1", "6.4.0", "7.1.0", "8.1.0"]),
        ("celery", ["5.3.6", "5.5.3", "5.6.3", "5.7.0"]),
        ("uvicorn", ["0.35.0", "0.54.0", "0.60.0"]),
    ],
)
def test_the_versions_that_others_have_are_allowed(name: str, versions: list[str]) -> None:
    """`redis>=8.1` beside arq, `celery>=5.7` and `uvicorn<0.55`: pip refused nearly every existing code base."""
    assert [version for version in versions if not ranges()[name].specifier.contains(version)] == []


@pytest.mark.parametrize("name", ["redis", "celery", "uvicorn"])
def test_the_oldest_allowed_version_is_tested(name: str) -> None:
    """A range whose lower end nobody has ever tried."""
    (oldest,) = [part.version for part in ranges()[name].specifier if part.operator == ">="]
    pins = [Requirement(pin) for combination in COMBINATIONS.values() for pin in combination.pins]
    tried = [pin for pin in pins if pin.name == name and pin.specifier]
    assert any(pin.specifier.contains(oldest) or pin.specifier.contains(f"{oldest}.0") for pin in tried), oldest


def test_what_is_run_exists() -> None:
    tests = {test for combination in COMBINATIONS.values() for test in combination.tests}
    paths = {test.removeprefix("--deselect=").partition("::")[0] for test in tests}
    assert [path for path in paths if not (ROOT / path).exists()] == []
