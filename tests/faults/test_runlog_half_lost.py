"""Keys that are lost one by one (evicted, deleted, restored): what is left is not continued, and heals."""

from collections.abc import Callable
from typing import Any

import pytest

import runrelay.runlog.commit_connection
import runrelay.runlog.sync
from runrelay.errors import RunlogError
from runrelay.progress import Cursor, step_specs
from runrelay.runlog import ProducerSequence
from runrelay.runlog.scripts import COMMIT
from tests.support.runlog import (
    Log,
    Witness,
    contradictions,
    ended,
    fields_of,
    holes,
    keys_without_expiry,
    queued,
    read,
    said,
    weakened,
)

Harm = Callable[[Any, tuple[str, str, str]], object]

HARMS: dict[str, Harm] = {
    "the hash is gone": lambda look, keys: look.delete(keys[0]),
    "the stream is gone": lambda look, keys: look.delete(keys[1]),
    "the hash and the log lines are gone": lambda look, keys: look.delete(keys[0], keys[2]),
    "the stream and the log lines are gone": lambda look, keys: look.delete(keys[1], keys[2]),
    "the stream is empty": lambda look, keys: look.xtrim(keys[1], maxlen=0, approximate=False),
    "a stranger wrote to the stream": lambda look, keys: look.xadd(keys[1], {"e": "{}"}),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
async def test_half_a_log_heals_into_a_new_epoch(log: Log, witness: Witness, look: Any, harm: Harm) -> None:
    """Its numbers could be given out twice, or be missing; and a run must never be wedged."""
    sequence = ProducerSequence.fresh()
    first = await log.commit("r", [said("1"), said("2"), said("3", progress=0.5)], sequence)
    harm(look, log.keys.run("r"))
    view = read(look, log.keys, "r", Cursor(first.epoch, 2))
    # what cannot be caught up is not caught up by half; the newest entry is the only one asked for
    assert view.events is None or view.events == witness.heard()[2:]

    after = await log.commit("r", [said("4"), said("5")], sequence)
    assert after.epoch != first.epoch
    assert (after.before, after.after) == (0, 2)
    following = await log.commit("r", [said("6")], sequence)
    assert (following.epoch, following.after) == (after.epoch, 3)
    heard = witness.heard()
    assert [fields_of(message)["log"] for message in heard] == ["1", "2", "3", "4", "5", "6"]
    assert not contradictions(heard)
    assert not holes(heard)
    assert witness.stream("r") == heard[3:]
    assert read(look, log.keys, "r", Cursor("0", 0)).events == heard[3:]
    assert read(look, log.keys, "r", first.cursor).events is None
    assert not keys_without_expiry(look, log.keys)


async def test_a_stream_without_its_newest_entry_goes_on(log: Log, witness: Witness, look: Any) -> None:
    """The hash has the sequence, so none is given out twice; and who would have needed that entry gets a new state."""
    sequence = ProducerSequence.fresh()
    first = await log.commit("r", [said("1"), said("2"), said("3")], sequence)
    look.xdel(log.keys.run("r")[1], "3-0")
    after = await log.commit("r", [said("4")], sequence)
    assert (after.epoch, after.before, after.after) == (first.epoch, 3, 4)
    assert read(look, log.keys, "r", Cursor(first.epoch, 2)).events is None
    assert read(look, log.keys, "r", Cursor(first.epoch, 3)).events == witness.heard()[3:]
    assert not contradictions(witness.heard())


async def test_what_the_hash_knows_survives_the_loss_of_the_stream(log: Log, look: Any) -> None:
    """The page goes on showing where the run is; only the events have to be asked for anew."""
    sequence = ProducerSequence.fresh()
    life = [
        queued(title="t", pipeline="p", steps=step_specs(["a", "b"])),
        said("line", state="S", step="a", progress=0.5),
        said(kind="event", attempt=2, progress=0.3),
    ]
    await log.commit("r", life, sequence)
    before = read(look, log.keys, "r").snapshot
    look.delete(log.keys.run("r")[1])
    await log.commit("r", [said("more")], sequence)
    after = read(look, log.keys, "r").snapshot
    for name in ("state", "status", "progress", "attempt", "title", "pipeline", "steps", "created_at", "started_at"):
        assert getattr(after, name) == getattr(before, name), name
    assert [line.message for line in after.logs] == ["line", "more"]


async def test_an_end_survives_the_loss_of_the_stream(log: Log, witness: Witness, look: Any) -> None:
    """A terminal state stays terminal: a zombie must not reopen the run, nor begin an epoch for nothing."""
    first = await log.commit("r", [said("1"), ended()])
    look.delete(log.keys.run("r")[1])
    late = await log.commit("r", [said("late")])
    assert (late.epoch, late.before, late.after, late.fenced) == (first.epoch, 2, 2, 1)
    assert len(witness.heard()) == 2
    assert read(look, log.keys, "r").snapshot.status == "succeeded"
    retried = await log.commit("r", [queued(precondition="ended")])
    assert retried.epoch != first.epoch
    assert retried.attempt == 2


async def test_lost_log_lines_are_only_lost_lines(log: Log, witness: Witness, look: Any) -> None:
    """They are beside the sequence: the log goes on, and no viewer has to begin again."""
    first = await log.commit("r", [said("1"), said("2")])
    look.delete(log.keys.run("r")[2])
    after = await log.commit("r", [said("3")])
    assert (after.epoch, after.before, after.after) == (first.epoch, 2, 3)
    view = read(look, log.keys, "r", first.cursor)
    assert [line.message for line in view.snapshot.logs] == ["3"]
    assert view.events == witness.heard()[2:]
    assert not keys_without_expiry(look, log.keys)


async def test_a_deleted_run_begins_again_with_nothing(log: Log, witness: Witness, look: Any) -> None:
    """Its producers' numbers go on, its own begin again under another name."""
    sequence = ProducerSequence.fresh()
    first = await log.commit("r", [said("1"), said("2")], sequence)
    look.delete(*log.keys.run("r"))
    after = await log.commit("r", [said("3")], sequence)
    assert (after.epoch != first.epoch, after.before, after.after, after.created) == (True, 0, 1, True)
    assert not contradictions(witness.heard())
    assert [line.message for line in read(look, log.keys, "r").snapshot.logs] == ["3"]


async def test_old_lines_do_not_come_back_with_a_new_hash(log: Log, look: Any) -> None:
    """A run whose hash was lost is a new run: its lines begin with its own."""
    await log.commit("r", [said("old")])
    look.delete(*log.keys.run("r")[:2])
    await log.commit("r", [said(progress=0.1)])
    assert read(look, log.keys, "r").snapshot.logs == []


CONTROLS = {
    "the stream is gone": ("redis.call('XLEN', stream) == 0", "false"),
    "a stranger wrote to the stream": ("string.find(first.err, 'equal or smaller', 1, true)", "false"),
    "the hash is gone": ("redis.call('EXISTS', stream) == 1", "false"),
}


@pytest.mark.parametrize("harm", CONTROLS.keys())
async def test_without_the_look_at_the_stream_it_does_not_heal(
    log: Log, witness: Witness, look: Any, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    """Negative control: the same harm, with a script that does not look, leaves a log with a hole or wedges the run."""
    for module in (runrelay.runlog.sync, runrelay.runlog.commit_connection):
        monkeypatch.setattr(module, "COMMIT", weakened(COMMIT, *CONTROLS[harm]))
    sequence = ProducerSequence.fresh()
    await log.commit("r", [said("1"), said("2"), said("3")], sequence)
    HARMS[harm](look, log.keys.run("r"))
    try:
        await log.commit("r", [said("4")], sequence)
    except RunlogError:
        wedged = True
    else:
        wedged = False
    assert wedged or [fields_of(message)["seq"] for message in witness.stream("r")] == [4]
