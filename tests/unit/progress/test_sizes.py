"""Sizes: a snapshot of any run has a limit, and tells what is left out."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runrelay.fanout.catchup import initial_state_frame
from runrelay.fanout.frames import Batch
from runrelay.progress import MAX_SNAPSHOT_BYTES, Cursor, LogLine, Snapshot, Step, fitted
from runrelay.progress.sizes import cut_as_json

RUN = Snapshot("r", Cursor("k3x9m2p7q1za", 7), state="RENDERING", status="running", progress=0.5)


class Text(NamedTuple):
    """A character, and how often: the recipe for a long text, which can be printed."""

    char: str
    times: int

    def __str__(self) -> str:
        return self.char * self.times


def texts(most: int) -> st.SearchStrategy[Text]:
    """Plain text, and such as JSON writes with two and with six bytes, or UTF-8 with four."""
    return st.builds(Text, st.sampled_from(["x", '"', "\x01", "가", "🎬"]), st.integers(0, most))


RECIPES = st.fixed_dictionaries(
    {
        "run_id": texts(200),
        "state": texts(64),
        "title": texts(100_000),  # more than anything of ours writes
        "pipeline": texts(200),
        "error": texts(65_536),
        "result": st.one_of(texts(70_000), st.integers(0, 100_000)),
        "steps": st.sampled_from([0, 1, 20, 1000, 3000]),
        "step": texts(64),
        "step_error": st.none() | texts(3_000),
        "steps_truncated": st.sampled_from([0, 19_000]),
        "lines": st.integers(0, 1000),
        "line": texts(16_384),
        "logs_truncated": st.sampled_from([0, 5]),
    }
)


def run_of(recipe: dict[str, Any]) -> Snapshot:
    name, line, result = str(recipe["step"]), str(recipe["line"]), recipe["result"]
    error = None if recipe["step_error"] is None else str(recipe["step_error"])
    lines = min(recipe["lines"], 262_144 // (len(line.encode()) + 4))  # as much as a read of the log gives
    labels: dict[str, Any] = {key: str(recipe[key]) for key in ("run_id", "state", "title", "pipeline", "error")}
    return dataclasses.replace(
        RUN,
        **labels,
        result=str(result) if isinstance(result, Text) else list(range(result)),
        steps=tuple(
            Step(f"{name}{n}", "failed", 1 / 3, 1, 2 / 3, 10**12, 10**12, error) for n in range(recipe["steps"])
        ),
        steps_truncated=recipe["steps_truncated"],
        logs=[LogLine(n, 10**12, "info", name or None, f"{n}{line}") for n in range(lines)],
        logs_truncated=recipe["logs_truncated"],
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recipe=RECIPES)
def test_no_run_is_too_large_to_be_shown(recipe: dict[str, Any]) -> None:
    """Clients and proxies close the connection, or fail, at a message above the limit."""
    run = run_of(recipe)
    frame = initial_state_frame(run, recovered=True)
    batch = Batch([frame])
    assert len(frame.sse) <= MAX_SNAPSHOT_BYTES
    assert len(batch.wire) <= MAX_SNAPSHOT_BYTES
    joined = orjson.loads(frame.body)
    raw = fitted(run.polled())
    assert len(raw) <= MAX_SNAPSHOT_BYTES
    polled = orjson.loads(raw)
    assert len(polled["logs"]) == len(polled["log_lines"])
    for fields in (joined, polled):
        # the newest lines of the log and the first steps are there, and the rest is counted
        lines, steps = fields["logs"], fields["steps"]
        assert lines == [line.message for line in run.logs][len(run.logs) - len(lines) :]
        assert len(lines) + fields["logs_truncated"] == len(run.logs) + run.logs_truncated
        assert [step["name"] for step in steps] == [step.name for step in run.steps][: len(steps)]
        assert len(steps) + fields.get("steps_truncated", 0) == len(run.steps) + run.steps_truncated
        assert fields["run_id"] == run.run_id
        assert fields["result"] == run.result or fields["result_truncated"] is True
        # no part is left out while a part that goes before it is still there
        if len(steps) < len(run.steps) or "result_truncated" in fields:
            assert not lines


@pytest.mark.parametrize("steps", [0, 1000])
def test_what_fits_is_whole(steps: int) -> None:
    """Lines must not be dropped while there is room."""
    run = dataclasses.replace(
        RUN,
        steps=tuple(Step(f"step {n}", error="boom") for n in range(steps)),
        error="e" * 65_536,
        result="r" * 65_000,
        logs=[LogLine(n, 1, "info", None, "x" * 100) for n in range(600)],
    )
    for fields in (run.initial_state(recovered=True), run.polled()):
        assert orjson.loads(fitted(fields)) == fields
        assert "steps_truncated" not in fields


def test_a_long_log_loses_its_oldest_lines_and_nothing_else() -> None:
    """The end of a log is the important part."""
    lines = [LogLine(n, 1, "info", None, f"{n} " + "\x01" * 1000) for n in range(250)]
    run = dataclasses.replace(RUN, logs=lines, error="e" * 60_000, steps=(Step("a", error="b" * 4_000),))
    fields = orjson.loads(fitted(run.initial_state(recovered=True)))
    assert 60 < len(fields["logs"]) < 100
    assert fields["logs"][-1] == lines[-1].message
    assert fields["logs_truncated"] == 250 - len(fields["logs"])
    assert (fields["error"], fields["steps"][0]["error"]) == ("e" * 60_000, "b" * 4_000)
    assert len(orjson.dumps(fields)) > MAX_SNAPSHOT_BYTES - 8_000, "not more than is needed"


def test_the_fields_are_left_as_they_were() -> None:
    """A snapshot is cached for the time when Redis is away: fitting it must not change it."""
    steps = [{"name": "a", "error": "\x01" * 70_000}]
    fields = {"logs": ["x" * 300_000] * 2, "logs_truncated": 0, "steps": steps, "result": None, "error": "e"}
    before = orjson.dumps(fields)
    assert len(fitted(fields)) <= MAX_SNAPSHOT_BYTES
    assert orjson.dumps(fields) == before


@given(text=texts(5_000), limit=st.integers(200, 4_000))
def test_a_text_is_cut_by_its_size_as_json(text: Text, limit: int) -> None:
    """Control characters take six bytes each in JSON: a limit for plain text only would be exceeded."""
    cut = cut_as_json(str(text), limit)
    assert len(orjson.dumps(cut)) <= limit
    assert cut == str(text) or (cut.endswith("bytes cut") and len(orjson.dumps(str(text))) > limit)


def test_a_summary_has_the_beginning_of_an_error() -> None:
    """A page of the list has 200 runs, and each may have a long error."""
    failed = dataclasses.replace(RUN, status="failed", error="ValueError: no\n" + "\x01" * 60_000)
    error = failed.summary()["error"]
    assert error.startswith("ValueError: no\n")
    assert len(orjson.dumps(error)) <= 2048
    assert failed.polled()["error"] == failed.initial_state(recovered=True)["error"] == failed.error
    assert dataclasses.replace(RUN, error="short").summary()["error"] == "short"
    assert RUN.summary()["error"] is None
