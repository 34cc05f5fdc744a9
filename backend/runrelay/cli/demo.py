"""A sample run to look at: an import of orders, at an uneven rate, with a warning."""

from __future__ import annotations

import random
import time

__all__ = ["run_demo"]

_STEPS = {"fetch": 0.2, "validate": 0.15, "convert": 0.5, "store": 0.15}
_LINES = {
    "fetch": ["connecting to the shop", "1,204 orders since yesterday", "page 4 of 13", "page 9 of 13", "fetched"],
    "validate": ["checking addresses", "currencies: EUR, KRW, USD", "checking totals", "1,204 orders are valid"],
    "convert": ["converting prices", "주문 812건 변환", "converting taxes", "writing invoices", "1,204 invoices"],
    "store": ["writing batch 1", "writing batch 5", "writing batch 9", "1,201 orders stored"],
}
_TICKS = 25


def run_demo(run_id: str, seconds: float, *, fail: bool = False) -> bool:
    """Publish a run that takes about `seconds`. Returns whether all of it is committed.

    Raises:
        RuntimeError: with `fail`, near the end; the run is FAILED then.
    """
    from .. import flush, run_progress

    chance = random.Random(run_id)
    with run_progress(run_id, title="Import of orders (demo)", steps=_STEPS) as run:
        for name, weight in _STEPS.items():
            lines = _LINES[name]
            with run.step(name, state=name.upper()) as step:
                for tick in range(_TICKS):
                    time.sleep(seconds * weight / _TICKS * chance.uniform(0.4, 1.6))
                    at = tick * len(lines) // _TICKS
                    is_new = tick == 0 or at != (tick - 1) * len(lines) // _TICKS
                    step.update((tick + 1) / _TICKS, log=lines[at] if is_new else None)
                    if fail and name == "store" and tick == _TICKS // 2:
                        raise RuntimeError("the warehouse refused batch 7: quota exceeded (507)")
            if name == "validate":
                run.log("3 orders have no postcode: kept for a person", level="warning")
        run.result = {"orders": 1204, "stored": 1201, "kept_back": 3}
    return flush()
