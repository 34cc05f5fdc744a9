"""Commits: the arguments of the script, and its replies."""

from typing import Any

import orjson
import pytest

from runrelay.errors import CommitRefused, RunExists, RunlogError, RunNotEnded
from runrelay.progress import Cursor, Event, StepSpec, make_event
from runrelay.runlog import Batch, Committed, Keys, ProducerSequence, Retention
from runrelay.runlog.commits import NewLog, SequenceGap, commit_args, parse_commit, refusal

HEAD, WIDTH = 3 + 14, 9
EPOCH = "k3x9m2p7q1za"
NEW_LOG = NewLog(EPOCH, "0123456789abcdef")


def args_of(*events: Event, **options: Any) -> list[Any]:
    batch = Batch("우주", "p", 7, events)
    return commit_args(Keys(), Retention(), batch, new_log=NEW_LOG, server="s", **options)


def test_the_head_has_the_keys_and_what_concerns_the_whole_batch() -> None:
    """The script reads its arguments by position."""
    *head, named = args_of(make_event("S"))[:HEAD]
    assert head == [
        *Keys().run("우주"),
        "autoshorts:progress",
        '"우주"'.encode(),
        EPOCH,
        "s",
        "p",
        7,
        b"",
        86400,
        86400,
        1000,
        10_000,
        2 << 20,
        "0123456789abcdef",
    ]
    assert named == 0
    assert args_of(server_lost_data=True)[9] == b"1"


def test_an_ordinary_event_carries_no_control() -> None:
    """Most events are ordinary; the script must not decode JSON for each of them."""
    event = make_event("S", 1 / 3, "로그", level="warning", data={"a": 1}, attempt=2, ts_ms=5)
    assert args_of(event)[HEAD:] == [
        b"",
        5,
        "S",
        "0.333333",
        "로그",
        '"로그"'.encode(),
        b"2",
        b"",
        b',"level":"warning","data":{"a":1}',
    ]
    assert args_of(Event(5))[HEAD:] == [b"", 5, b"", b"", b"", b"", b"", b"", b""]


@pytest.mark.parametrize(
    ("events", "named"),
    [
        ([make_event("S", 0.5, "line")], 0),
        ([make_event(log="a", attempt=2), make_event(log="b", attempt=3), make_event(log="c", attempt=1)], 3),
        ([make_event(log="a", attempt=2), make_event("END")], b""),
        ([make_event(step="s", progress=0.5)], b""),
        ([Event(0, title="t")], b""),
        ([Event(0, kind="start")], b""),
    ],
)
def test_a_batch_that_only_reports_says_so(events: list[Event], named: int | bytes) -> None:
    """The script takes its short way (`plain`) for such a batch, and must not for any other."""
    assert args_of(*events)[HEAD - 1] == named


@pytest.mark.parametrize(
    ("event", "control"),
    [
        (Event(0, kind="start", base_attempt=2, reopen=True), {"kind": "start", "base_attempt": 2, "reopen": True}),
        (Event(0, kind="stalled", stale_before_ms=9), {"kind": "stalled", "stale_before_ms": 9}),
        (Event(0, "END", result=b'{"a":1}'), {"kind": "event", "result": '{"a":1}'}),
        (Event(0, "FAILED", error="e"), {"kind": "event", "error": "e"}),
        (Event(0, title="t"), {"kind": "event", "title": "t"}),
        (Event(0, pipeline="p"), {"kind": "event", "pipeline": "p"}),
        (Event(0, "CANCELLED", base_attempt=3), {"kind": "event", "base_attempt": 3}),
        (Event(0, input=b"1"), {"kind": "event", "input": "1"}),
        (Event(0, kind="start", only_if_not_superseded=True), {"kind": "start", "only_if_not_superseded": True}),
        (Event(0, precondition="unfinished"), {"kind": "event", "precondition": "unfinished"}),
        (
            Event(0, kind="queue", input=b"{}", precondition="absent"),
            {"kind": "queue", "input": "{}", "precondition": "absent"},
        ),
        (
            Event(0, steps=(StepSpec("a", 2.0),)),
            {"kind": "event", "steps": [{"name": "a", "weight": 2.0}]},
        ),
    ],
)
def test_what_is_seldom_travels_as_control(event: Event, control: dict[str, Any]) -> None:
    """A field that is missing here is lost silently."""
    assert orjson.loads(args_of(event)[HEAD]) == control


def test_extras_are_a_fragment_that_completes_a_message() -> None:
    """Level first, so that the script finds it; result and data as they were encoded."""
    event = Event(
        0, "END", level="error", data=b"{}", result=b"[1]", error='"', title="t", pipeline="p", steps=(StepSpec("a"),)
    )
    extra = args_of(event)[-1]
    assert extra.startswith(b',"level":"error"')
    assert orjson.loads(b'{"x":0' + extra + b"}") == {
        "x": 0,
        "level": "error",
        "data": {},
        "result": [1],
        "error": '"',
        "title": "t",
        "pipeline": "p",
        "steps": [{"name": "a", "weight": 1.0}],
    }


@pytest.mark.parametrize(
    ("attempt", "step_attempt", "fence"), [(None, None, b""), (3, None, b"3"), (None, 2, b"/2"), (3, 2, b"3/2")]
)
def test_fences_of_run_and_step_travel_together(attempt: int | None, step_attempt: int | None, fence: bytes) -> None:
    """Either may be given without the other."""
    assert args_of(Event(0, step="s", attempt=attempt, step_attempt=step_attempt))[HEAD + 6] == fence


def test_each_event_takes_the_same_number_of_arguments() -> None:
    """The script goes from one event to the next by this number."""
    many = [make_event(), make_event("END", 1, "x", result=1), Event(0, kind="start")]
    assert len(args_of(*many)) == HEAD + WIDTH * len(many)


# Replies


def test_a_reply_is_read_into_its_fields() -> None:
    """The fields of the reply are read by position."""
    reply = [b"ok", EPOCH.encode(), 3, 5, b"running", 2, 1, 0, b"cs", 99, 4]
    done = parse_commit("r", reply)
    assert done == Committed(EPOCH, 3, 5, "running", 2, 1, 0, True, True, 99, 4)
    assert done.cursor == Cursor(EPOCH, 5)
    neither = parse_commit("r", [*reply[:8], b"", *reply[9:]])
    assert (neither.created, neither.status_changed) == (False, False)


def test_a_gap_and_a_refusal_are_raised() -> None:
    """A gap and a refusal must not be taken for a result."""
    with pytest.raises(SequenceGap) as gap:
        parse_commit("r", [b"gap", 7])
    assert gap.value.mark == 7
    with pytest.raises(CommitRefused, match="run 'r' is running \\(attempt 2\\)"):
        parse_commit("r", [b"refused", b"running", 2])
    with pytest.raises(RunlogError, match="answered"):
        parse_commit("r", [b"what"])


def test_a_refusal_is_named_by_the_condition_that_did_not_hold() -> None:
    """The API answers 409 for these, and 404 for a run that is not there."""
    refused = CommitRefused("r", "running", 2, "why")
    unknown = CommitRefused("r", "unknown", 0, "why")
    assert type(refusal(Event(0, precondition="absent"), refused)) is RunExists
    ended = refusal(Event(0, precondition="ended"), refused)
    assert type(ended) is RunNotEnded
    assert (ended.run_id, ended.status, ended.attempt) == ("r", "running", 2)
    assert refusal(Event(0, precondition="ended"), unknown) is unknown
    assert "it has ended" in str(refusal(Event(0, precondition="unfinished"), refused))
    assert refusal(Event(0), refused) is refused


def test_numberings_are_fresh() -> None:
    """Events of two producers with one id would be taken for each other's."""
    names = {ProducerSequence.fresh().producer for _ in range(1000)}
    assert len(names) == 1000
    assert ProducerSequence.fresh().next == 1
