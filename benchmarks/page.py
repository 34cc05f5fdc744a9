"""docs/performance.md, written by a run: page.md with its places filled in."""

from __future__ import annotations

from string import Template

from .paths import HERE
from .report import Report

__all__ = ["page"]


def page(report: Report) -> str:
    """The page of a report."""
    failures = [f"- {what}: {why}" for what, why in report.failures.items()]
    return Template((HERE / "page.md").read_text(encoding="utf-8")).substitute(
        when=report.when,
        minutes=f"{report.took_s / 60:.0f}",
        goals="\n".join(report.goals()),
        table="\n".join(report.table()),
        surroundings="\n".join(report.surroundings()),
        failures="\n".join(["", "## Not measured", "", *failures, ""]) if failures else "",
    )
