"""The task's process of scenario g: `python -m benchmarks.call_cost REDIS_URL COUNT` answers with figures as JSON."""

from __future__ import annotations

import json
import sys

from runrelay import PublisherSettings, configure, flush

from .figures import percentile
from .publish_cost import LOOPS, nothing, publish
from .session import free_port

__all__ = ["main"]


def main() -> None:
    """Time calls with Redis up, then with nobody at its port."""
    url, count = sys.argv[1], int(sys.argv[2])
    rows = []
    for redis, where in (("up", url), ("down", f"redis://127.0.0.1:{free_port()}/0")):
        publisher = configure(PublisherSettings(redis_url=where))
        publish(0)
        flush(1.0)
        for loop_name, (loop, factor) in LOOPS.items():
            empty_ns = sorted(loop(nothing, count * factor))
            took_ns = sorted(loop(publish, count * factor))
            rows.append(
                {
                    "loop": loop_name,
                    "redis": redis,
                    "p50_us": percentile(took_ns, 0.5) / 1000,
                    "p99_us": percentile(took_ns, 0.99) / 1000,
                    "empty_p99_us": percentile(empty_ns, 0.99) / 1000,
                }
            )
            flush(30.0 if redis == "up" else 0.0)
        publisher.flusher.stop(1.0)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
