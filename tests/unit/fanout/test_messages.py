"""Frames that are cut out of sealed messages: the same as if the message had been read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runrelay.fanout.frames import progress_frame
from runrelay.fanout.messages import FrameCutter, message_prefix
from runrelay.runlog import Signer

# A machine that is busy with other things is no failure.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

EPOCH, KEY = "k3x9m2p7q1za", b"0123456789abcdef"
LOOKALIKES = (
    ',"log":', ',"status":"running","seq":', f',"epoch":"{EPOCH}","ts":', ',"level":"error"', ',"state":', "null", "\\",
)  # fmt: skip
TEXT = st.lists(st.sampled_from(LOOKALIKES) | st.text(max_size=5), max_size=4).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
DATA = st.dictionaries(TEXT | st.sampled_from(["log", "level", "status", "seq", "epoch"]), JSON, max_size=3)


def message(key: bytes = KEY, **given: Any) -> bytes:
    """A message as the commit script writes it (runlog/commit.lua)."""
    fields = {
        "run_id": "film", "state": "RENDERING", "progress": 0.25, "log": "a line", "status": "running", "seq": 7,
        "epoch": EPOCH, "ts": 1762300000000, "attempt": 1, **given,
    }  # fmt: skip
    body = orjson.dumps(fields)[:-1]
    return body + b',"seal":"' + Signer(key).sign(body) + b'"}'


@steady
@given(
    run_id=TEXT,
    state=st.none() | TEXT,
    progress=st.none() | st.floats(0, 1),
    log=st.none() | TEXT,
    seq=st.integers(1, 2**53),
    extra=st.fixed_dictionaries({}, optional={"data": DATA, "title": TEXT, "result": JSON, "step": TEXT}),
)
@example(run_id="x", state=None, progress=None, log=None, seq=1, extra={})
@example(
    run_id='a"b\\',
    state=',"log":',
    progress=1e-06,
    log=',"status":"running","seq":8',
    seq=1,
    extra={"data": {"log": 1, "status": "running", "seq": 9, "epoch": EPOCH, "ts": 3}},
)
def test_it_is_the_frame_of_the_message_that_was_read(run_id: str, extra: dict[str, Any], **fields: Any) -> None:
    """Whatever the texts and the data look like."""
    raw = message(run_id=run_id, **fields, **extra)
    frame, read = FrameCutter(EPOCH, KEY).frame(raw), progress_frame(orjson.loads(raw))
    if b',"level":' not in raw:
        assert frame is not None
    if frame is not None:
        assert orjson.loads(frame.body) == orjson.loads(read.body)
        assert frame._replace(body=b"") == read._replace(body=b"")
    assert raw.partition(b',"state":')[0] == message_prefix(run_id)


@pytest.mark.parametrize(
    "raw",
    [
        message(b"another key"), message(level="error"), message(status="succeeded"), message(status="queued"),
        message(epoch="anotherepoch"), message()[:-1], message() + b" ", b"{}", b"",
        b'{"run_id":"film","progress":0.5,"log":"by hand"}',
    ],
)  # fmt: skip
def test_what_is_not_sealed_or_says_more_is_left_to_be_read(raw: bytes) -> None:
    """A level, an end, another log; and what nobody has committed."""
    assert FrameCutter(EPOCH, KEY).frame(raw) is None


def test_without_a_key_it_makes_none() -> None:
    """Before a log begins anybody could seal its first event."""
    assert FrameCutter("0", b"").frame(message(b"", epoch="0")) is None
