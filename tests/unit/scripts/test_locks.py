"""Both locks: complete, with hashes, and usable with any index."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import complete_package_lock
import lock

ROOT = Path(__file__).resolve().parents[3]
REQUIREMENTS = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def pins() -> dict[str, str]:
    """The locked version of each distribution."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", REQUIREMENTS, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def package_lock() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "frontend" / "package-lock.json").read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("line", lock.direct_requirements())
def test_every_requirement_is_locked_in_a_version_that_fits(line: str) -> None:
    """A requirement that was changed without `make lock`, and is installed in an untested version."""
    wanted = Requirement(line)
    version = pins()[canonicalize_name(wanted.name)]
    assert wanted.specifier.contains(version), f"{line}, locked {version}: run make lock"


def test_every_pin_has_a_hash() -> None:
    blocks = re.split(r"\n(?=[A-Za-z0-9])", REQUIREMENTS)
    assert len(blocks) > 50
    assert [block for block in blocks if "==" in block and "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("name", ["requirements.lock", "frontend/package-lock.json"])
def test_a_lock_names_no_index_and_no_machine(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        assert [path for path, entry in json.loads(text)["packages"].items() if "resolved" in entry] == []
    else:
        assert re.findall(r"https?://\S+|^--\S+|(?:file:|/)(?:home|root|tmp|opt)/\S*", text, re.MULTILINE) == []


def test_the_package_lock_lists_every_platform() -> None:
    """A lock without an optional package of another platform, which `npm ci` refuses."""
    assert complete_package_lock.complete(package_lock()) == [], "run python3 scripts/complete_package_lock.py"


def test_a_missing_platform_is_found_and_added() -> None:
    """The negative control, on a lock with a package of each kind."""
    parent = {
        "version": "2.0.0",
        "dev": True,
        "optionalDependencies": {
            "@x/cli-darwin-arm64": "2.0.0",
            "@x/cli-linux-x64-musl": "2.0.0",
            "dep": "^1.0.0",
        },
    }
    content: dict[str, Any] = {"packages": {"": {}, "node_modules/x": parent}}
    assert complete_package_lock.complete(content) == ["@x/cli-darwin-arm64", "@x/cli-linux-x64-musl"]
    assert content["packages"]["node_modules/@x/cli-linux-x64-musl"] == {
        "version": "2.0.0",
        "cpu": ["x64"],
        "os": ["linux"],
        "libc": ["musl"],
        "optional": True,
        "dev": True,
    }
    assert complete_package_lock.complete(content) == []
