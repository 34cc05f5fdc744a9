"""Write requirements.lock: every distribution of every extra and of the dev group, with hashes.

Run by `make lock`. The lock names no index, so that each machine installs from its own. It is resolved with the oldest
supported Python, on which a dependency may need a backport.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PIP_TOOLS = "pip-tools==7.6.2"
OLDEST = (3, 11)


def direct_requirements() -> list[str]:
    """The requirements in pyproject.toml, those of all extras and of the dev group included."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        pyproject = tomllib.load(file)
    project = pyproject["project"]
    wanted: set[str] = set(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted.update(extra)
    wanted.update(pyproject["dependency-groups"]["dev"])
    return sorted(line for line in wanted if not line.startswith("runrelay["))


def main() -> int:
    if sys.version_info[:2] != OLDEST:
        print(f"make lock needs Python {OLDEST[0]}.{OLDEST[1]}, got {sys.version.split()[0]}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="runrelay-lock-") as folder:
        print("make lock: installing pip-tools for this run only", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", PIP_TOOLS], check=True)
        print("make lock: resolving; this takes a minute or two", flush=True)
        subprocess.run(
            [
                *(python, "-m", "piptools", "compile", "-", "--output-file", LOCK.name),
                *("--generate-hashes", "--strip-extras", "--allow-unsafe", "--quiet"),
                *("--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links"),
                *sys.argv[1:],  # such as --upgrade
            ],
            cwd=ROOT,
            env={**os.environ, "CUSTOM_COMPILE_COMMAND": "make lock"},
            input="\n".join(direct_requirements()),
            text=True,
            check=True,
        )
    pinned = sum("==" in line for line in LOCK.read_text(encoding="utf-8").splitlines() if line[:1].isalnum())
    print(f"make lock: {pinned} distributions in {LOCK.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
