"""`runrelay serve` under the uvicorn that is installed: the fast path for one version, the plain one for any other."""

from __future__ import annotations

from typing import Any

import pytest
import uvicorn

from runrelay.api.server import plain_path_reason
from tests.support.command_line import invoke


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options of each call of `uvicorn.run`, which returns at once."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(uvicorn, "run", lambda *_, **options: calls.append(options))
    return calls


def test_the_locked_version_takes_the_fast_path(ran: list[dict[str, Any]]) -> None:
    """A new uvicorn in the lock that silently turns the fast path off."""
    assert plain_path_reason() is None
    done = invoke("serve")
    assert (done.exit_code, done.stderr) == (0, "")
    assert (ran[0]["http"], ran[0]["ws"]) == (
        "runrelay.api.handshake:FirstBytes",
        "runrelay.fanout.uvicorn:FanoutProtocol",
    )


@pytest.mark.parametrize("version", ["0.35.0", "0.53.1", "0.55.0", "0.541.0", "1.0.0"])
def test_another_version_takes_the_plain_path_and_says_so_once(
    ran: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """The fast path on a uvicorn whose inner parts have changed; or one version that is the only one allowed."""
    monkeypatch.setattr(uvicorn, "__version__", version)
    done = invoke("serve")
    assert done.exit_code == 0
    assert done.stderr.count(f"uvicorn {version} is installed, and the fast path is for 0.54") == 1
    assert (ran[0]["http"], ran[0]["ws"]) == ("httptools", "websockets-sansio")
