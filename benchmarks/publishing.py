"""The publisher's side of a measurement: a process of its own, told what to publish, line by line.

The same for every measured; each brings only the function that publishes one message its own way. Standard library
only: it is also imported by the peers' interpreter.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

__all__ = ["Publish", "follow_orders", "run_names", "text_of"]

Publish = Callable[[str, float, str], None]
"""Publishes to a run its progress (0..1) and a log line."""
_FULL: Final = 1_000_000
"""Messages of one run that would bring its progress to 1."""


def run_names(count: int) -> list[str]:
    """The runs of a measurement."""
    return [f"20251105_1430_bench{index}" for index in range(count)]


def text_of(number: int, at_ns: int) -> str:
    """A log line of usual length that says its number in its run and when it was published (CLOCK_MONOTONIC, ns)."""
    return f"#{number}@{at_ns} image 12 of 40 rendered in 1.2 s"


def follow_orders(publish: Publish, runs: Sequence[str], flush: Callable[[], None] = lambda: None) -> None:
    """Do what is asked on stdin until it ends: `{"count": 100, "rate": 50.0, "at_random": false, "flush": true}`.

    Messages go to the runs in turn. rate: messages per second over all runs; 0: as fast as can be. at_random: not at
    even intervals but independently of each other (a Poisson process), always the same. When a line is done
    `{"began_ns": …, "ended_ns": …}` is answered; with flush, after everything has left the process.

    At a rate, a message's time is when it was due: a server that holds its publisher up must not look faster for it.
    """
    published = 0
    print("{}", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        rate: float = order["rate"]
        chance = Random(order["count"])
        began_ns = time.monotonic_ns()
        due_s = 0.0
        for _ in range(order["count"]):
            at_ns = began_ns + round(due_s * 1e9) if rate else time.monotonic_ns()
            if rate:
                due_s += chance.expovariate(rate) if order["at_random"] else 1 / rate
            if (ahead_ns := at_ns - time.monotonic_ns()) > 0:
                time.sleep(ahead_ns / 1e9)
            number, run = divmod(published, len(runs))
            publish(runs[run], min(1.0, number / _FULL), text_of(number + 1, at_ns))
            published += 1
        if order["flush"]:
            flush()
        print(json.dumps({"began_ns": began_ns, "ended_ns": time.monotonic_ns()}), flush=True)
