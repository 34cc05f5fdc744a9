"""A believable run to look at: what an import of orders might say, at an uneven pace, with warnings."""

from __future__ import annotations

import random
import time

__all__ = ["run_demo"]

_STEPS = {"fetch": 0.2, "validate": 0.15, "convert": 0.5, "store": 0.15}


def run_demo(run_id: str, seconds: float, *, fail: bool = False) -> None:
    """Publish a run that takes about `seconds`. With `fail` it raises RuntimeError near the end, and the run is FAILED."""
    from . import flush, run_progress

    pace = random.Random(run_id)
    with run_progress(run_id, title="Import of orders (demo)") as run:

        def step(name: str, low: float, high: float, lines: list[str]) -> None:
            with run.span(low, high, state=name.upper()) as span:
                ticks = 20
                for tick in range(1, ticks + 1):
                    time.sleep(seconds * (high - low) / ticks * pace.uniform(0.4, 1.6))
                    line = lines[tick * len(lines) // (ticks + 1)] if tick % 5 == 1 else None
                    span.update(tick / ticks, log=line)

        step("fetch", 0.0, 0.2, ["connecting to the shop", "1,204 orders since yesterday", "page 4 of 13", "fetched"])
        step("validate", 0.2, 0.35, ["checking addresses", "currencies: EUR, KRW, USD", "checking totals", "valid"])
        run.log("3 orders have no postcode: kept for a person", level="warning")
        step("convert", 0.35, 0.85, ["converting prices", "주문 812건 변환", "converting taxes", "invoices written"])
        if fail:
            raise RuntimeError("the warehouse refused batch 7: quota exceeded (507)")
        step("store", 0.85, 1.0, ["writing batch 1", "writing batch 5", "writing batch 9", "1,201 orders stored"])
        run.result = {"orders": 1204, "stored": 1201, "kept_back": 3}
    flush()
