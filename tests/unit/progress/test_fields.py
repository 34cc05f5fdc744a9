"""The table of fields: what is derived from it is complete, and an order that others rely on cannot change silently."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import orjson
import pytest

import client_fields
from runrelay.fanout.frames import progress_frame
from runrelay.progress import Event, Snapshot, StepSpec, make_event
from runrelay.progress.fields import (
    CONTROLS,
    DEFAULTS,
    EVENT_FIELDS,
    FRAME_FIELDS,
    GIVEN,
    MESSAGE_FIELDS,
    NO_CONTROLS,
    QUICK,
    RUN_FIELDS,
    WIRE_FIELDS,
    RunFields,
    leading,
)
from runrelay.testing import capture_progress

ROOT = Path(__file__).parents[3]

VALUES: dict[str, Any] = {
    "state": "FAILED", "progress": 0.5, "log": "line", "level": "error", "step": "s", "attempt": 2,
    "data": {"a": 1}, "result": [1], "error": "e",
}  # fmt: skip
"""A value of each field that a publisher may give."""


def test_every_field_of_an_event_is_in_the_table() -> None:
    """A field without its line is on no wire and in no snapshot, and nobody is told."""
    assert tuple(EVENT_FIELDS) == Event._fields
    assert tuple(RUN_FIELDS) == tuple(field.name for field in dataclasses.fields(RunFields))


def test_a_field_out_of_its_place_is_an_error_at_import() -> None:
    """The hot paths unpack an event by position: a field that moves would be sent as its neighbour."""
    assert leading(*Event._fields[QUICK]) == QUICK
    with pytest.raises(TypeError, match="an event begins with"):
        leading("ts_ms", "progress")


def test_an_event_that_only_reports_has_no_controls() -> None:
    """An event with controls is committed by the longer way."""
    assert make_event("S", 0.5, "line", level="error", data={"a": 1}, attempt=1)[CONTROLS] == NO_CONTROLS
    assert Event(0, title="t")[CONTROLS] != NO_CONTROLS
    assert Event(0) == DEFAULTS


def test_every_field_that_a_publisher_may_give_arrives() -> None:
    """A field that is checked and then forgotten is lost without a word."""
    assert set(VALUES) == set(GIVEN)
    event = make_event(**VALUES)
    for name, value in VALUES.items():
        kept = getattr(event, name)
        assert (orjson.loads(kept) if isinstance(kept, bytes) else kept) == value
    with capture_progress() as captured:
        captured.emit("r", event)
    assert {name: getattr(captured.events[0], name) for name in VALUES} == VALUES


def test_a_field_that_no_publisher_gives_is_refused() -> None:
    """A misspelt name must not be dropped silently."""
    with pytest.raises(TypeError, match=r"a publisher gives state, progress, .* of an event, got 'colour'"):
        make_event(colour="red")
    with pytest.raises(TypeError, match="got 'kind'"):
        make_event(kind="start")


def test_every_optional_field_of_a_message_is_in_its_frame() -> None:
    """A field that is committed and not framed is seen only after a reload."""
    values = {field.name: VALUES.get(field.name, "x") for field in FRAME_FIELDS if not field.always}
    values["steps"] = [StepSpec("s")._asdict()]
    message = dict.fromkeys(MESSAGE_FIELDS) | {"run_id": "r", "epoch": "e", "seq": 1, "status": "running"}
    frame = orjson.loads(progress_frame({**message, **values}).body)
    assert {name: frame[name] for name in values} == values
    assert set(WIRE_FIELDS) - {"level"} <= set(values)
    bare = orjson.loads(progress_frame({**message, "seal": "0"}).body)
    assert list(bare) == ["type", *(field.name for field in FRAME_FIELDS if field.always)]


def test_every_field_of_a_run_is_shown() -> None:
    """A field that is kept and not shown is lost for whoever joins late."""
    values: dict[str, Any] = dict.fromkeys(RUN_FIELDS, "x")
    snapshot = Snapshot("r", **values)
    polled, joined, summary = snapshot.polled(), snapshot.initial_state(recovered=True), snapshot.summary()
    for name, kept in RUN_FIELDS.items():
        assert polled[name] == "x"
        assert (name in joined) is not kept.polled
        assert (name in summary) is (kept.summary != "never")
    in_every_list = {name for name, kept in RUN_FIELDS.items() if kept.summary == "always"}
    assert set(RUN_FIELDS) & set(Snapshot("r").summary()) == in_every_list


def test_the_client_s_types_are_written_from_the_table() -> None:
    """A field that the server sends and the client does not read. Run: .venv/bin/python scripts/client_fields.py"""
    assert (ROOT / client_fields.TARGET).read_text() == client_fields.source()
