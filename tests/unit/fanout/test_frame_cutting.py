"""Frames that are cut out of committed messages: byte for byte the same as if the message had been parsed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runrelay.codes import CloseCode
from runrelay.fanout import Connection, Hub, frame_cutting
from runrelay.fanout.frame_cutting import PREFIX_END, FrameCutter, message_prefix
from runrelay.fanout.frames import Batch
from runrelay.metrics import RelayMetrics
from runrelay.progress import Cursor, Snapshot
from runrelay.runlog import RunView, Signer

# A machine that is busy with other things is no failure.
steady = settings(deadline=None, suppress_health_check=[*HealthCheck])

EPOCH, KEY = "k3x9m2p7q1za", b"0123456789abcdef"
LOOKALIKES = (
    ',"log":', ',"status":"running","seq":', f',"epoch":"{EPOCH}","ts":', ',"level":"error"', ',"state":', "null", "\\",
    "우주여행고양이", "🐈\u200d⬛", "\t\x00\x1f\x7f\u2028", '\\"', "</script>",
)  # fmt: skip
TEXT = st.lists(st.sampled_from(LOOKALIKES) | st.text(max_size=5), max_size=4).map("".join)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
DATA = st.dictionaries(TEXT | st.sampled_from(["log", "level", "status", "seq", "epoch"]), JSON, max_size=3)
EXTRA = st.fixed_dictionaries({}, optional={"data": DATA, "result": JSON, "title": TEXT, "step": TEXT}).map(
    lambda drawn: {name: drawn[name] for name in ("data", "result", "title", "step") if name in drawn}
)
"""Optional fields, in the order in which the script writes them."""


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
    extra=EXTRA,
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
def test_a_cut_frame_is_the_frame_of_the_parsed_message(run_id: str, extra: dict[str, Any], **fields: Any) -> None:
    """Whatever the texts, the numbers and the data look like."""
    raw = message(run_id=run_id, **fields, **extra)
    cutter = FrameCutter(EPOCH, KEY)
    frame = cutter.cut(raw)
    if b',"level":' not in raw:
        assert frame is not None
    if frame is not None:
        assert frame == cutter.parse(raw)
    assert raw.partition(PREFIX_END)[0] == message_prefix(run_id)


@dataclass(eq=False)
class Client:
    """A client that keeps what it is sent."""

    resume_bytes = 1_000
    stays_after_end = False
    closed: tuple[CloseCode, str] | None = None

    def __init__(self) -> None:
        self.connection: Connection = self
        self.stream = b""
        self.joined = asyncio.Event()

    def send(self, batch: Batch, *, exempt: bool = False) -> bool:
        self.stream += batch.wire
        self.joined.set()
        return True

    def when_drained(self, callback: Callable[[], None]) -> bool:
        return True

    def close(self, code: CloseCode, reason: str = "") -> None:
        raise AssertionError("nobody is cut off")

    def tick(self) -> None:
        pass

    def run_ended(self) -> None:
        raise AssertionError("the run has not ended")

    def run_failed(self, error: Exception) -> None:
        raise AssertionError("nothing has failed") from error


class RunlogStub:
    """A run log with one run, which has begun and has no event yet."""

    async def read(self, run_id: str, after: Cursor | None, *, event_bytes: int, later: bool) -> RunView:
        return RunView(Snapshot(run_id, Cursor(EPOCH, 0), status="running"), None, KEY)


async def _stream(raws: list[bytes]) -> tuple[bytes, RelayMetrics]:
    """What a client of run `film` is sent when these messages arrive."""
    metrics, client, runlog = RelayMetrics(), Client(), RunlogStub()
    hub = Hub(runlog, metrics, end_after_s=1e6)  # type: ignore[arg-type]
    hub.link_up()
    hub.join("film", client, None)
    await client.joined.wait()
    for raw in raws:
        hub.receive([raw], more=False)
    hub.leave("film", client)
    return client.stream, metrics


EVENTS = st.lists(
    st.tuples(
        st.fixed_dictionaries(
            {"state": st.none() | TEXT, "progress": st.none() | st.floats(0, 1), "log": st.none() | TEXT}
        ),
        st.sampled_from([{}, {}, {"level": "error"}]),
        EXTRA,
        st.sampled_from([KEY, KEY, b"forged"]),
    ),
    max_size=5,
)


@steady
@given(events=EVENTS)
def test_with_the_cutting_turned_off_a_client_gets_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, events: list[Any]
) -> None:
    """From the channel to the client, with forged messages and some that are not cut between."""
    raws, seq = [], 1
    for fields, level, extra, key in events:
        raws.append(message(key, seq=seq, **fields, **level, **extra))
        seq += key == KEY
    results = []
    for enabled in (True, False):
        monkeypatch.setattr(frame_cutting, "ENABLED", enabled)
        results.append(asyncio.run(_stream(raws)))
    assert results[0] == results[1]
    assert results[0][1].forged == len(raws) - (seq - 1)
    assert results[0][1].deliveries == seq  # with the initial_state


def test_the_switch_turns_the_cutting_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared above are two ways, and not one with itself."""
    assert FrameCutter(EPOCH, KEY).cut(message()) is not None
    monkeypatch.setattr(frame_cutting, "ENABLED", False)
    assert FrameCutter(EPOCH, KEY).cut(message()) is None


@pytest.mark.parametrize(
    "raw",
    [
        message(b"another key"), message(level="error"), message(status="succeeded"), message(status="queued"),
        message(epoch="anotherepoch"), message()[:-1], message() + b" ", b"{}", b"",
        b'{"run_id":"film","progress":0.5,"log":"by hand"}',
    ],
)  # fmt: skip
def test_a_message_with_a_wrong_mac_or_unusual_fields_is_not_cut(raw: bytes) -> None:
    """A level, an end, another log; and a message that nobody has committed."""
    assert FrameCutter(EPOCH, KEY).cut(raw) is None


def test_a_cutter_without_a_key_cuts_nothing() -> None:
    """Before a log begins anybody could make the MAC of its first event."""
    assert FrameCutter("0", b"").cut(message(b"", epoch="0")) is None
