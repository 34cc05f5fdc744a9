"""The quick publish path gives the commit script the same bytes as the plain one, whatever text it is given."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runrelay import PublisherSettings, publish_progress
from runrelay.outbox import Publisher, quick
from runrelay.outbox.scopes import TaskScope, enter_scope, leave_scope
from runrelay.progress.checks import MAX_LOG_BYTES
from runrelay.publisher.publish import use_sink
from runrelay.runlog import Batch, Keys, Retention
from runrelay.runlog.commits import NewLog, commit_args

NOW_NS = 1_700_000_000_123_456_789
NOWHERE = "redis://127.0.0.1:1/0"
NEW_LOG = NewLog("e" * 12, "key")
Call = dict[str, Any]

texts = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(categories=("Lo", "So", "Cs")), max_size=30),  # Hangul, emoji, lone surrogates
    st.builds(
        lambda char, count: char * count,
        st.sampled_from(["x", "é", "가", "😀", "\udce9"]),
        st.sampled_from([MAX_LOG_BYTES // 4 - 1, MAX_LOG_BYTES // 4, MAX_LOG_BYTES // 4 + 1, MAX_LOG_BYTES + 1]),
    ),
)
calls = st.fixed_dictionaries(
    {"run_id": st.sampled_from(["run", "영화", "other", "a/b"])},
    optional={
        "state": st.sampled_from([None, "A", "대본", "END", ""]),
        "progress": st.one_of(
            st.none(), st.floats(0, 1), st.sampled_from([-0.0, 0, 1, True, 1.7, float("nan"), 1.0000005])
        ),
        "log": st.one_of(st.none(), texts, st.just(b"bytes")),
        "level": st.sampled_from(["info", "info", "debug"]),
        "step": st.sampled_from([None, None, "part"]),
        "data": st.sampled_from([None, None, {"x": 1}]),
        "attempt": st.sampled_from([None, None, 2]),
    },
)
scoped = st.sampled_from(["none", "current", "of a step", "in another context", "left in another context"])


@contextmanager
def scope_as(where: str) -> Iterator[None]:
    """A scope of the run `run`, as a task's code may find it."""
    scope = TaskScope("run", "part" if where == "of a step" else None, attempt=3, step_attempt=1)
    if where == "none":
        yield
        return
    if where == "in another context":
        contextvars.copy_context().run(enter_scope, scope)
    else:
        enter_scope(scope)
    try:
        if where == "left in another context":
            contextvars.copy_context().run(leave_scope, scope)
        yield
    finally:
        leave_scope(scope)


def published(sequence: list[Call], where: str, *, quick_path: bool) -> tuple[dict[str, Any], list[str], int]:
    """What the commit script would get of each run, the errors raised, and how many calls took the quick path."""
    publisher = Publisher(PublisherSettings(redis_url=NOWHERE, quick_path=quick_path))
    outbox = publisher.outbox
    outbox.wakeup.needs_notify = 0  # no flusher
    outbox.ingress_limit = 1_000_000
    before = use_sink(publisher)
    errors = []
    try:
        with scope_as(where):
            for call in sequence:
                try:
                    publish_progress(**call)
                except (TypeError, ValueError) as error:
                    errors.append(repr(error))
    finally:
        use_sink(before)
    quickly = sum(len(item) > 4 for item in outbox.ingress)
    args = {
        batch.queue.run_id: commit_args(
            Keys(), Retention(), Batch(batch.queue.run_id, "p", batch.first, batch.events), new_log=NEW_LOG, server="s"
        )
        for batch in outbox.take(0.0)
    }
    return args, errors, quickly


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (quick, time):
        monkeypatch.setattr(module, "time_ns", lambda: NOW_NS)


def same(sequence: list[Call], where: str) -> None:
    sequence = [*sequence, *sequence]  # the second time, run ids and states are known
    plain, plain_errors, none = published(sequence, where, quick_path=False)
    quickly, errors, _ = published(sequence, where, quick_path=True)
    assert quickly == plain
    assert errors == plain_errors
    assert none == 0


@given(st.lists(calls, min_size=1, max_size=8), scoped)
@example([{"run_id": "run", "progress": -0.0}], "none")
@example([{"run_id": "run", "log": "\udce9"}], "none")
@example([{"run_id": "run", "log": "한 줄"}], "left in another context")
@settings(deadline=None)
def test_the_quick_path_and_the_plain_one_commit_the_same_bytes(sequence: list[Call], where: str) -> None:
    """An event that is committed otherwise, or an error that is not raised, because the run was published before."""
    same(sequence, where)


def not_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "cut_text", lambda text, limit_bytes: text)


def unchecked_states(monkeypatch: pytest.MonkeyPatch) -> None:
    class Everything(set[Any]):
        def __contains__(self, state: object) -> bool:
            return True

    monkeypatch.setattr(quick, "_known_states", Everything())


@pytest.mark.parametrize(
    ("weaken", "call"),
    [(not_cleaned, {"run_id": "run", "log": "\udce9"}), (unchecked_states, {"run_id": "run", "state": ""})],
)
def test_the_comparison_sees_a_quick_path_that_differs(
    weaken: Callable[[pytest.MonkeyPatch], None], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: without the cleaning, or without a check, the paths are not the same."""
    same([call], "none")
    weaken(monkeypatch)
    with pytest.raises((AssertionError, TypeError)):
        same([call], "none")


@pytest.mark.parametrize("log", ["a frame", "장면 하나를 그렸습니다", "😀", "\udce9 a file's name", "가" * 4096, None])
def test_any_text_takes_the_quick_path(log: str | None) -> None:
    """A Korean line that costs its caller four times what an English one does."""
    call: Call = {"run_id": "run", "state": "A", "progress": 0.5, "log": log}
    _, _, quickly = published([call, call], "none", quick_path=True)
    assert quickly >= 1  # the second: its run id and state are known
