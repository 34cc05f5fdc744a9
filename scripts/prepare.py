"""All set-up on a machine that has only Python, Node, npm and make. Quick if nothing has changed.

Run by `make` with the system's Python, before there is a virtual environment: standard library only. Each step writes a
stamp with a hash of its sources into the folder that it makes. If the folder is deleted, the step is done again.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterable
from io import TextIOWrapper
from pathlib import Path

import system_packages

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
FRONTEND = ROOT / "frontend"
DASHBOARD = ROOT / "backend" / "runrelay" / "dashboard"
LOCK = ROOT / "requirements.lock"
# Vite 8 runs on Node 20.19 and later of 20, on 22.12 and later, not on 21.
OLDEST_NODE = {20: (20, 19), 22: (22, 12)}


class SetupError(Exception):
    """A step cannot be done. The text says what is missing, and how to get it."""


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def digest(paths: Iterable[Path], *extra: str) -> str:
    """One hash over the names and contents of files, and over `extra`."""
    total = hashlib.sha256("\0".join(extra).encode())
    for path in sorted(paths):
        total.update(f"\0{path.relative_to(ROOT)}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def step(name: str, stamp: Path, made_from: str, make: Callable[[], None]) -> None:
    """Run `make` unless the stamp says that it was run with the same sources."""
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == made_from:
        return
    stamp.unlink(missing_ok=True)  # a step that fails must be done again
    say(f"{name} …")
    began_s = time.monotonic()
    make()
    stamp.write_text(made_from, encoding="utf-8")
    say(f"{name}: done in {time.monotonic() - began_s:.0f} s")


def check_node() -> str:
    """Node's version.

    Raises:
        SetupError: Node or npm is missing, or Node is too old for Vite.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise SetupError("needs Node 20.19 or newer with npm, found none; see https://nodejs.org/en/download")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    major, minor = (int(part) for part in version.removeprefix("v").split(".")[:2])
    if (major, minor) < OLDEST_NODE.get(major, (23, 0)):
        raise SetupError(f"needs Node 20.19, 22.12 or newer, found {version}; see https://nodejs.org/en/download")
    return version


def venv_python() -> Path:
    return VENV / "bin" / "python"


def our_distributions() -> list[Path]:
    """The files in .venv that say from which folders our own distributions were installed."""
    return list(VENV.glob("lib/python*/site-packages/runrelay*.dist-info/direct_url.json"))


def make_venv() -> None:
    """Create .venv. Create it again if its interpreter is missing or too old, or if .venv was copied from elsewhere.

    The programs in a copied .venv would run the Python of the original.
    """
    at_home = all(map(declares_in_place, our_distributions()))
    works = (
        at_home
        and venv_python().exists()
        and (
            subprocess.run(
                [venv_python(), "-c", "import sys, pip; sys.exit(sys.version_info < (3, 11))"],
                capture_output=True,
                check=False,
            ).returncode
            == 0
        )
    )
    if not works:
        # in this process: another one would print a traceback of its own at Ctrl-C
        venv.create(VENV, clear=True, symlinks=True, with_pip=True)


def pip(*arguments: str) -> list[str]:
    return [str(venv_python()), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]


def install_python_packages() -> None:
    """Install the lock, then both of our distributions in place. Shows progress.

    `--no-deps`: the lock is complete, and pip must not resolve anything. For a dependency with an extra, of which the
    lock has the bare name, its resolver would take the newest version on the index, and refuse it for want of a hash.
    """
    make_venv()
    wanted = sum(line[:1].isalnum() and "==" in line for line in LOCK.read_text(encoding="utf-8").splitlines())
    command = pip("install", "--progress-bar", "off", "--require-hashes", "--no-deps", "-r", str(LOCK))
    output: list[str] = []
    seen = shown = 0
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            output.append(line)
            if line.startswith(("Collecting ", "Requirement already satisfied: ")):
                seen += 1
                name = line.removeprefix("Requirement already satisfied: ").removeprefix("Collecting ")
                # a terminal gets one line that changes, a log a line for every 16 packages
                if sys.stdout.isatty():
                    print(
                        f"\r\033[Ksetup:   {min(seen, wanted)}/{wanted} {name.split('==')[0]}",
                        end="",
                        flush=True,
                    )
                elif seen >= shown + 16:
                    shown = seen
                    say(f"  {min(seen, wanted)}/{wanted} python packages")
            elif line.startswith("Installing collected packages"):
                print("\r\033[K" if sys.stdout.isatty() else "", end="")
                say(f"  unpacking {wanted} python packages")
    if process.returncode:
        sys.stderr.writelines(output[-40:])
        raise SetupError(f"pip could not install {LOCK.name} (exit {process.returncode}); its last lines are above")
    # without dependencies and build isolation: the lock has the dependencies and the build backend
    ours = pip("install", "--quiet", "--no-deps", "--no-build-isolation", "-e", ".", "-e", "workers")
    subprocess.run(ours, cwd=ROOT, check=True)
    subprocess.run(pip("check"), cwd=ROOT, stdout=subprocess.DEVNULL, check=True)  # is the lock complete?


def install_node_packages() -> None:
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=FRONTEND, check=True)


def build_dashboard() -> None:
    subprocess.run(["npm", "run", "build"], cwd=FRONTEND, check=True)
    if not (DASHBOARD / "index.html").is_file():
        raise SetupError(f"npm run build left no index.html in {DASHBOARD.relative_to(ROOT)}")


def frontend_sources() -> list[Path]:
    """The files that the built dashboard depends on: without tests and generated files."""
    skipped = {"node_modules", "dist", "test", "tests", "coverage"}
    packed = {FRONTEND / name for name in ("LICENSE", "core", "styles.css")}  # made for npm by build-lib.mjs
    found: list[Path] = []
    for folder, folders, files in os.walk(FRONTEND):
        here = Path(folder)
        folders[:] = [
            name for name in folders if name not in skipped and here / name not in packed and not name.startswith(".")
        ]
        found += [here / name for name in files if here / name not in packed and not name.startswith(".")]
    return found


def declares_in_place(path: Path) -> bool:
    """Whether an installed distribution points into this folder. In a copied .venv it does not."""
    try:
        url = json.loads(path.read_text(encoding="utf-8"))["url"]
    except (OSError, ValueError, KeyError):
        return False
    return bool(url in (ROOT.as_uri(), (ROOT / "workers").as_uri()))


def prepare(*, tests: bool) -> None:
    """Bring everything up to date.

    Raises:
        SetupError, CalledProcessError: a step failed.
    """
    node = check_node()
    python_stamp = VENV / ".runrelay-stamp"
    ours = our_distributions()
    if len(ours) != 2 or not all(map(declares_in_place, ours)):
        python_stamp.unlink(missing_ok=True)
    step(
        "python packages",
        python_stamp,
        digest([LOCK, ROOT / "pyproject.toml", ROOT / "workers" / "pyproject.toml"], str(ROOT)),
        install_python_packages,
    )
    modules_stamp = FRONTEND / "node_modules" / ".runrelay-modules-stamp"
    lock = FRONTEND / "package-lock.json"
    step("node packages", modules_stamp, digest([lock], node), install_node_packages)
    # the stamp is not in the dashboard's folder, which each build empties, and which is shipped
    build_stamp = FRONTEND / "node_modules" / ".runrelay-build-stamp"
    if not (DASHBOARD / "index.html").is_file():
        build_stamp.unlink(missing_ok=True)
    step("dashboard", build_stamp, digest(frontend_sources()), build_dashboard)
    if tests:
        system_packages.ensure(say)


def main() -> int:
    parser = argparse.ArgumentParser(prog="prepare", description="Set up everything that make needs.")
    parser.add_argument("--tests", action="store_true", help="also the system packages that the tests drive")
    arguments = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # for a terminal without Unicode
    began_s = time.monotonic()
    try:
        prepare(tests=arguments.tests)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        sys.stderr.write(error.output.decode(errors="replace") if isinstance(error.output, bytes) else "")
        command = " ".join(map(str, error.cmd))
        print(f"setup: {command} failed (exit {error.returncode}); its output is above", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"setup: cannot use {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsetup: stopped; the next run goes on from here", file=sys.stderr)
        return 130
    say(f"ready in {time.monotonic() - began_s:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
