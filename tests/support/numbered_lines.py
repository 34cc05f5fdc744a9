"""A worker that publishes numbered lines through the real `publish_progress`: a process of its own.

    python -m tests.support.numbered_lines GENERATION PADDING RUN_ID…

It is told what to do on its standard input, one word a line, and answers each with a line of JSON:

    say N        publish N more lines of every run, as fast as that goes
    go RATE      from now on publish RATE lines a second in all, run by run, until the next order
    pause        stop that
    flush S      wait up to S seconds until everything is committed
    end S        publish END of every run, flush, leave
    leave S      flush, leave

The answer has how many lines of each run were published so far, and whether all of them are committed.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time

from runrelay import flush, publish_progress
from runrelay.publisher.publish import shut_down

__all__ = ["main"]


class _Lines:
    """The runs' lines, in turn."""

    def __init__(self, generation: int, padding: int, run_ids: list[str]) -> None:
        self.published = 0
        self._generation = generation
        self._padding = " " + "·" * padding if padding else ""
        self._run_ids = run_ids

    def say(self) -> None:
        """One more line of every run."""
        number = self.published
        for run_id in self._run_ids:
            publish_progress(run_id, "WORKING", log=f"{self._generation} {number}{self._padding}")
        self.published += 1

    def end(self) -> None:
        """The runs' ends."""
        for run_id in self._run_ids:
            publish_progress(run_id, "END")


def main() -> None:
    """Do as told until told to leave."""
    generation, padding, *run_ids = sys.argv[1:]
    lines = _Lines(int(generation), int(padding), run_ids)
    orders: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            orders.put(line)
        orders.put("leave 0")

    threading.Thread(target=read, name="orders", daemon=True).start()
    every_s: float | None = None
    due = 0.0
    leaving = False
    while not leaving:
        try:
            wait_s = None if every_s is None else max(0.0, due - time.monotonic())
            order, *numbers = orders.get(timeout=wait_s).split()
        except queue.Empty:
            lines.say()
            due += every_s or 0.0
            continue
        number = float(numbers[0]) if numbers else 0.0
        committed = None
        if order == "go":
            every_s, due = len(run_ids) / number, time.monotonic()
        else:
            every_s = None
        if order == "say":
            for _ in range(int(number)):
                lines.say()
        if order == "end":
            lines.end()
        if order in ("flush", "end", "leave"):
            committed = flush(number)
        leaving = order in ("end", "leave")
        print(json.dumps({"order": order, "published": lines.published, "committed": committed}), flush=True)  # noqa: T201
    shut_down()


if __name__ == "__main__":
    main()
