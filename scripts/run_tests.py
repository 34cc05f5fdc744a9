"""Run both halves' tests; the last line counts them: ``812 passed, 0 failed, 3 skipped``.

Both runners write their own report to a file, so nothing is read out of what they print. Arguments go to
pytest.
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
# pytest's "no tests were collected", which a -k that selects only front-end names may give.
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
    """Return the sums of a JUnit report; raises OSError or ParseError if pytest left none."""
    # The file was written by the pytest that we started: no stranger's XML.
    suites = ElementTree.parse(report).getroot().iter("testsuite")  # noqa: S314
    total = failed = skipped = 0
    for suite in suites:
        total += int(suite.attrib["tests"])
        failed += int(suite.attrib["failures"]) + int(suite.attrib["errors"])
        skipped += int(suite.attrib["skipped"])
    return Counts(max(0, total - failed - skipped), failed, skipped)


def counts_of_vitest(report: Path) -> Counts:
    """Return the sums of vitest's JSON report; raises OSError or ValueError if vitest left none."""
    content = json.loads(report.read_text(encoding="utf-8"))
    # A file that does not even load has no tests to count as failed, but a suite.
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
    # A runner that fails without naming a test (a crash, an interrupted session) still fails.
    return counts if code == 0 or counts.failed else counts + Counts(failed=1)


def run_vitest(folder: Path) -> Counts:
    """Run the front end's tests; what they say is in vitest.txt then."""
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
            # A selection is meant for pytest: the other half is then not what one is waiting for.
            if arguments:
                counts = run_pytest(folder, arguments)
            else:
                # beside each other: on two cores that saves four minutes of twenty
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
