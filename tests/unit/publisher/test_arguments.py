"""Wrong arguments are the caller's mistake: they raise at once, with the value and the limit, and publish nothing."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from runrelay import PublisherSettings, RunLogHandler, publish_progress, run_progress, track
from runrelay.outbox import Publisher
from runrelay.publisher.publish import use_sink
from runrelay.publisher.tqdm import tqdm
from runrelay.testing import capture_progress

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"run_id": 7}, TypeError, "run_id must be a str, got int"),
    ({"run_id": ["run"]}, TypeError, "run_id must be a str, got list"),
    ({"run_id": None}, TypeError, "run_id must be a str"),
    ({"run_id": ""}, ValueError, "1 to 200 characters, got 0"),
    ({"run_id": "x" * 201}, ValueError, "1 to 200 characters, got 201"),
    ({"run_id": "a\nb"}, ValueError, "must not contain"),
    ({"run_id": "a/b"}, ValueError, "must not contain '/'"),
    ({"run_id": "{a}"}, ValueError, "must not contain '{'"),
    ({"run_id": ".."}, ValueError, "path segment"),
    ({"progress": 1.7}, ValueError, "within 0..1, got 1.7"),
    ({"progress": -0.1}, ValueError, "within 0..1, got -0.1"),
    ({"progress": math.nan}, ValueError, "got nan"),
    ({"progress": math.inf}, ValueError, "got inf"),
    ({"progress": True}, TypeError, "number within 0..1, got bool"),
    ({"progress": "0.5"}, TypeError, "got str"),
    ({"state": ""}, ValueError, "1 to 64 characters"),
    ({"state": "x" * 65}, ValueError, "got 65"),
    ({"state": 5}, TypeError, "state must be a str"),
    ({"state": ["A"]}, TypeError, "state must be a str, got list"),
    ({"state": "A\tB"}, ValueError, "control character"),
    ({"log": b"bytes"}, TypeError, "log must be a str, got bytes"),
    ({"level": "loud"}, ValueError, "debug, info, warning or error, got 'loud'"),
    ({"step": ""}, ValueError, "step must have 1 to 64"),
    ({"data": [1]}, TypeError, "data must be a JSON object, got list"),
    ({"data": {"x": object()}}, TypeError, "data must be JSON"),
    ({"data": {"x": "y" * 5000}}, ValueError, "at most 4096 bytes of JSON"),
    ({"result": {"x": 1}}, ValueError, "result belongs to a terminal state"),
    ({"error": "no"}, ValueError, "error belongs to a terminal state"),
    ({"state": "END", "result": "x" * 70_000}, ValueError, "at most 65536 bytes"),
    ({"state": "FAILED", "error": 5}, TypeError, "error must be a str"),
    ({"attempt": 0}, ValueError, "attempt must be 1 or more, got 0"),
    ({"attempt": "1"}, TypeError, "attempt must be an int, got str"),
]
CLEAN = PublisherSettings(redis_url="redis://127.0.0.1:1/0")


@pytest.mark.parametrize("warm", [False, True], ids=["first", "after-a-good-one"])
@pytest.mark.parametrize(("arguments", "error", "words"), WRONG)
def test_wrong_arguments_raise_and_publish_nothing(
    arguments: dict[str, Any], error: type[Exception], words: str, warm: bool
) -> None:
    """A mistake that the quick path lets pass, or that raises nothing."""
    publisher = Publisher(CLEAN)
    publisher.outbox.wakeup.needs_notify = 0  # no flusher
    before = use_sink(publisher)
    try:
        if warm:
            publish_progress("run", "A", 0.5, "a line")
            publish_progress("run", "A", 0.5, "a line")
        holds = publisher.statistics()
        with pytest.raises(error, match=words.replace(".", r"\.").replace("{", r"\{")):
            publish_progress(**{"run_id": "run", **arguments})
        assert publisher.statistics() == holds
    finally:
        use_sink(before)
        publisher.outbox.ingress.clear()


@pytest.mark.parametrize(
    ("given", "kept"),
    [(0, 0.0), (1, 1.0), (1.0000005, 1.0), (-0.0000005, 0.0), (Fraction(1, 4), 0.25), (0.3, 0.3)],
)
def test_any_number_is_a_progress(given: Any, kept: float) -> None:
    """A caller's int, Fraction or numpy number that is refused, or a rounding error that is."""
    with capture_progress() as captured:
        publish_progress("run", progress=given)
    assert captured.events[0].progress == kept


class _Names(str, enum.Enum):  # noqa: UP042 - as in code from before StrEnum
    FILM = "film-7"


@pytest.mark.parametrize(
    "call",
    [
        lambda: publish_progress(_Names.FILM, progress=0.5),
        lambda: list(track([1], _Names.FILM)),
        lambda: run_progress(_Names.FILM).__enter__().__exit__(None, None, None),
    ],
)
def test_an_enum_member_as_run_id_is_its_value(call: Callable[[], object]) -> None:
    """An enum's member as a run id: it is formatted as its name, so Redis' key would be `run:{_Names.FILM}`."""
    with capture_progress() as captured:
        call()
    assert {f"{event.run_id}" for event in captured.events} == {"film-7"}


@pytest.mark.parametrize("log", ["x" * 20_000, "가" * 10_000, "\udce9 a file's name"])
def test_a_long_or_undecodable_line_is_cut_or_cleaned(log: str) -> None:
    """A line that Redis cannot take, or that is cut without a notice."""
    with capture_progress() as captured:
        publish_progress("run", log=log)
    (kept,) = captured.logs("run")
    assert len(kept.encode()) <= 16 * 1024
    assert kept.endswith("bytes cut") or "?" in kept


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: run_progress("a/b"), ValueError, "must not contain"),
        (lambda: run_progress("run", title="x" * 201), ValueError, "title must have 1 to 200"),
        (lambda: run_progress("run", state=""), ValueError, "state must have"),
        (lambda: run_progress("run", steps={"a": 0}), ValueError, "weight of step 'a' must be positive"),
        (lambda: run_progress("run", steps=["a", "a"]), ValueError, "different names"),
        (lambda: run_progress("run", steps=list(map(str, range(1001)))), ValueError, "at most 1000 steps, got 1,001"),
        (lambda: run_progress("run", attempt=0), ValueError, "attempt must be 1 or more"),
        (lambda: track([1], "a/b"), ValueError, "must not contain"),
        (lambda: track([1], "run", span=(0.5, 0.2)), ValueError, "must not end before it begins"),
        (lambda: track([1], "run", span=(0.5, 1.2)), ValueError, r"within 0\.\.1"),
        (lambda: track([1], "run", step=""), ValueError, "step must have 1 to 64"),
        (lambda: track([1], "run", total=float("nan")), ValueError, "total must be a finite number, got nan"),  # type: ignore[arg-type]
        (lambda: tqdm([1], run_id="a/b", disable=True), ValueError, "must not contain"),
        (lambda: RunLogHandler("a/b"), ValueError, "must not contain"),
        (lambda: RunLogHandler(7), TypeError, "run_id must be a str, got int"),  # type: ignore[arg-type]
    ],
)
def test_the_other_calls_refuse_wrong_arguments_at_once(
    call: Callable[[], object], error: type[Exception], words: str
) -> None:
    """A mistake that shows only when the loop begins or the run ends."""
    with capture_progress() as captured, pytest.raises(error, match=words):
        call()
    assert captured.events == []
