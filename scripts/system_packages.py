"""The programs that the tests drive and that neither pip nor npm brings: what is missing, how to get it."""

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
    """One program: any of ``names`` will do; ``package`` is Debian's; ``needed_for`` follows 'skipped: '."""

    names: tuple[str, ...]
    package: str
    needed_for: str

    def is_missing(self) -> bool:
        # A server's program is often in sbin, which is on root's PATH only.
        path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
        return not any(shutil.which(name, path=path) for name in self.names)


PROGRAMS = (
    Program(("chromium", "chromium-browser", "google-chrome"), "chromium", "tests in a browser"),
    Program(("redis-server",), "redis-server", "tests against Debian's Redis"),
)


def ensure(say: Callable[[str], None], programs: tuple[Program, ...] = PROGRAMS) -> None:
    """Install what is missing where that is possible, else say in one line what is skipped and how to get it.

    Never fails: a machine without a browser still runs the other tests.
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
    """Install Debian packages without starting the services some of them bring; say whether it worked."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    # Packages ask this file whether they may start their service: 101 means no. Not to be left behind.
    ours = _forbid_services()
    try:
        # The lists may be old or absent; when they can't be had, the install may still work.
        subprocess.run(["apt-get", "update", "-q"], env=environment, check=False)
        return subprocess.run(install, env=environment, check=False).returncode == 0
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


def _forbid_services() -> bool:
    """Put a policy in place that starts no service; False if the machine has its own, which stays."""
    if POLICY.exists() or not POLICY.parent.is_dir():
        return False
    with tempfile.NamedTemporaryFile("w", dir=POLICY.parent, prefix=".policy-", delete=False) as file:
        file.write("#!/bin/sh\nexit 101\n")
    Path(file.name).chmod(0o755)
    Path(file.name).rename(POLICY)
    return True
