"""Programs that the tests need and that neither pip nor npm installs: which are missing, and how to get them."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POLICY = Path("/usr/sbin/policy-rc.d")


@dataclass(frozen=True)
class Program:
    """A program.

    Args:
        names: its possible names; one is enough.
        package: Debian's package.
        needed_for: what is skipped without it; printed after `skipped: `.
    """

    names: tuple[str, ...]
    package: str
    needed_for: str

    def is_missing(self) -> bool:
        # servers are often in sbin, which is only on root's PATH
        path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
        return not any(shutil.which(name, path=path) for name in self.names)


PROGRAMS = (
    Program(("chromium", "chromium-browser", "google-chrome"), "chromium", "tests in a browser"),
    Program(("redis-server",), "redis-server", "tests against Debian's Redis"),
)


def ensure(say: Callable[[str], None], programs: tuple[Program, ...] = PROGRAMS) -> None:
    """Install the missing programs if possible. If not, print one line: what is skipped, and how to get it.

    Never fails: a machine without a browser can run the other tests.
    """
    missing = [program for program in programs if program.is_missing()]
    if not missing:
        return
    packages = [program.package for program in missing]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"system packages: {' '.join(packages)} …")
        if _apt_install(packages):
            missing = [program for program in missing if program.is_missing()]
    if missing:
        what = ", ".join(program.needed_for for program in missing)
        names = " ".join(program.package for program in missing)
        say(f"skipped: {what}; to have them, as root: apt-get install {names} (or your system's packages)")


def _apt_install(packages: list[str]) -> bool:
    """Install Debian packages without starting their services. Returns whether it worked."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    # A package runs this file to ask whether it may start its service; exit code 101 means no.
    ours = _forbid_services()
    try:
        # the package lists may be old or missing; if they cannot be fetched, the install may still work
        subprocess.run(["apt-get", "update", "-q"], env=environment, check=False)
        return subprocess.run(install, env=environment, check=False).returncode == 0
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


def _forbid_services() -> bool:
    """Write a policy that starts no service. Returns False if the machine has a policy of its own, which is kept."""
    if POLICY.exists() or not POLICY.parent.is_dir():
        return False
    with tempfile.NamedTemporaryFile("w", dir=POLICY.parent, prefix=".policy-", delete=False) as file:
        file.write("#!/bin/sh\nexit 101\n")
    Path(file.name).chmod(0o755)
    Path(file.name).rename(POLICY)
    return True
