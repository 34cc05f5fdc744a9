"""What one call of publish_progress costs the calling thread: `python benchmarks/publish_cost.py`.

Tight: call after call. Paced: one call every millisecond; in between the thread works (`busy`: caches stay warm) or
sleeps (`idle`: after a sleep everything is slow, an empty function too). So the table also has the cost of an empty
function in the same loop and, for comparison, of a PUBLISH without runrelay. A Korean line must cost what an English
one does.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import redis

from runrelay import PublisherSettings, configure, flush, publish_progress
from runrelay.outbox import Publisher
from tests.support.servers import Server, valkey_binary

Call = Callable[[int], object]
PACE_NS = 1_000_000


def tight(call: Call, count: int) -> list[int]:
    took = []
    clock = time.perf_counter_ns
    for i in range(count):
        before = clock()
        call(i)
        took.append(clock() - before)
    return took


def paced_busy(call: Call, count: int) -> list[int]:
    took = []
    clock = time.perf_counter_ns
    due = clock()
    for i in range(count):
        due += PACE_NS
        while clock() < due:
            pass
        before = clock()
        call(i)
        took.append(clock() - before)
    return took


def paced_idle(call: Call, count: int) -> list[int]:
    took = []
    clock = time.perf_counter_ns
    for i in range(count):
        time.sleep(PACE_NS / 1e9)
        before = clock()
        call(i)
        took.append(clock() - before)
    return took


LOOPS = {"tight": (tight, 20), "paced, busy": (paced_busy, 1), "paced, idle": (paced_idle, 1)}


def measure(title: str, calls: dict[str, Call], count: int) -> None:
    print(f"\n{title}")
    print(f"  {'loop':12}  {'call':18}  {'p50 µs':>8}  {'p99 µs':>8}  {'max µs':>9}")
    for loop_name, (loop, factor) in LOOPS.items():
        for name, call in calls.items():
            took = sorted(loop(call, count * factor))
            p50, p99, worst = (took[min(len(took) - 1, len(took) * q // 1000)] / 1e3 for q in (500, 990, 1000))
            print(f"  {loop_name:12}  {name:18}  {p50:8.2f}  {p99:8.2f}  {worst:9.1f}")


def nothing(i: int) -> None:
    """What the loop itself costs."""


def publish(i: int) -> None:
    publish_progress("benchmark", "RENDERING", i % 1000 / 1000, "a frame is rendered")


def publish_korean(i: int) -> None:
    publish_progress("benchmark", "RENDERING", i % 1000 / 1000, "장면 하나를 그렸습니다")


def update(i: int) -> None:
    publish_progress("benchmark", None, i % 1000 / 1000)


def report(publisher: Publisher) -> None:
    counts = publisher.counts
    print(f"  committed {counts.committed}, coalesced {counts.coalesced}, dropped {counts.dropped_lines} lines")


def main() -> None:
    parser = argparse.ArgumentParser(description="What publish_progress costs the calling thread.")
    parser.add_argument("--count", type=int, default=2000, help="calls per paced loop (a tight one has 20 times that)")
    count = parser.parse_args().count
    print(f"{platform.machine()}, Python {sys.version.split()[0]}, redis-py {redis.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        server = Server(valkey_binary(), Path(folder))
        server.start()
        try:
            publisher = configure(PublisherSettings(redis_url=server.url))
            client = redis.Redis.from_url(server.url)
            measure(
                "Redis up",
                {
                    "nothing": nothing,
                    "line and progress": publish,
                    "Korean line": publish_korean,
                    "progress only": update,
                    "redis PUBLISH": lambda i: client.publish("benchmark", b'{"run_id":"benchmark"}'),
                },
                count,
            )
            flush(30)
            report(publisher)
            client.close()
        finally:
            server.kill()
        publish_progress("benchmark", log="is it there?")
        flush(0.5)
        measure(
            "Redis down",
            {
                "nothing": nothing,
                "line and progress": publish,
                "Korean line": publish_korean,
                "progress only": update,
            },
            count,
        )
        report(publisher)
        publisher.flusher.stop(1.0)


if __name__ == "__main__":
    main()
