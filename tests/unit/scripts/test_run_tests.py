"""The last line of `make test`: it counts the tests of both runners, and a runner that dies is a failure."""

import json
import subprocess
from pathlib import Path

import pytest

import run_tests
from run_tests import Counts

JUNIT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" tests="10" failures="2" errors="1" skipped="3"/></testsuites>
"""
VITEST = {
    "numPassedTests": 5,
    "numFailedTests": 1,
    "numFailedTestSuites": 1,
    "numPendingTests": 2,
    "numTodoTests": 0,
}


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        (Counts(812, 0, 0), "812 passed, 0 failed"),
        (Counts(812, 1, 3), "812 passed, 1 failed, 3 skipped"),
        (Counts(1, 2, 3) + Counts(10, 20, 30), "11 passed, 22 failed, 33 skipped"),
    ],
)
def test_the_last_line(counts: Counts, line: str) -> None:
    assert str(counts) == line


def answer(monkeypatch: pytest.MonkeyPatch, code: int, name: str, report: str | None) -> None:
    """The next runner ends with this code and writes this report."""

    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        target = next(part.split("=", 1)[1] for part in command if part.endswith(name))
        if report is not None:
            Path(target).write_text(report)
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.parametrize(
    ("code", "report", "counts"),
    [
        (1, JUNIT, Counts(4, 3, 3)),
        (-9, None, Counts(0, 1, 0)),  # killed before it wrote anything
        (3, "<testsuites", Counts(0, 1, 0)),  # or while it wrote
        (
            2,
            '<testsuites><testsuite tests="4" failures="0" errors="0" skipped="0"/></testsuites>',
            Counts(4, 1, 0),
        ),
    ],
)
def test_results_of_pytest_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, report: str | None, counts: Counts
) -> None:
    answer(monkeypatch, code, "pytest.xml", report)
    assert run_tests.run_pytest(tmp_path, []) == counts


@pytest.mark.parametrize(
    ("code", "report", "counts"),
    [
        (1, json.dumps(VITEST), Counts(5, 1, 2)),
        (0, json.dumps({**VITEST, "numFailedTests": 0, "numFailedTestSuites": 0}), Counts(5, 0, 2)),
        (1, json.dumps({**VITEST, "numFailedTests": 0}), Counts(5, 1, 2)),  # a file that does not load
        (1, None, Counts(0, 1, 0)),
        (1, "{}", Counts(0, 1, 0)),
    ],
)
def test_results_of_vitest_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, report: str | None, counts: Counts
) -> None:
    answer(monkeypatch, code, "vitest.json", report)
    assert run_tests.run_vitest(tmp_path) == counts
