"""Snapshots: a run in the list, in an initial_state and in the polled answer."""

import dataclasses

import orjson
import pytest

from runrelay.progress import START, Cursor, LogLine, Snapshot, Status, Step

LINES = (
    LogLine(1, 1762300000000, "info", None, "시나리오 CSV 생성 완료"),
    LogLine(3, 1762300000007, "error", "render", "tab\tand\nnewline"),
)
RUN = Snapshot(
    "20251105_1430_우주여행고양이",
    Cursor("k3x9m2p7q1za", 7),
    state="RENDERING",
    status="running",
    progress=0.75,
    attempt=2,
    title="우주여행 고양이",
    pipeline="shorts",
    steps=(Step("plot", "succeeded", 1.0, 1, 2.0, 10, 20), Step("render", "running", 0.5), Step("qa")),
    data={"model": "small"},
    result={"video": "film.mp4"},
    error=None,
    created_at=1,
    started_at=2,
    updated_at=3,
    fenced=4,
    logs=LINES,
    logs_truncated=5,
)


def test_initial_state_has_the_contract_s_fields() -> None:
    """A client written against the contract needs each field, and log lines as plain strings."""
    frame = RUN.initial_state(recovered=True)
    assert frame == {
        "type": "initial_state",
        "run_id": "20251105_1430_우주여행고양이",
        "state": "RENDERING",
        "progress": 0.75,
        "logs": ["시나리오 CSV 생성 완료", "tab\tand\nnewline"],
        "logs_truncated": 5,
        "status": "running",
        "attempt": 2,
        "seq": 7,
        "id": "k3x9m2p7q1za-7",
        "recovered": True,
        "title": "우주여행 고양이",
        "pipeline": "shorts",
        "steps": [step.to_json("running") for step in RUN.steps],
        "data": {"model": "small"},
        "result": {"video": "film.mp4"},
        "error": None,
        "created_at": 1,
        "started_at": 2,
        "updated_at": 3,
        "finished_at": None,
        "ended_in": None,
        "stale": False,
    }
    # the original client reads the frame from its first four fields
    assert list(frame)[:5] == ["type", "run_id", "state", "progress", "logs"]
    orjson.dumps(frame)


def test_a_run_that_nobody_has_heard_of_has_nulls_and_the_start_cursor() -> None:
    """It may not have started: a client waits for it and resumes from `0-0`."""
    unknown = Snapshot("later")
    frame = unknown.initial_state(recovered=True)
    assert not unknown.exists
    assert unknown.cursor == START
    assert (frame["state"], frame["progress"], frame["status"]) == (None, None, "unknown")
    assert (frame["seq"], frame["id"], frame["logs"], frame["steps"]) == (0, "0-0", [], [])
    assert RUN.exists


def test_the_polled_snapshot_adds_what_a_poller_needs() -> None:
    """`epoch`, the lines with their origin, and the fenced events are in the polled answer only."""
    polled = RUN.polled()
    assert polled["epoch"] == "k3x9m2p7q1za"
    assert polled["logs"] == [line.message for line in LINES]
    assert polled["log_lines"][1] == {
        "seq": 3,
        "ts": 1762300000007,
        "level": "error",
        "step": "render",
        "message": "tab\tand\nnewline",
    }
    assert (polled["logs_truncated"], polled["fenced"], polled["result"]) == (5, 4, {"video": "film.mp4"})
    assert set(RUN.summary()) < set(polled)
    assert not {"log_lines", "fenced", "epoch"} & set(RUN.initial_state(recovered=False))


def test_a_summary_has_no_logs_and_no_result() -> None:
    """A list of a thousand runs must not carry a thousand logs."""
    assert not {"logs", "log_lines", "result", "steps", "events"} & set(RUN.summary())
    assert dataclasses.replace(RUN, stale=True).summary()["stale"] is True


@pytest.mark.parametrize(
    ("step", "run", "shown"),
    [
        ("running", "running", "running"),
        ("running", "failed", "cancelled"),
        ("running", "cancelled", "cancelled"),
        ("retrying", "failed", "cancelled"),
        ("stalled", "cancelled", "cancelled"),
        ("queued", "failed", "queued"),
        ("succeeded", "failed", "succeeded"),
        ("failed", "failed", "failed"),
        ("running", "succeeded", "running"),
    ],
)
def test_a_step_still_running_when_its_run_failed_is_shown_cancelled(step: Status, run: Status, shown: Status) -> None:
    """In a run that has ended no step is shown as running; a step that had ended before is not changed."""
    assert Step("s", step).to_json(run)["status"] == shown


def test_a_step_shows_all_its_fields() -> None:
    """The page draws the steps from these fields."""
    assert Step("plot", "failed", 0.25, 3, 2.0, 10, 20, "boom").to_json("failed") == {
        "name": "plot",
        "status": "failed",
        "progress": 0.25,
        "attempt": 3,
        "weight": 2.0,
        "started_at": 10,
        "finished_at": 20,
        "error": "boom",
    }
