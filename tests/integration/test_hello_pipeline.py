"""The pipeline that people copy: started, followed and stopped through the API, with a real worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.pipeline_worker import ON_TIME_S, live_worker
from tests.support.relay import RelayProcess
from tests.support.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def http(start_valkey: Callable[..., Server], prefix: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """A relay's API; a worker executes what it starts."""
    valkey = start_valkey()
    with live_worker(valkey.url, prefix, tmp_path):
        relay = RelayProcess(tmp_path, valkey.url, prefix)
        relay.start()
        try:
            with httpx.Client(base_url=relay.url, timeout=ON_TIME_S, trust_env=False) as client:
                yield client
        finally:
            relay.kill()


def _until_ended(http: httpx.Client, run_id: str) -> dict[str, object]:
    after = "0-0"
    while True:
        run: dict[str, object] = http.get(f"/api/runs/{run_id}", params={"after": after, "wait": 25}).json()
        after = str(run["id"])
        if run["status"] in ("succeeded", "failed", "cancelled"):
            return run


def test_it_greets_letter_by_letter_and_its_return_value_is_the_result(http: httpx.Client) -> None:
    """Its folder and its entry point are all that a pipeline needs: the worker finds its tasks by them."""
    assert (
        http.post("/api/runs", json={"pipeline": "hello", "run_id": "h", "input": {"name": "세계"}}).status_code == 202
    )
    run = _until_ended(http, "h")
    assert (run["status"], run["progress"], run["title"]) == ("succeeded", 1.0, "Hello")
    assert run["result"] == {"greeting": "Hello, 세계!"}
    assert run["logs"] == ["세", "계"]


def test_it_stops_when_it_is_cancelled(http: httpx.Client) -> None:
    """A pipeline that is copied from it can be stopped."""
    assert (
        http.post("/api/runs", json={"pipeline": "hello", "run_id": "h", "input": {"name": "a" * 100}}).status_code
        == 202
    )
    first = http.get("/api/runs/h", params={"after": "0-0", "wait": 25}).json()
    while "a" not in first["logs"]:
        first = http.get("/api/runs/h", params={"after": first["id"], "wait": 25}).json()
    assert http.post("/api/runs/h/cancel").status_code == 202
    assert _until_ended(http, "h")["status"] == "cancelled"


def test_it_is_short_enough_to_be_read_at_once() -> None:
    """Who looks for how a pipeline is made finds one screen of code."""
    files = sorted((ROOT / "workers" / "pipelines" / "hello").glob("*.py"))
    assert [file.name for file in files] == ["__init__.py", "tasks.py"]
    assert sum(len(file.read_text().splitlines()) for file in files) <= 40
