"""The tqdm-compatible bar, and the logging handler."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator

import pytest
import tqdm as real
from tqdm.contrib.concurrent import thread_map

from runrelay import RunLogHandler, run_progress
from runrelay.publisher.tqdm import tqdm, trange
from runrelay.testing import CapturedProgress, capture_progress


@pytest.fixture
def captured() -> Iterator[CapturedProgress]:
    with capture_progress() as found:
        yield found


def test_a_bar_over_an_iterable(captured: CapturedProgress) -> None:
    """A loop over the bar that misses an item, or publishes none."""
    assert list(tqdm(range(200), desc="Frames", run_id="run", span=(0.5, 1.0))) == list(range(200))
    progress = [event.progress for event in captured.events]
    assert (progress[0], progress[-1]) == (0.5, 1.0)
    assert len(progress) <= 104
    assert captured.logs("run") == ["Frames"]


def test_a_bar_that_is_updated_by_hand(captured: CapturedProgress) -> None:
    """Code written for tqdm that calls `update`, and publishes nothing."""
    bar: tqdm
    with tqdm(total=10, run_id="run", unit="file") as bar:
        bar.set_description("copying")
        bar.update(3)
        bar.update()
        bar.set_postfix(speed="fast")
        assert (bar.n, bar.total, len(bar), bool(bar)) == (4, 10, 10, True)
        bar.total = 8
        bar.update(4)
    assert [event.progress for event in captured.events][-1] == 1.0
    assert captured.logs("run") == ["copying", "copying, speed=fast"]
    assert not bar.update(1)  # closed


def test_a_bar_without_a_total_publishes_its_count(captured: CapturedProgress) -> None:
    """A progress that cannot be known."""
    bar: tqdm = tqdm(run_id="run", unit="row")
    for _ in range(1000):
        bar.update()
    bar.close()
    assert {event.progress for event in captured.events} == {None}
    assert captured.events[-1].data == {"n": 1000, "unit": "row"}
    assert len(captured.events) <= 5


def test_a_bar_belongs_to_the_current_run(captured: CapturedProgress) -> None:
    """Third-party code that uses our class instead of tqdm's, and has no run id."""
    with run_progress("run") as run, run.span(0.0, 0.5):
        assert sum(trange(4, leave=False, ncols=80, disable=False)) == 6
        assert list(tqdm([1], disable=True)) == [1]
    assert [event.progress for event in captured.of("run") if event.progress is not None][:3] == [0.0, 0.0, 0.5]


def test_a_bar_outside_of_a_run_is_drawn(captured: CapturedProgress) -> None:
    """A script outside of any run that shows no bar."""
    out = io.StringIO()
    assert list(tqdm([1, 2], desc="by hand", file=out)) == [1, 2]
    assert "by hand: 100%" in out.getvalue()
    assert captured.events == []


def test_a_bar_of_a_thread_outside_of_the_only_run_is_drawn(captured: CapturedProgress) -> None:
    """A bar that is neither drawn nor anybody's, but moves the run of another thread."""
    out = io.StringIO()
    with run_progress("run"):
        thread = threading.Thread(target=lambda: list(tqdm([1, 2], desc="aside", file=out)))
        thread.start()
        thread.join()
    assert "aside: 100%" in out.getvalue()
    assert [event.progress for event in captured.of("run")] == [None, None]


def test_a_bar_inside_a_run_is_not_drawn(captured: CapturedProgress, capsys: pytest.CaptureFixture[str]) -> None:
    """A worker's log that is full of bars."""
    for leave in (True, False):
        list(tqdm([1, 2], run_id="run", leave=leave))
    assert capsys.readouterr() == ("", "")
    assert captured.progress("run") == 1.0


def test_a_description_per_item_is_not_a_line_per_item(captured: CapturedProgress) -> None:
    """A loop with a new description a thousand times a second, which pushes older lines out of the log."""
    bar = tqdm(range(5000), run_id="run")
    for number in bar:
        bar.set_description(f"item {number}")
    lines = captured.logs("run")
    assert (lines[0], lines[-1]) == ("item 0", "item 4999")
    assert len(lines) <= 100


def test_the_bar_has_every_name_of_tqdm() -> None:
    """A name that code written for tqdm uses and that is missing."""
    used = {
        "update", "set_description", "set_description_str", "set_postfix", "set_postfix_str", "close", "refresh",
        "reset", "clear", "display", "unpause", "write", "__iter__", "__len__", "__bool__", "__enter__", "__exit__",
    }  # fmt: skip
    with capture_progress():
        bar: tqdm = tqdm(total=1, run_id="run")
        bar.clear()
        bar.display()
        bar.unpause()
        bar.reset(total=5)
        out = io.StringIO()
        bar.write("a line", file=out)
    for name in used:
        assert hasattr(real.tqdm, name)
        assert hasattr(bar, name)
    for name in ("n", "total", "desc", "initial", "iterable", "unit", "disable"):
        assert hasattr(bar, name)
    assert (out.getvalue(), bar.n, bar.total) == ("a line\n", 0, 5)


def test_a_disabled_bar_needs_no_run() -> None:
    """A script with a disabled bar that raises outside of any run."""
    assert list(tqdm([1, 2], disable=True)) == [1, 2]


def test_tools_of_tqdm_accept_the_bar(captured: CapturedProgress) -> None:
    """tqdm's `process_map`, which asks the class for its lock."""
    made = thread_map(abs, [-1, -2], tqdm_class=tqdm, run_id="run", max_workers=1)
    assert made == [1, 2]
    assert captured.progress("run") == 1.0
    with tqdm.get_lock():
        pass


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    found = logging.getLogger("somebodys.module")
    found.setLevel(logging.DEBUG)
    found.propagate = False
    yield found
    found.handlers.clear()


def test_records_become_lines_of_their_level(captured: CapturedProgress, logger: logging.Logger) -> None:
    """An error that is shown with the level info."""
    logger.addHandler(RunLogHandler("run"))
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, 25):
        logger.log(level, "at %d", level)
    assert [(event.level, event.log) for event in captured.events] == [
        ("debug", "at 10"), ("info", "at 20"), ("warning", "at 30"), ("error", "at 40"), ("error", "at 50"),
        ("info", "at 25"),
    ]  # fmt: skip


def test_the_handler_publishes_to_the_current_run_and_nothing_elsewhere(
    captured: CapturedProgress, logger: logging.Logger
) -> None:
    """A record outside of any run that raises, or is published to some run."""
    logger.addHandler(RunLogHandler())
    logger.info("outside")
    with run_progress("run"):
        logger.info("inside")
    assert captured.logs("run") == ["inside"]


def test_records_of_runrelay_and_redis_are_not_published(captured: CapturedProgress) -> None:
    """A log record about publishing that is published, which makes another log record, and so on."""
    handler = RunLogHandler("run")
    for name in ("runrelay.publisher", "redis.connection", "runrelay"):
        loud = logging.getLogger(name)
        loud.addHandler(handler)
        try:
            loud.warning("about myself")
        finally:
            loud.removeHandler(handler)
    assert captured.events == []


def test_a_record_that_cannot_be_formatted_does_not_fail_the_task(
    captured: CapturedProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    """A task that fails because of a log line."""
    RunLogHandler("run").handle(logging.LogRecord("a", logging.INFO, "a.py", 1, "%d", ("not a number",), None))
    assert "Logging error" in capsys.readouterr().err
    assert captured.events == []
