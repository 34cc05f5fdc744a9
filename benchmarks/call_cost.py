"""The task's process of scenario g: `python -m benchmarks.call_cost REDIS_URL COUNT` answers with figures as JSON."""

from __future__ import annotations

import json
import sys

from runrelay import PublisherSettings, configure, flush

from .figures import percentile
from .publish_cost import LOOPS, nothing, publish, publish_korean
from .session import free_port

__all__ = ["main"]


def main() -> None:
    """Time calls with Redis up, then with no server at its port; each with an English and a Korean line."""
    url, count = sys.argv[1], int(sys.argv[2])
    rows = []
    for redis, where in (("up", url), ("down", f"redis://127.0.0.1:{free_port()}/0")):
        publisher = configure(PublisherSettings(redis_url=where))
        publish(0)
        flush(1.0)
        for loop_name, (loop, factor) in LOOPS.items():
            empty_ns = sorted(loop(nothing, count * factor))
            for text, call in (("", publish), (", a Korean line", publish_korean)):
                took_ns = sorted(loop(call, count * factor))
                rows.append(
                    {
                        "loop": f"{loop_name}{text}",
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
