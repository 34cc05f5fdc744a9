"""Commits with both servers and both clients: what is folded, published, counted and skipped."""

from typing import Any

import pytest

from runrelay.errors import NotARun, RunlogError
from runrelay.progress import Cursor, make_event
from runrelay.runlog import ProducerSequence
from runrelay.runlog.commits import SequenceGap
from tests.support.runlog import Log, Witness, contradictions, ended, fields_of, holes, queued, read, said, started

RUN_IDS = ["r", "20251105_1430_우주여행고양이", "with space", "🎬", "*?[x]", "a:b", "x" * 200, "'\"\\"]


async def test_numbers_have_no_holes_and_announcement_and_stream_are_the_same_bytes(log: Log, witness: Witness) -> None:
    """A client that misses a message must find the same bytes in the stream."""
    sequence = ProducerSequence.fresh()
    done = await log.commit("r", [said("1"), said("2", state="A", progress=0.1)], sequence)
    assert (done.before, done.after, done.created, done.status_changed) == (0, 2, True, True)
    done = await log.commit("r", [said("3")], sequence)
    assert (done.before, done.after, done.created, done.status_changed) == (2, 3, False, False)
    other = await log.commit("r", [said("4")])
    assert (other.epoch, other.after) == (done.epoch, 4)
    assert other.cursor == Cursor(done.epoch, 4)
    heard = witness.heard()
    assert heard == witness.stream("r")
    assert [fields_of(message)["log"] for message in heard] == ["1", "2", "3", "4"]
    assert not holes(heard)


async def test_the_message_begins_with_the_original_four_fields(log: Log, witness: Witness) -> None:
    """Readers of the channel, as redis-cli and the old client, get the original fields."""
    await log.commit(
        "20251105_1430_우주여행고양이",
        [
            make_event(
                "PLOT_GENERATION", 0.15, "시나리오 CSV 생성 완료", level="warning", data={"n": 1}, ts_ms=1762300000000
            )
        ],
    )
    (message,) = witness.heard()
    fields = fields_of(message)
    assert list(fields)[:9] == ["run_id", "state", "progress", "log", "status", "seq", "epoch", "ts", "attempt"]
    assert fields == {
        "run_id": "20251105_1430_우주여행고양이",
        "state": "PLOT_GENERATION",
        "progress": 0.15,
        "log": "시나리오 CSV 생성 완료",
        "status": "running",
        "seq": 1,
        "epoch": fields["epoch"],
        "ts": 1762300000000,
        "attempt": 1,
        "level": "warning",
        "data": {"n": 1},
        "seal": fields["seal"],
    }


@pytest.mark.parametrize("run_id", RUN_IDS)
async def test_a_run_is_found_under_the_very_name_it_was_given(
    log: Log, witness: Witness, look: Any, run_id: str
) -> None:
    """A run id that is escaped or normalised would be another run."""
    await log.commit(run_id, [said("line", state="S", progress=0.5)])
    view = read(look, log.keys, run_id, Cursor("0", 0))
    assert view.snapshot.run_id == run_id
    assert view.events == witness.heard()
    assert fields_of(view.events[0])["run_id"] == run_id
    assert [line.message for line in view.snapshot.logs] == ["line"]
    assert [key.decode() for key in look.keys(f"{log.keys.prefix}:run:*}}")] == [f"{log.keys.prefix}:run:{{{run_id}}}"]


@pytest.mark.parametrize(
    "text",
    [
        "tab\tin it",
        "new\nline",
        'quote " and \\ and / and \\/',
        "\x00\x1f\x7f",
        "한글 🎬",
        "</script>",
        "%s %d",
        "null",
    ],
)
async def test_any_text_arrives_as_it_was_said(log: Log, witness: Witness, look: Any, text: str) -> None:
    """No character of a text may be lost by the script's splitting and escaping."""
    state = text if text.isprintable() else "STATE"
    await log.commit("r", [said(text, state=state), ended("FAILED", error=text)])
    first, last = (fields_of(message) for message in witness.heard())
    assert (first["log"], first["state"], last["error"]) == (text, state, text)
    snapshot = read(look, log.keys, "r").snapshot
    assert [line.message for line in snapshot.logs] == [text]
    assert snapshot.error == text


async def test_progress_never_goes_down(log: Log, witness: Witness) -> None:
    """Progress never goes down: a lower value is committed at the run's value, or not at all if alone."""
    sequence = ProducerSequence.fresh()
    await log.commit("r", [said(progress=0.5)], sequence)
    alone = await log.commit("r", [said(progress=0.3)], sequence)
    assert (alone.before, alone.after) == (1, 1)
    same = await log.commit("r", [said(progress=0.5)], sequence)
    assert (same.before, same.after) == (1, 1)
    await log.commit("r", [said("with a line", progress=0.2), said(state="B", progress=0.1)], sequence)
    await log.commit("r", [said(progress=0.500001)], sequence)
    assert [fields_of(message)["progress"] for message in witness.heard()] == [0.5, 0.5, 0.5, 0.500001]


async def test_an_event_shows_the_values_after_it_not_only_its_own(log: Log, witness: Witness) -> None:
    """A client that joins at this event must not see nulls where the run has values."""
    await log.commit("r", [said(state="A"), said("line"), said(progress=0.25), said("more", state="B")])
    seen = [(f["state"], f["progress"], f["log"]) for f in map(fields_of, witness.heard())]
    assert seen == [("A", None, None), ("A", None, "line"), ("A", 0.25, None), ("B", 0.25, "more")]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0.0"),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (1e-6, "1e-06"),
        (1 / 3, "0.333333"),
        (0.1 + 0.2, "0.3"),
        (1 - 1e-9, "1.0"),
        (1e-9, "0.0"),
    ],
)
async def test_progress_is_written_to_six_digits(log: Log, witness: Witness, value: float, written: str) -> None:
    """The rounding error of 0.1 + 0.2 must not be shown."""
    await log.commit("r", [said(progress=value)])
    (message,) = witness.heard()
    assert f'"progress":{written},'.encode() in message
    assert abs(fields_of(message)["progress"] - value) <= 5e-7


@pytest.mark.parametrize(
    ("state", "status", "progress"),
    [("END", "succeeded", 1.0), ("FAILED", "failed", 0.4), ("CANCELLED", "cancelled", 0.4)],
)
async def test_an_end_is_an_end(
    log: Log, witness: Witness, look: Any, state: str, status: str, progress: float
) -> None:
    """END sets 1.0; after any of the three states no event is delivered, and later events are counted."""
    sequence = ProducerSequence.fresh()
    end = ended(state, result=b'{"video":"film.mp4"}', error="why")
    done = await log.commit("r", [said(progress=0.4), end], sequence)
    assert (done.status, done.status_changed, done.fenced) == (status, True, 0)
    late = [said("late"), said(progress=0.9), ended("END"), ended("FAILED"), said(kind="retrying")]
    done = await log.commit("r", late, sequence)
    assert (done.before, done.after, done.status, done.fenced) == (2, 2, status, 5)
    snapshot = read(look, log.keys, "r").snapshot
    assert (snapshot.status, snapshot.state, snapshot.progress, snapshot.fenced) == (status, state, progress, 5)
    assert (snapshot.result, snapshot.error) == ({"video": "film.mp4"}, "why")
    assert snapshot.finished_at == done.updated_at or snapshot.finished_at is not None
    last = fields_of(witness.heard()[-1])
    assert (last["status"], last["progress"], last["result"], last["error"]) == (
        status,
        progress,
        {"video": "film.mp4"},
        "why",
    )
    assert len(witness.heard()) == 2


async def test_what_was_committed_before_is_skipped(log: Log, witness: Witness) -> None:
    """A commit is idempotent: a batch that is sent again is in the log once."""
    first = await log.commit("r", [said("1"), said("2")], ProducerSequence("p"))
    again = await log.commit("r", [said("1"), said("2")], ProducerSequence("p"))
    assert (again.before, again.after, again.epoch) == (2, 2, first.epoch)
    more = await log.commit("r", [said("1"), said("2"), said("3")], ProducerSequence("p"))
    assert (more.before, more.after) == (2, 3)
    later = await log.commit("r", [said("3"), said("4")], ProducerSequence("p", 3))
    assert (later.before, later.after) == (3, 4)
    assert [fields_of(message)["log"] for message in witness.heard()] == ["1", "2", "3", "4"]


async def test_marks_are_each_producer_s_and_each_run_s_own(log: Log, witness: Witness) -> None:
    """Numbers belong to one producer and one run."""
    for run_id in ("r1", "r2"):
        for producer in ("p", "q"):
            await log.commit(run_id, [said(f"{run_id} {producer}")], ProducerSequence(producer))
    assert [fields_of(message)["log"] for message in witness.heard()] == ["r1 p", "r1 q", "r2 p", "r2 q"]


async def test_a_gap_is_noticed_and_begins_a_new_epoch(log: Log, witness: Witness) -> None:
    """A server with fewer events of a producer than it acknowledged has lost data: its log gets a new epoch."""
    first = await log.commit("r", [said("1")], ProducerSequence("p"))
    after = await log.commit("r", [said("5")], ProducerSequence("p", 5))
    assert after.epoch != first.epoch
    assert (after.before, after.after) == (0, 1)
    following = await log.commit("r", [said("6")], ProducerSequence("p", 6))
    assert (following.epoch, following.after) == (after.epoch, 2)
    heard = witness.heard()
    assert not contradictions(heard)
    assert not holes(heard)
    assert witness.stream("r") == heard[1:]


async def test_a_lost_event_that_does_not_pass_leaves_the_log_as_it_is(log: Log, witness: Witness) -> None:
    """A new epoch without a reason would make every client begin again."""
    first = await log.commit("r", [said("1"), ended()], ProducerSequence("p"))
    after = await log.commit("r", [said("late")], ProducerSequence("p", 7))
    assert (after.epoch, after.before, after.after, after.fenced) == (first.epoch, 2, 2, 1)
    assert len(witness.heard()) == 2


def test_a_gap_says_where_the_server_stands() -> None:
    """The error must have the number, for debugging."""
    assert "up to number 7 only" in str(SequenceGap(7))


# Other fields of an event


async def test_title_pipeline_and_input_stay_with_the_run(log: Log, witness: Witness, look: Any) -> None:
    """A run that is started by the API is shown by its title, and can be retried."""
    await log.commit("r", [queued(title="고양이", pipeline="shorts", input=b'{"prompt":"cat"}')])
    await log.commit("r", [started(), ended("FAILED", error="e"), queued()])
    view = read(look, log.keys, "r")
    assert (view.snapshot.title, view.snapshot.pipeline, view.input) == ("고양이", "shorts", b'{"prompt":"cat"}')
    first = fields_of(witness.heard()[0])
    assert (first["title"], first["pipeline"]) == ("고양이", "shorts")
    assert "input" not in first


async def test_retrying_and_stalled_are_statuses_that_pass(log: Log, witness: Witness) -> None:
    """A stalled run recovers at the next event of its worker."""
    await log.commit("r", [started(), said(kind="retrying", state="RETRYING")])
    await log.commit("r", [said("again")])
    assert [fields_of(message)["status"] for message in witness.heard()] == ["running", "retrying", "running"]


@pytest.mark.parametrize(
    ("heartbeat_at", "attempt", "becomes"),
    [
        (1000, None, "stalled"),
        (1000, 1, "stalled"),
        (1000, 7, "running"),
        (3000, None, "running"),
        (None, None, "running"),
    ],
)
async def test_stalled_only_if_the_heartbeat_is_old_and_the_attempt_the_same(
    log: Log, look: Any, heartbeat_at: int | None, attempt: int | None, becomes: str
) -> None:
    """A reaper that read the run before a new worker began must not mark it as stalled."""
    await log.commit("r", [started()])
    if heartbeat_at is not None:
        look.hset(log.keys.run("r")[0], "heartbeat_at", heartbeat_at)
    done = await log.commit("r", [said(kind="stalled", attempt=attempt, stale_before_ms=2000)])
    assert (done.status, done.fenced) == (becomes, 0)


@pytest.mark.parametrize("kind", ["stalled", "finish"])
async def test_what_is_only_said_of_a_run_does_not_create_it(log: Log, look: Any, kind: Any) -> None:
    """A reaper that comes after a run's expiry must not create the run again."""
    done = await log.commit("gone", [said(kind=kind, stale_before_ms=10**15)])
    assert (done.after, done.status, done.created) == (0, "unknown", False)
    assert not look.exists(*log.keys.run("gone"))


# Sizes


async def test_a_batch_of_ten_thousand_lines_is_one_commit(log: Log, witness: Witness, look: Any) -> None:
    """A worker that was cut off for an hour sends a large batch; Lua unpacks less than 8,000 values."""
    count = 10_000
    done = await log.commit("r", [said(f"line {number}") for number in range(count)])
    assert (done.before, done.after) == (0, count)
    heard = witness.heard()
    assert len(heard) == count
    assert not holes(heard)
    view = read(look, log.keys, "r")
    assert [line.message for line in view.snapshot.logs] == [f"line {n}" for n in range(count - 1000, count)]
    assert (await log.commit("r", [said("next")])).after == count + 1


async def test_the_largest_event_is_committed_whole(log: Log, witness: Witness) -> None:
    """One event fills each limit."""
    event = make_event("END", 1, "가" * 5461, data={"d": "x" * 4000}, result="r" * 65_000, error="e" * 65_536)
    await log.commit("r", [event])
    fields = fields_of(witness.heard()[0])
    assert (fields["log"], fields["result"], fields["error"]) == ("가" * 5461, "r" * 65_000, "e" * 65_536)


async def test_a_command_that_can_never_succeed_is_no_outage(log: Log, look: Any) -> None:
    """A key of another type is no passing error: a producer that waits would wait for ever."""
    look.set(log.keys.run("r")[0], "not a hash")
    with pytest.raises(RunlogError, match="WRONGTYPE") as raised:
        await log.commit("r", [said("1")])
    assert type(raised.value) is NotARun
    look.delete(log.keys.run("r")[0])
    assert (await log.commit("r", [said("1")])).after == 1


async def test_data_and_result_are_passed_through_unread(log: Log, witness: Witness, look: Any) -> None:
    """Decoding a result in Lua would round large numbers and lose empty arrays."""
    raw = b'{"big":12345678901234567890,"empty":[],"deep":[[[[]]]]}'
    await log.commit("r", [said(state="S", data=raw), ended(result=raw)])
    first, last = witness.heard()
    assert b',"data":' + raw in first
    assert b',"result":' + raw in last
    assert look.hget(log.keys.run("r")[0], "result") == raw
