"""What the benchmarks make of rounds: medians, ratios round by round, how sure they are, goals and the table."""

from __future__ import annotations

from math import comb
from random import Random

import pytest

from benchmarks.figures import Figures, Goal, median_interval
from benchmarks.goals import goals
from benchmarks.report import Report


def beside(ours: list[float], nchan: list[float]) -> Figures:
    figures = Figures()
    for who, values in (("runrelay", ours), ("nchan", nchan)):
        for value in values:
            figures.add("b", who, "p99", "ms", value)
    return figures


@pytest.mark.parametrize("count", [1, 2, 5])
def test_of_a_few_rounds_no_interval_is_known(count: int) -> None:
    assert median_interval([*range(count)]) is None


@pytest.mark.parametrize(("count", "kth"), [(6, 1), (8, 1), (9, 2), (21, 6), (100, 40)])
def test_the_interval_is_the_one_of_the_tables_of_the_sign_test(count: int, kth: int) -> None:
    values = Random(count).sample([*range(1, count + 1)], count)
    assert median_interval(values) == (kth, count + 1 - kth)
    assert 2 * sum(comb(count, heads) for heads in range(kth)) / 2**count <= 0.05
    assert 2 * sum(comb(count, heads) for heads in range(kth + 1)) / 2**count > 0.05


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    chance, held = Random(1), 0
    for _ in range(2_000):
        interval = median_interval([chance.expovariate(1.0) for _ in range(9)])
        assert interval is not None
        held += interval[0] <= 0.6931 <= interval[1]
    assert 0.95 <= held / 2_000 < 0.98  # 0.961 of nine


def test_round_is_put_beside_round() -> None:
    nchan = [1.0, 9.0, 2.0, 8.0, 3.0]
    figures = beside([0.9, 8.1, 1.8, 7.2, 2.7], nchan)
    assert figures.ratios("b", ("runrelay", "p99"), ("nchan", "p99")) == pytest.approx([0.9] * 5)


def test_without_a_pair_for_each_round_the_medians_are_compared() -> None:
    figures = beside([1.0, 2.0, 3.0], [4.0, 4.0])
    assert figures.ratios("b", ("runrelay", "p99"), ("nchan", "p99")) == [0.5]
    assert figures.ratios("b", ("runrelay", "p99"), ("plain", "p99")) == []


def test_a_goal_is_for_the_median_of_the_ratios() -> None:
    (goal,) = goals(beside([0.9, 1.2, 0.8], [1.0, 1.0, 1.0]))
    assert (goal.scenario, goal.reached, goal.wanted, goal.met) == ("b", 0.9, 1.0, True)
    (goal,) = goals(beside([1.1, 1.2, 0.8], [1.0, 1.0, 1.0]))
    assert goal.reached == pytest.approx(1.1)
    assert not goal.met


@pytest.mark.parametrize(("reached", "at_least", "met"), [(2.0, True, True), (1.9, True, False), (2.0, False, True)])
def test_a_goal_that_is_just_reached_is_met(reached: float, at_least: bool, met: bool) -> None:
    assert Goal("a", "x", reached, 2.0, at_least).met is met


def test_the_table_says_how_sure_a_comparison_is() -> None:
    figures = beside([0.9 + number / 100 for number in range(9)], [1.0] * 9)
    report = Report(figures, {"b": "title"}, {}, {}, "now", 1.0, quick=False)
    assert report.goals()[-1] == "| b | p99, as a multiple of Nchan's | 0.94 (0.91–0.97) | ≤ 1 | met |"
    ours = next(line for line in report.table() if "Runrelay" in line)
    assert ours.split(" | ")[-2] == "0.94", "the table's ratio is the goal's"
    assert Report.from_json(report.to_json()).table() == report.table()
