"""The script's messages, as a relay reads them: with a MAC, and with a layout from which frames can be cut."""

from __future__ import annotations

from typing import Any

from runrelay.fanout.frame_cutting import FrameCutter, message_prefix
from runrelay.runlog import Signer
from tests.support.runlog import Log, Witness, read, said


async def test_each_message_is_sealed_with_the_run_s_key(log: Log, witness: Witness, look: Any) -> None:
    """A relay must recognise a forged message without asking Redis."""
    await log.commit("r", [said("1"), said("2", progress=0.3)])
    key = read(look, log.keys, "r").seal_key
    assert len(key) == 16
    heard = witness.heard()
    assert all(Signer(key).verify(message) for message in heard)
    assert Signer(key).verify(heard[0].replace(b'"log":"1"', b'"log":"9"')) is None
    assert Signer(b"0" * 16).verify(heard[0]) is None
    assert key not in b"".join(heard)


async def test_what_reports_is_written_so_that_a_relay_need_not_read_it(log: Log, witness: Witness, look: Any) -> None:
    """If frames could not be cut, they would still be right, but would cost three times the CPU."""
    data = b'{"image":{"log":1,"status":"running","seq":1}}'
    reports = [said('한글 "q"'), said(None, progress=0.3), said("x", data=data), said("y", step="a")]
    await log.commit("여행", reports)
    view = read(look, log.keys, "여행")
    known, heard = FrameCutter(view.snapshot.cursor.epoch, view.seal_key), witness.heard()
    assert len(heard) == 4
    for raw in heard:
        frame = known.cut(raw)
        assert frame is not None
        assert frame == known.parse(raw)
        assert raw.startswith(message_prefix("여행") + b',"state":')
