"""Where the benchmarks keep what they build and write."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["BUILD", "HERE", "RESULTS", "ROOT"]

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
BUILD: Final = ROOT / ".runrelay" / "benchmarks"
"""Ignored by git: the compiled generator, the peers' environment, nginx' working folder."""
RESULTS: Final = HERE / "results"
