"""What was asked for, beside what was measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

from .figures import Figures, Goal
from .servers.measured import NCHAN, RUNRELAY

__all__ = ["goals"]

_US = RUNRELAY.name


def goals(figures: Figures) -> list[Goal]:
    """The goals of those scenarios that were measured."""
    return [*_fan_out(figures), *_many_runs(figures), *_clients(figures), *_growth(figures), *_commits(figures)]


def _fan_out(figures: Figures) -> Iterator[Goal]:
    deliveries = figures.median("a", _US, "deliveries")
    if deliveries is not None:
        yield Goal("a", "deliveries per second", deliveries, 2_000_000)
    for scenario, name, wanted, at_least in (
        ("a", "deliveries", 10.0, True),
        *((scenario, name, 1.0, False) for scenario, name in product("bc", ("p99", "p99 at random"))),
    ):
        if ratios := figures.ratios(scenario, (_US, name), (NCHAN.name, name)):
            yield Goal.of(scenario, f"{name}, as a multiple of Nchan's", ratios, wanted, at_least=at_least)


def _many_runs(figures: Figures) -> Iterator[Goal]:
    if ratios := figures.ratios("d", (_US, "delivered"), (_US, "committed, nobody watching")):
        yield Goal.of("d", "delivered, share of what Redis commits", ratios, 0.9)
    alone = figures.median("d", _US, "listener and hub alone, runs in turn")
    if alone is not None:
        yield Goal("d", "events per second, listener and hub alone", alone, 80_000)


def _clients(figures: Figures) -> Iterator[Goal]:
    memory = figures.median("e", _US, "memory per client")
    if memory is not None:
        yield Goal("e", "KB per idle client", memory, 10, at_least=False)
    accepted = "all are accepted again"
    if ratios := figures.ratios("f", (_US, accepted), (NCHAN.name, accepted)):
        yield Goal.of("f", f"{accepted}, as a multiple of Nchan's", ratios, 1.5, at_least=False)
    for name, wanted in (("last client has everything", 1.0), ("lost", 0), ("double", 0)):
        figure = figures.find("f", _US, name)
        if figure is not None:
            yield Goal("f", f"{name}, {figure.unit}, the worst round", max(figure.values), wanted, at_least=False)
    storm = figures.find("k", _US, "last subscription has joined")
    told = figures.find("k", _US, "told that Redis is down, or refused")
    if storm is not None and told is not None:
        yield Goal("k", "last subscription has joined, s, the worst round", max(storm.values), 30.0, at_least=False)
        yield Goal("k", "told that Redis is down, or refused, the worst round", max(told.values), 0, at_least=False)
    for figure in figures.of("g"):
        wanted = 5.0 if "p50" in figure.name else 50.0
        yield Goal("g", f"{figure.name}, µs", figure.median, wanted, at_least=False)
    for figure in figures.of("h"):
        if figure.name.endswith(", 1 process"):
            two = figure.name.replace("1 process", "2 processes")
            if ratios := figures.ratios("h", (_US, two), (_US, figure.name)):
                clients = figure.name.removeprefix("per CPU second, ").removesuffix(", 1 process")
                yield Goal.of("h", f"two processes, share of what one delivers, {clients}", ratios, 0.9)


def _growth(figures: Figures) -> Iterator[Goal]:
    p99s = {
        int(figure.name.split()[1].replace(",", "")): figure.median
        for figure in figures.of("i")
        if figure.measured == _US and figure.name.startswith("p99")
    }
    sizes = sorted(p99s)
    for fewer, more in pairwise(sizes):
        text = f"growth of p99 from {fewer:,} to {more:,} clients"
        yield Goal("i", text, p99s[more] / p99s[fewer], more / fewer, at_least=False)


def _commits(figures: Figures) -> Iterator[Goal]:
    for figure in figures.of("j"):
        if figure.name.endswith("whole to minimal"):
            yield Goal("j", f"{figure.name}, Redis' processor", figure.median, 2.0, at_least=False)
        elif figure.name.startswith("one run"):
            yield Goal("j", f"{figure.name}, events per second", figure.median, 40_000)
