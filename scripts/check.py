"""Format, lint, types and imports, of Python and of the front end. Runs all checks, then prints which have failed."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON_CODE = [name for name in ("backend", "workers", "tests", "scripts", "benchmarks") if (ROOT / name).is_dir()]

CHECKS: tuple[tuple[str, list[str], Path], ...] = (
    ("ruff format", [sys.executable, "-m", "ruff", "format", "--check", *PYTHON_CODE], ROOT),
    ("ruff check", [sys.executable, "-m", "ruff", "check", *PYTHON_CODE], ROOT),
    ("mypy --strict", [sys.executable, "-m", "mypy"], ROOT),
    ("import direction", [sys.executable, "-m", "pytest", "-q", "tests/unit/test_imports.py"], ROOT),
    ("front end: biome, tsc", ["npm", "run", "--silent", "check"], ROOT / "frontend"),
)


def main() -> int:
    failed = []
    for name, command, folder in CHECKS:
        print(f"check: {name}", flush=True)
        if subprocess.run(command, cwd=folder, env=os.environ, check=False).returncode:
            failed.append(name)
    print(f"check: {'failed: ' + ', '.join(failed) if failed else 'all passed'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
