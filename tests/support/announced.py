"""What is announced of runs on the channel, and kept of them in Redis, as a test of workers sees it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import redis

from runrelay.runlog import Keys
from tests.support import celery_tasks as tasks

__all__ = ["DEADLINE_S", "Event", "Watch", "states"]

Event = dict[str, Any]
DEADLINE_S = 40.0


class Watch:
    """All messages on the channel, in order, from before the test's first task on."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self.client = client
        self.keys = keys
        self.events: list[Event] = []
        self._pubsub = client.pubsub(ignore_subscribe_messages=False)  # type: ignore[no-untyped-call]
        self._pubsub.subscribe(keys.channel)
        message = self._pubsub.get_message(timeout=5)
        assert message is not None
        assert message["type"] == "subscribe"

    def until(self, what: Callable[[Event], bool]) -> Event:
        """The first event of which `what` is true, waiting for it."""
        for event in self.events:
            if what(event):
                return event
        deadline = time.monotonic() + DEADLINE_S
        while (left_s := deadline - time.monotonic()) > 0:
            message = self._pubsub.get_message(timeout=left_s)
            if message is not None and message["type"] == "message":
                self.events.append(json.loads(message["data"]))
                if what(self.events[-1]):
                    return self.events[-1]
        raise AssertionError(f"not announced within {DEADLINE_S} s; seen: {self.events}")

    def ended(self, run_id: str) -> Event:
        return self.until(lambda e: e["run_id"] == run_id and e["status"] in ("succeeded", "failed", "cancelled"))

    def of(self, run_id: str) -> list[Event]:
        return [event for event in self.events if event["run_id"] == run_id]

    def fields(self, run_id: str) -> dict[str, str]:
        fields: Any = self.client.hgetall(self.keys.run(run_id)[0])
        return {name.decode(): value.decode() for name, value in fields.items()}

    def result(self, run_id: str) -> Any:
        """The run's result. Of a canvas it comes with the last member's end, which need not be the run's."""
        return json.loads(self.fields(run_id)["result"])

    def arrived(self, gate: str) -> int:
        """Wait until a task has arrived and waits. Returns its process id."""
        popped = self.client.blpop([f"{tasks.NAME}:at:{gate}"], timeout=int(DEADLINE_S))
        assert popped is not None, f"no task came to the gate {gate}"
        return int(popped[1])

    def let_go(self, gate: str) -> None:
        self.client.rpush(f"{tasks.NAME}:go:{gate}", 1)

    def close(self) -> None:
        self._pubsub.close()


def states(events: list[Event]) -> list[tuple[str, str]]:
    """The run's states and statuses, without repetitions."""
    seen: list[tuple[str, str]] = []
    for event in events:
        if not seen or seen[-1] != (event["state"], event["status"]):
            seen.append((event["state"], event["status"]))
    return seen
