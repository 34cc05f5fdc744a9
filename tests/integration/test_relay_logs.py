"""What clients can make the relay write into its log."""

from __future__ import annotations

import logging
import re

import httpx
import pytest

from runrelay.api import log_config
from runrelay.api.log_config import guarded_logs
from tests.support.clients import eventually, watch
from tests.support.raw_http import answer_to
from tests.support.relay import BOTH_PROTOCOLS, RelayProcess, StartProcess, StartRelay


def _flood(relay: RelayProcess) -> None:
    for _ in range(300):
        answer_to(relay.port, b"\x16\x03\x01 this is TLS\r\n\r\n")
    about = [line for line in relay.log.splitlines() if "refused a request" in line or "Invalid HTTP" in line]
    assert len(about) <= 100, f"{len(about)} lines"


async def test_a_flood_is_counted_not_logged(start_process: StartProcess) -> None:
    """A client that costs a line with each of its packets could fill the disk, and hide what matters."""
    relay = start_process(log_lines_per_s=1)
    _flood(relay)
    await eventually(lambda: re.search(r"\d+ more lines like this were left out: .*refused", relay.log), "it is told")
    with pytest.raises(AssertionError, match="300 lines"):
        _flood(start_process(log_lines_per_s=0))


async def test_one_line_for_each_connection(start_process: StartProcess) -> None:
    """Three lines for each client of thousands that come back are most of the log, and cost the relay time."""
    relay = start_process(end_after_s=0)
    before = len(relay.log.splitlines())
    for _ in range(3):
        async with watch(relay.ws("a run"), "a run") as client:
            await client.frame("initial_state")
        async with httpx.AsyncClient(trust_env=False) as http, http.stream("GET", relay.run("a run", "/events")) as got:
            assert got.status_code == 200
    await eventually(lambda: relay.log.count(" closed: ") == 6, "all six are told")
    relay.kill()
    assert len(relay.log.splitlines()) - before <= 6 + 3, relay.log  # the leases', and the listener's
    assert all(
        "127.0.0.1 closed: " in line for line in relay.log.splitlines() if "a run" in line or "WebSocket" in line
    )


@BOTH_PROTOCOLS
async def test_on_both_paths(start_relay: StartRelay, caplog: pytest.LogCaptureFixture) -> None:
    """A connection that is not told of on one path is missed by whoever looks for it."""
    caplog.set_level(logging.INFO, "runrelay")
    relay = await start_relay()
    async with watch(relay.ws("a run"), "a run") as client:
        await client.frame("initial_state")
    await eventually(lambda: relay.relay.limits.total == 0, "it is gone")
    assert [line for line in caplog.messages if "WebSocket" in line] == ["WebSocket of 127.0.0.1 closed: 1000 "]


# The guard by itself


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged."""
    caplog.set_level(logging.INFO)
    return caplog


LOG = logging.getLogger("runrelay.api.websockets")


async def test_control_characters_are_escaped(heard: pytest.LogCaptureFixture) -> None:
    """With a line break in a name, a client could write lines of its own."""
    with guarded_logs(0):
        LOG.info("of %s: %s", "a\nINFO: all is well", ValueError("\x1b[31mred"))
        LOG.info("an f-string of a\u2028name")
        try:
            raise ValueError("bell \x07 and \x9b31m")
        except ValueError:
            LOG.exception("at %s", "/x\r\ny")
        LOG.info("%d of %.1f: 우주여행고양이 %r", 1, 2.0, "\n")
    text = heard.text
    assert "of a\\nINFO: all is well: \\x1b[31mred" in text
    assert "an f-string of a\\u2028name" in text
    assert "bell \\x07 and \\x9b31m" in text
    assert "at /x\\r\\ny" in text
    assert "Traceback (most recent call last):\n" in text, "its lines stay lines"
    assert "1 of 2.0: 우주여행고양이 '\\n'" in text


async def test_each_kind_of_line_has_its_own_bound(
    heard: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hostile client's lines must not be the reason that another thing is not told."""
    monkeypatch.setattr(log_config, "_SUMMARY_S", 0.05)
    with guarded_logs(2):
        for number in range(1000):
            LOG.warning("hostile %d", number)
        LOG.warning("something else")
        LOG.info("hostile %d", 1)
        assert heard.messages.count("something else") == 1
        assert [m for m in heard.messages if m.startswith("hostile")] == [f"hostile {n}" for n in (*range(10), 1)]
        await eventually(lambda: any("more lines" in m for m in heard.messages), "the rest is told")
        assert "990 more lines like this were left out: runrelay.api.websockets: hostile %d" in heard.messages
    for number in range(100):
        LOG.warning("hostile %d", number)
    assert "hostile 99" in heard.messages, "the guard is gone with its relay"


async def test_kinds_that_clients_make_up_are_bounded(heard: pytest.LogCaptureFixture) -> None:
    """A message that is built from what a client said is a kind of its own each time: memory without a bound."""
    with guarded_logs(1):
        floods = next(f for f in LOG.filters if isinstance(f, log_config._Floods))
        for number in range(5000):
            LOG.info(f"of client {number}")
        assert len(floods._kinds) <= 1000
