"""Limits per address count clients: not what they say of themselves, nor the proxy that speaks for them."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from tests.support.clients import watch
from tests.support.relay import RelayProcess, StartProcess


async def _codes(relay: RelayProcess, *forwarded: str) -> list[int]:
    """Connect once for each value of X-Forwarded-For, all at the same time: 1000 where the relay serves the client."""
    codes = []
    async with AsyncExitStack() as stack:
        for value in forwarded:
            client = await stack.enter_async_context(
                watch(relay.ws("a run"), additional_headers={"X-Forwarded-For": value})
            )
            await client.until(lambda client=client: client.frames, "a first frame")  # type: ignore[misc]
            served = client.frames[0]["type"] == "initial_state"
            codes.append(1000 if served else await client.close_code())
    return codes


async def test_nobody_is_another_address_by_saying_so(start_process: StartProcess) -> None:
    """Any client on the relay's machine could pass every limit per address with a header."""
    relay = start_process(max_connections_per_address=1)
    assert await _codes(relay, "192.0.2.1", "192.0.2.2", "192.0.2.3") == [1000, 4429, 4429]
    assert "if it is your proxy, name it in RUNRELAY_TRUSTED_PROXIES" in relay.log


async def test_behind_a_trusted_proxy_clients_are_counted(start_process: StartProcess) -> None:
    """All clients behind a proxy would share one address' limit."""
    relay = start_process(max_connections_per_address=1, trusted_proxies="10.0.0.0/8, 127.0.0.1")
    assert await _codes(relay, "192.0.2.1", "192.0.2.2", "192.0.2.1") == [1000, 1000, 4429]
    # the client's own claim stands before what the proxies have added
    assert await _codes(relay, "192.0.2.9, 192.0.2.1, 10.1.2.3", "192.0.2.8, 192.0.2.1") == [1000, 4429]


async def test_addresses_of_one_network_are_one(start_process: StartProcess) -> None:
    """Whoever has one IPv6 address has 2^64 of them."""
    relay = start_process(max_connections_per_address=1, trusted_proxies="127.0.0.1")
    assert await _codes(relay, "2001:db8::1", "2001:db8:0:1::1", "2001:db8::ffff:1") == [1000, 1000, 4429]
    assert await _codes(relay, "192.0.2.1", "::ffff:192.0.2.1") == [1000, 4429]


async def test_what_a_client_says_writes_no_line_of_the_log(start_process: StartProcess) -> None:
    """On the terminal of whoever reads the log, its control characters would do what they like."""
    relay = start_process(trusted_proxies="*")
    assert await _codes(relay, "\x9b31m gotcha") == [1000]
    relay.kill()
    assert "gotcha" in relay.log
    assert "\\x9b31m gotcha" in relay.log
    assert "\x9b" not in relay.log


@pytest.mark.parametrize("given", ["10.0.0.1/8", "my-proxy", "127.0.0.1 10.0.0.1"])
def test_a_proxy_that_is_none_is_refused_at_the_start(start_process: StartProcess, given: str) -> None:
    """A name that never matches would let all clients count as one address, and nobody would know why."""
    with pytest.raises(AssertionError, match=r"RUNRELAY_TRUSTED_PROXIES: .* a proxy must be"):
        start_process(trusted_proxies=given)
