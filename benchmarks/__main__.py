"""`python -m benchmarks`: everything in one go."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import datetime
from typing import Any

import redis

from runrelay.cli.embedded_valkey import EmbeddedValkey

from . import machine
from .figures import Figures
from .generator import BenchmarkError, native_path
from .page import page
from .paths import BUILD, RESULTS, ROOT
from .plan import FULL, QUICK
from .plot import plot
from .report import Report
from .scenarios import SCENARIOS
from .servers.measured import CONTESTANTS, install_peers
from .session import Stage

__all__ = ["main"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Runrelay beside what one would otherwise pick.")
    parser.add_argument("--quick", action="store_true", help="one round, fewer clients: under two minutes")
    parser.add_argument("--only", default="", help="letters of scenarios, for example a,b,f")
    parser.add_argument("--publish", action="store_true", help="write docs/performance.md and keep the figures in git")
    parser.add_argument("--render", metavar="FILE", help="measure nothing; print and publish a kept run's figures")
    return parser.parse_args()


def main() -> int:
    """Measure, print, keep. Returns the exit code."""
    arguments = _arguments()
    if arguments.render:
        with open(arguments.render, encoding="utf-8") as kept:
            report = Report.from_json(json.load(kept))
    else:
        letters = [letter for letter in arguments.only.replace(",", "") if not letter.isspace()] or [*SCENARIOS]
        if unknown := set(letters) - set(SCENARIOS):
            print(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}", file=sys.stderr)
            return 2
        try:
            report = _measure(letters, quick=arguments.quick)
        except BenchmarkError as error:
            print(f"benchmarks: {error}", file=sys.stderr)
            return 1
        _keep(report.to_json(), f"{report.when.replace(':', '').replace(' ', '-')}.json")
    print("\n" + report.text())
    if arguments.publish:
        _keep(report.to_json(), "published.json")
        (ROOT / "docs").mkdir(exist_ok=True)
        (ROOT / "docs" / "performance.md").write_text(page(report), encoding="utf-8")
        (ROOT / "docs" / "performance.svg").write_text(plot(report.figures), encoding="utf-8")
    return 0


def _measure(letters: list[str], *, quick: bool) -> Report:
    began_s, when = time.monotonic(), datetime.now().strftime("%Y-%m-%d %H:%M")
    BUILD.mkdir(parents=True, exist_ok=True)
    install_peers()
    native_path()
    files = machine.raise_file_limit()
    if files < 12_000 and not quick:
        raise BenchmarkError(f"10,000 clients need 12,000 open files, the limit is {files}: see `ulimit -Hn`")
    described = machine.describe()  # before this process has but one core
    cores = machine.take_cores()
    figures, plan = Figures(), QUICK if quick else FULL
    with EmbeddedValkey(port=None) as valkey:
        stage = Stage(cores, valkey)
        for letter in letters:
            title, measure = SCENARIOS[letter]
            print(f"{letter}) {title}", flush=True)
            measure(stage, plan, figures)
        with redis.Redis.from_url(valkey.url) as client:
            info: dict[str, Any] = client.info("server")
    versions = {c.label: c.version() for c in CONTESTANTS if not c.missing() and not c.opaque}
    versions["Valkey"] = str(info.get("valkey_version", info["redis_version"]))
    titles = {letter: SCENARIOS[letter][0] for letter in letters}
    took_s = time.monotonic() - began_s
    return Report(figures, titles, described, versions, when, took_s, quick, stage.failures)


def _keep(data: dict[str, Any], name: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
