"""Complete frontend/package-lock.json with the other platforms' optional packages.

A package such as biome has one optional package per platform. `npm install` leaves those out of the lock that its
registry does not offer, and then `npm ci` refuses the lock on every machine. An added package has the version that its
parent asks for and the platforms in its name, so that npm skips it on other platforms. Run by `make lock`; run it after
each `npm install` of a new package.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parent.parent / "frontend" / "package-lock.json"

_SYSTEMS = {
    "aix",
    "android",
    "darwin",
    "freebsd",
    "linux",
    "netbsd",
    "openbsd",
    "openharmony",
    "sunos",
    "win32",
}
_PROCESSORS = {"arm", "arm64", "ia32", "loong64", "ppc64", "riscv64", "s390x", "x64"}
_EXACT = re.compile(r"\d+\.\d+\.\d+(-[\w.]+)?")


def platform_of(name: str) -> dict[str, list[str]] | None:
    """npm's `os`, `cpu` and `libc` for a name such as `@biomejs/cli-linux-x64-musl`; None for any other."""
    words = set(name.rsplit("/", 1)[-1].split("-"))
    systems, processors = words & _SYSTEMS, words & _PROCESSORS
    if not systems or not processors:
        return None
    platform = {"cpu": sorted(processors), "os": sorted(systems)}
    if "linux" in systems:
        platform["libc"] = ["musl" if words & {"musl", "musleabihf"} else "glibc"]
    return platform


def complete(lock: dict[str, Any]) -> list[str]:
    """Add the missing optional packages to a parsed lock. Returns their names."""
    packages: dict[str, Any] = lock["packages"]
    added = []
    for parent in list(packages.values()):
        for name, version in parent.get("optionalDependencies", {}).items():
            path = f"node_modules/{name}"
            platform = platform_of(name)
            if path in packages or platform is None or not _EXACT.fullmatch(version):
                continue
            entry = {"version": version, **platform, "optional": True}
            if parent.get("dev"):
                entry["dev"] = True
            packages[path] = entry
            added.append(name)
    lock["packages"] = dict(sorted(packages.items()))
    return added


def main() -> int:
    lock = json.loads(LOCK.read_text(encoding="utf-8"))
    if added := complete(lock):
        LOCK.write_text(json.dumps(lock, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"package-lock.json: {len(added)} packages of other platforms added")
    return 0


if __name__ == "__main__":
    sys.exit(main())
