"""Complete frontend/package-lock.json with the other platforms' optional packages.

A package such as biome comes with one optional package a platform. `npm install` leaves out of the lock those
that the registry at hand does not offer, and `npm ci` then refuses the lock, on every machine. What is added
here has the version that its parent asks for and the platforms that its name says, so npm skips it where it
doesn't fit. Run by ``make lock``, and after each ``npm install`` of something new.
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
    """Return npm's `os`, `cpu` and `libc` for a name like `@biomejs/cli-linux-x64-musl`, else None."""
    words = set(name.rsplit("/", 1)[-1].split("-"))
    systems, processors = words & _SYSTEMS, words & _PROCESSORS
    if not systems or not processors:
        return None
    platform = {"cpu": sorted(processors), "os": sorted(systems)}
    if "linux" in systems:
        platform["libc"] = ["musl" if words & {"musl", "musleabihf"} else "glibc"]
    return platform


def complete(lock: dict[str, Any]) -> list[str]:
    """Add the missing optional packages to a parsed lock; return their names."""
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
