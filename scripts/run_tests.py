"""Run the tests of Python and of the front end. The last line counts them: `812 passed, 0 failed, 3 skipped`.

The counts come from the report files that both runners write, not from what they print. Arguments are passed to pytest.
"""

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
# pytest's exit code if no test was selected: a -k may name front-end tests only
NOTHING_COLLECTED = 5


@dataclass(frozen=True)
class Counts:
    """How many tests ended in which way."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        line = f"{self.passed} passed, {self.failed} failed"
        return f"{line}, {self.skipped} skipped" if self.skipped else line


def counts_of_pytest(report: Path) -> Counts:
    """The sums of a JUnit report.

    Raises:
        OSError, ParseError: pytest has not written one.
    """
    # trusted XML: written by the pytest that was started here
    suites = ElementTree.parse(report).getroot().iter("testsuite")  # noqa: S314
    total = failed = skipped = 0
    for suite in suites:
        total += int(suite.attrib["tests"])
        failed += int(suite.attrib["failures"]) + int(suite.attrib["errors"])
        skipped += int(suite.attrib["skipped"])
    return Counts(max(0, total - failed - skipped), failed, skipped)


def counts_of_vitest(report: Path) -> Counts:
    """The sums of vitest's JSON report.

    Raises:
        OSError, ValueError: vitest has not written one.
    """
    content = json.loads(report.read_text(encoding="utf-8"))
    # a file that cannot be loaded has no failed tests, but a failed suite
    failed = content["numFailedTests"] or content["numFailedTestSuites"]
    return Counts(content["numPassedTests"], failed, content["numPendingTests"] + content["numTodoTests"])


def run_pytest(folder: Path, arguments: list[str]) -> Counts:
    report = folder / "pytest.xml"
    command = [sys.executable, "-m", "pytest", f"--junitxml={report}", *arguments]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if arguments and code == NOTHING_COLLECTED:
        return Counts()
    try:
        counts = counts_of_pytest(report)
    except (OSError, ElementTree.ParseError):
        counts = Counts()
    # pytest can fail without a failed test: a crash, an interrupted session
    return counts if code == 0 or counts.failed else counts + Counts(failed=1)


def run_vitest(folder: Path) -> Counts:
    """Run the front end's tests. Their output is in vitest.txt."""
    report = folder / "vitest.json"
    command = [
        "npm",
        "test",
        "--silent",
        "--",
        "--reporter=default",
        "--reporter=json",
        f"--outputFile={report}",
    ]
    with (folder / "vitest.txt").open("wb") as output:
        code = subprocess.run(
            command, cwd=ROOT / "frontend", stdout=output, stderr=subprocess.STDOUT, check=False
        ).returncode
    try:
        counts = counts_of_vitest(report)
    except (OSError, ValueError, KeyError):
        counts = Counts()
    return counts if code == 0 or counts.failed else counts + Counts(failed=1)


def main() -> int:
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="runrelay-test-") as name:
        folder = Path(name)
        try:
            print("test: Python", flush=True)
            # arguments select tests of pytest: the front end's are not run then
            if arguments:
                counts = run_pytest(folder, arguments)
            else:
                # at the same time: on two cores that saves four minutes of twenty
                with ThreadPoolExecutor(1) as beside:
                    front_end = beside.submit(run_vitest, folder)
                    counts = run_pytest(folder, arguments)
                    print("test: front end", flush=True)
                    counts += front_end.result()
                    print((folder / "vitest.txt").read_text(encoding="utf-8", errors="replace"), flush=True)
        except KeyboardInterrupt:
            print("test: stopped", file=sys.stderr)
            return 130
    print(counts, flush=True)
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
