"""Made-up messages on the channel, with the control without seals."""

from __future__ import annotations

import pytest

from runrelay.runlog import Signer
from tests.support.clients import watch
from tests.support.relay import Producer, StartRelay, told_all


@pytest.mark.parametrize(
    ("kind", "sealed"),
    [
        ("next", True), ("report", True), ("jump", True), ("foreign", True), ("catchup", True),
        ("next", False), ("report", False),
    ],
)  # fmt: skip
async def test_a_made_up_message_harms_nobody(
    start_relay: StartRelay, producer: Producer, run_id: str, kind: str, sealed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Safe because the next number needs a seal that only who can read the run's hash can make, and any other is not
    delivered but read from the stream.
    """
    if not sealed:
        monkeypatch.setattr(Signer, "verify", lambda seal, message: message.rpartition(b',"seal":')[0])
    relay = await start_relay(check_s=1000)
    epoch, seq = "0", 0
    if kind != "catchup":
        epoch, _, number = (await producer.lines(run_id, 1, 3)).partition("-")
        seq = int(number)
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        made_up = {
            "next": (epoch, seq + 1),
            "report": (epoch, seq + 1),
            "jump": (epoch, seq + 7),
            "foreign": ("forgedepoch0", seq + 1),
            "catchup": ("0", 1),
        }[kind]
        status = "running" if kind == "report" else "failed"  # the one is cut, the other is read
        body = (
            f'{{"run_id":"{run_id}","state":"FORGED","progress":1,"log":"forged","status":"{status}",'
            f'"seq":{made_up[1]},"epoch":"{made_up[0]}","ts":1,"attempt":1'
        ).encode()
        # sealed as well as can be without the key
        await producer.publish(body + b',"seal":"' + Signer(b"").sign(body) + b'"}')
        last = await producer.lines(run_id, 4, 2)
        told = await told_all(relay, producer, client, last)
        clean = "forged" not in client.story.messages and all(f.get("state") != "FORGED" for f in client.frames)
        assert (told and clean) is sealed
        if sealed:
            assert relay.relay.metrics.forged == 1
            snapshot = (await relay.http.get(relay.run(run_id))).json()
            assert snapshot["id"] == last
            assert "forged" not in snapshot["logs"]
