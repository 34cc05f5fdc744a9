"""The shorts pipeline through the API: started, stopped, done again, played, deleted. Nothing is replaced."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.pipeline_worker import ON_TIME_S, Live, film_writers, live_worker
from tests.support.relay import RelayProcess
from tests.support.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RUN_ID = "20251105_1430_우주여행고양이"
REQUEST = {"pipeline": "shorts", "run_id": RUN_ID, "input": {"prompt": "우주를 여행하는 고양이", "locale": "ko"}}


class Api:
    """A relay's HTTP API, for one run."""

    def __init__(self, relay: RelayProcess, http: httpx.Client) -> None:
        self._relay = relay
        self.http = http

    def run(self, tail: str = "") -> str:
        return self._relay.run(RUN_ID, tail)

    def events(self, attempt: int = 1) -> Iterator[dict[str, Any]]:
        """What a polling client sees, each event once, until the end of `attempt`."""
        after = "0-0"
        while True:
            seen = self.http.get(self.run(), params={"after": after, "wait": 25}).json()
            assert seen["recovered"]
            after = seen["id"]
            yield from seen["events"]
            if seen["attempt"] >= attempt and seen["status"] in ("succeeded", "failed", "cancelled"):
                return


@pytest.fixture
def parts(start_valkey: Callable[..., Server], prefix: str, tmp_path: Path) -> Iterator[tuple[Api, Live]]:
    """A relay and a worker, as two processes that share a Valkey and a folder."""
    valkey = start_valkey()
    with live_worker(valkey.url, prefix, tmp_path, RUNRELAY_SHORTS_FORMAT="432x768@24") as live:
        relay = RelayProcess(tmp_path, valkey.url, prefix, files=live.files)
        relay.start()
        try:
            with httpx.Client(base_url=relay.url, timeout=ON_TIME_S, trust_env=False) as http:
                yield Api(relay, http), live
        finally:
            relay.kill()


def test_a_film_is_started_stopped_done_again_played_and_deleted(parts: tuple[Api, Live]) -> None:
    """The whole life of a run, as a person at the dashboard lives it."""
    api, live = parts
    (shorts,) = [one for one in api.http.get("/api/pipelines").json()["pipelines"] if one["name"] == "shorts"]
    assert shorts["input_schema"]["properties"]["prompt"]["title"] == "Prompt"
    assert api.http.post("/api/runs", json={"pipeline": "shorts", "input": {"prompt": " "}}).status_code == 422

    assert api.http.post("/api/runs", json=REQUEST).status_code == 202
    assert api.http.post("/api/runs", json=REQUEST).status_code == 409
    next(event for event in api.events() if event["state"] == "RENDERING" and event["step_progress"] > 0.1)
    assert api.http.get(api.run("/files/scenario.csv")).status_code == 200
    (renderer,) = film_writers(live.folder(RUN_ID))
    watched = os.pidfd_open(renderer)
    assert api.http.post(api.run("/cancel")).status_code == 202
    ended, _, _ = select.select([watched], [], [], ON_TIME_S)
    os.close(watched)
    assert ended, "the renderer was not stopped"
    stopped = list(api.events())[-1]
    assert (stopped["state"], stopped["status"]) == ("CANCELLED", "cancelled")
    assert api.http.get(api.run("/files/film.mp4")).status_code == 404

    assert api.http.post(api.run("/retry")).json()["attempt"] == 2
    events = list(api.events(attempt=2))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[-1]["state"], events[-1]["message"]) == ("END", "영상 생성 완료! 🎉"), live.said()
    snapshot = api.http.get(api.run()).json()
    assert snapshot["title"] == "우주를 여행하는 고양이"
    assert [step["status"] for step in snapshot["steps"]] == ["succeeded"] * 7

    whole = api.http.get(api.run("/files/film.mp4"))
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    part = api.http.get(api.run("/files/film.mp4"), headers={"Range": "bytes=1000-1999"})
    assert part.status_code == 206
    assert part.content == whole.content[1000:2000]
    for file in snapshot["result"]["files"]:
        answer = api.http.get(api.run(f"/files/{file['name']}"))
        media_type = answer.headers["content-type"].split(";")[0].replace("/x-", "/")
        assert media_type == file["media_type"], file["name"]
        assert len(answer.content) == file["size_bytes"]

    assert api.http.delete(api.run()).status_code == 204
    assert api.http.get(api.run()).status_code == 404
    assert not live.folder(RUN_ID).exists()
