"""The two ways to load a server: as fast as it delivers, and at a given rate."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from .figures import percentile
from .generator import BenchmarkError
from .machine import cpu_s, wakeful_cores
from .session import Session

__all__ = ["Burst", "Paced", "burst", "paced", "sized_burst"]

WINDOW: Final = 2_000
"""Messages that the publisher may be ahead of the slowest client: enough for any server, too few for any to drop."""
_CHUNK: Final = 500
_BURST_TIMEOUT_S: Final = 60.0
_GRACE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Burst:
    """A burst that every client has got whole."""

    messages: int
    deliveries: int
    took_s: float
    server_cpu_s: float

    @property
    def deliveries_per_s(self) -> float:
        """From the first publish to the last receipt."""
        return self.deliveries / self.took_s


@dataclass(frozen=True, slots=True)
class Paced:
    """Messages at a rate, and how old they were when they came."""

    p50_us: float
    p99_us: float
    max_us: float
    arrived: float
    """Share of the messages that came before the time was up."""

    @property
    def note(self) -> str:
        """What is to be said of a server that cannot keep up; else empty."""
        return "" if self.arrived == 1.0 else f"cannot keep up: {self.arrived:.0%} came in time"


def burst(session: Session, messages: int) -> Burst:
    """Publish `messages` as fast as they come; every client must get each.

    Raises:
        BenchmarkError: a client was cut off or did not get all.
    """
    clients, publisher = session.clients, session.publisher
    base, first = publisher.number, publisher.published
    expected = session.expected(messages)
    clients.reset(base, each=False)
    pids = session.server.pids
    cpu_before_s = cpu_s(pids)
    deadline = time.monotonic() + _BURST_TIMEOUT_S
    while clients.counts.messages < expected:
        received = clients.fewest_messages * len(session.runs)
        while (left := messages - (publisher.published - first)) and publisher.published - first - received < WINDOW:
            publisher.order(min(_CHUNK, left))
        clients.poll(0.005, expected)
        if clients.counts.closed or time.monotonic() > deadline:
            raise BenchmarkError(f"{session.server.measured.label}: {clients.describe()}; expected {expected} messages")
    ended_ns = clients.counts.last_receive_ns
    answers = publisher.finish()
    at_end = session.server.measured.opaque or clients.lowest_number == publisher.number
    if not at_end or clients.fewest_messages * clients.count != expected:
        raise BenchmarkError(
            f"the last number is {clients.lowest_number}, not {publisher.number}: {clients.describe()}"
        )
    return Burst(messages, expected, (ended_ns - answers[0]["began_ns"]) / 1e9, cpu_s(pids) - cpu_before_s)


def sized_burst(session: Session, about_s: float) -> Burst:
    """A burst of about so many seconds: shorter ones before it find out how many messages that are, and warm up."""
    messages = 10 * len(session.runs)
    while True:
        done = burst(session, messages)
        if done.took_s >= about_s / 2:
            return done
        growth = min(10.0, 0.9 * about_s / done.took_s)
        messages = max(1, int(messages * growth) // len(session.runs)) * len(session.runs)


def paced(session: Session, rate: float, for_s: float, *, at_random: bool = False) -> Paced:
    """Publish `rate` messages per second over all runs, and take each message's age at its receipt.

    at_random: evenly only on average; how close together two of them come is chance, and the same for every server.
    A server that cannot keep up has some seconds more; what it has not delivered then is not waited for.
    """
    clients, publisher = session.clients, session.publisher
    messages = max(1, int(rate * for_s) // len(session.runs)) * len(session.runs)
    expected = session.expected(messages)
    clients.reset(publisher.number, each=True)
    with wakeful_cores():
        publisher.order(messages, rate, at_random=at_random)
        arrived = clients.poll(for_s + _GRACE_S, expected)
        publisher.finish()
    counts = clients.counts
    if counts.lost or counts.doubled or counts.closed:
        raise BenchmarkError(f"{session.server.measured.label} at {rate:g} messages/s: {clients.describe()}")
    ages = sorted(clients.latencies_us())
    return Paced(percentile(ages, 0.5), percentile(ages, 0.99), percentile(ages, 1.0), arrived / expected)
