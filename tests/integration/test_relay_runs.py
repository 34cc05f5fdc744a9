"""What can be done to runs over HTTP: start, cancel, retry, delete."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import BaseModel

from runrelay.errors import RunlogUnavailable
from runrelay.files import run_folder
from runrelay.pipelines import Pipeline
from tests.support.clients import eventually, watch
from tests.support.recording_pipeline import Input, Works, problem, start_run
from tests.support.relay import Producer, Served, StartRelay


@pytest.fixture
def relay(working_relay: Served) -> Served:
    """The relay that is asked."""
    return working_relay


# Start


async def test_a_start_queues_and_then_sends(relay: Served, works: Works, run_id: str) -> None:
    """A worker that is quicker than the commit would be overtaken by `queued`."""
    answer = await start_run(relay, run_id)
    assert answer.status_code == 202
    name = quote(run_id, safe="")
    links = {"ws": f"/ws/{name}", "events": f"/api/runs/{name}/events", "self": f"/api/runs/{name}"}
    assert answer.json() == {"run_id": run_id, "links": links}
    assert answer.headers["location"] == links["self"]
    assert works.started == [(run_id, Input(prompt="우주여행 고양이", scenes=3), 1)]
    body = (await relay.http.get(links["self"])).json()
    assert (body["status"], body["state"], body["attempt"]) == ("queued", "QUEUED", 1)
    assert (body["title"], body["pipeline"]) == ("우주여행 고양이", "test")
    assert [(step["name"], step["weight"]) for step in body["steps"]] == [("plan", 1.0), ("render", 3.0)]
    async with watch(f"ws://127.0.0.1:{relay.port}{links['ws']}", run_id) as client:
        assert (await client.frame("initial_state"))["status"] == "queued"


async def test_a_run_id_is_made_if_absent(relay: Served, works: Works) -> None:
    """Two starts are two runs."""
    one, two = (await start_run(relay)).json()["run_id"], (await start_run(relay)).json()["run_id"]
    assert one != two
    assert [run for run, _, _ in works.started] == [one, two]


async def test_an_existing_run_is_a_conflict(relay: Served, works: Works, run_id: str) -> None:
    """A double click must not make a run of a run."""
    answers = await asyncio.gather(*(start_run(relay, run_id) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]
    assert run_id in problem(await start_run(relay, run_id), 409)["detail"]
    assert len(works.started) == 1


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"pipeline": "nope", "input": {}}, 404, "nope"),
        ({"pipeline": "test", "input": {}}, 422, "prompt"),
        ({"pipeline": "test"}, 422, "prompt"),
        ({"pipeline": "test", "input": {"prompt": ""}}, 422, "prompt"),
        ({"pipeline": "test", "input": {"prompt": "x" * 101}}, 422, "prompt"),
        ({"pipeline": "test", "input": {"prompt": "x", "scenes": 11}}, 422, "scenes"),
        ({"pipeline": "test", "input": {"prompt": 7}}, 422, "prompt"),
        ({"pipeline": "test", "input": []}, 422, "input"),
        ({"pipeline": 7, "input": {}}, 422, "pipeline"),
        ({"input": {}}, 422, "pipeline"),
        ([], 422, ""),
        ({"pipeline": "test", "input": {"prompt": "x"}, "run_id": "a/b"}, 400, "run_id"),
        ({"pipeline": "test", "input": {"prompt": "x"}, "run_id": ""}, 400, "run_id"),
        ({"pipeline": "test", "input": {"prompt": "x"}, "run_id": "."}, 400, "run_id"),
        ({"pipeline": "test", "input": {"prompt": "x"}, "run_id": "x" * 201}, 400, "run_id"),
        ({"pipeline": "test", "input": {"prompt": "x"}, "run_id": 7}, 422, "run_id"),
    ],
)
async def test_a_wrong_start_is_refused(relay: Served, works: Works, body: Any, status: int, word: str) -> None:
    """The form shows the message beside the field."""
    assert word in str(problem(await relay.http.post("/api/runs", json=body), status))
    assert works.started == []
    assert (await relay.http.get("/api/runs")).json()["runs"] == []


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"null", b'"x"', b"[" * 100_000])
async def test_a_start_that_is_no_json(relay: Served, raw: bytes) -> None:
    """A client with a mistake gets an answer that it can read."""
    answer = await relay.http.post("/api/runs", content=raw, headers={"content-type": "application/json"})
    problem(answer, answer.status_code)
    assert answer.status_code in (400, 422)


async def test_an_input_that_is_too_large(start_relay: StartRelay) -> None:
    """It is kept with the run, in Redis."""

    class Any_(BaseModel):
        text: str

    relay = await start_relay({"any": Pipeline("any", "Any", Any_, lambda run_id, value, attempt: None)})
    answer = await relay.http.post("/api/runs", json={"pipeline": "any", "input": {"text": "x" * 70_000}})
    assert "65536" in problem(answer, 413)["detail"]


async def test_work_that_cannot_be_sent_fails_the_run(relay: Served, works: Works, run_id: str) -> None:
    """A run that waits for ever, because the broker was away for a second."""
    works.fails = ConnectionError("no broker")
    answer = await start_run(relay, run_id)
    body = problem(answer, 503)
    assert "no broker" in body["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    snapshot = (await relay.http.get(relay.run(run_id))).json()
    assert (snapshot["status"], snapshot["state"]) == ("failed", "FAILED")
    assert "no broker" in snapshot["error"]


# Cancel, retry, delete


async def test_a_cancelled_run_shows_nothing_more(relay: Served, works: Works, producer: Producer, run_id: str) -> None:
    """Work does not stop in the moment in which it is told to."""
    await start_run(relay, run_id)
    await producer.say(run_id, "RENDERING", 0.5, attempt=1)
    answer = await relay.http.post(relay.run(run_id, "/cancel"))
    assert (answer.status_code, answer.json()) == (202, {"run_id": run_id, "status": "cancelled", "stops_work": True})
    assert works.cancelled == [(run_id, 1)]
    await producer.say(run_id, "RENDERING", 0.9, "too late", attempt=1)
    body = (await relay.http.get(relay.run(run_id))).json()
    assert (body["status"], body["state"], body["progress"], body["fenced"]) == ("cancelled", "CANCELLED", 0.5, 1)
    assert "too late" not in body["logs"]
    problem(await relay.http.post(relay.run(run_id, "/cancel")), 409)
    problem(await relay.http.post(relay.run("never seen", "/cancel")), 404)


async def test_an_earlier_attempt_stays_reachable(relay: Served, works: Works, producer: Producer, run_id: str) -> None:
    """Running again destroyed the result of a run, also when the second attempt was cancelled."""
    await start_run(relay, run_id)
    await producer.say(run_id, "RENDERING", 0.5, attempt=1)
    await producer.say(run_id, "END", result={"film": "one.mp4"}, attempt=1)
    assert "attempts" not in (await relay.http.get(relay.run(run_id))).json()
    await relay.http.post(relay.run(run_id, "/retry"))
    await relay.http.post(relay.run(run_id, "/cancel"))
    body = (await relay.http.get(relay.run(run_id))).json()
    assert (body["attempt"], body["status"], body["result"]) == (2, "cancelled", None)
    (past,) = body["attempts"]
    assert (past["attempt"], past["status"], past["has_result"], past["error"]) == (1, "succeeded", True, None)
    assert past["started_at"] <= past["finished_at"]
    assert "result" not in past
    first = (await relay.http.get(relay.run(run_id, "?attempt=1"))).json()
    assert (first["run_id"], first["attempt"], first["result"]) == (run_id, 1, {"film": "one.mp4"})
    assert (await relay.http.get(relay.run(run_id, "?attempt=2"))).json() == body
    problem(await relay.http.get(relay.run(run_id, "?attempt=3")), 404)
    problem(await relay.http.get(relay.run(run_id, "?attempt=0")), 422)


async def test_a_retry_is_the_next_attempt_of_the_same_input(
    relay: Served, works: Works, producer: Producer, run_id: str
) -> None:
    """A new run would lose the log, the link and the subscribers."""
    await start_run(relay, run_id)
    problem(await relay.http.post(relay.run(run_id, "/retry")), 409)
    await producer.say(run_id, "RENDERING", 0.5, "first try", attempt=1)
    await producer.say(run_id, "FAILED", error="renderer died", attempt=1)
    before = (await relay.http.get(relay.run(run_id))).json()
    answers = await asyncio.gather(*(relay.http.post(relay.run(run_id, "/retry")) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    (done,) = [answer for answer in answers if answer.status_code == 202]
    assert done.json() == {"run_id": run_id, "attempt": 2}
    assert works.started == [
        (run_id, Input(prompt="우주여행 고양이", scenes=3), 1),
        (run_id, Input(prompt="우주여행 고양이", scenes=3), 2),
    ]
    body = (await relay.http.get(relay.run(run_id))).json()
    assert (body["attempt"], body["status"], body["progress"], body["error"]) == (2, "queued", None, None)
    assert body["seq"] == before["seq"] + 1
    assert body["epoch"] == before["epoch"]
    assert body["logs"] == before["logs"]
    assert {step["status"] for step in body["steps"]} == {"queued"}
    await producer.say(run_id, log="a zombie of the first attempt", attempt=1)
    assert (await relay.http.get(relay.run(run_id))).json()["fenced"] == 1
    problem(await relay.http.post(relay.run("never seen", "/retry")), 404)


async def test_what_was_not_started_here_cannot_be_retried(relay: Served, producer: Producer, run_id: str) -> None:
    """Nobody knows what to do again."""
    await producer.say(run_id, "FAILED")
    assert "not started here" in problem(await relay.http.post(relay.run(run_id, "/retry")), 409)["detail"]


async def test_a_deleted_run_is_gone_with_its_files(
    relay: Served, producer: Producer, run_id: str, tmp_path: Path
) -> None:
    """What a person deletes must not be there any more."""
    await start_run(relay, run_id)
    folder = run_folder(tmp_path / "files", run_id)
    folder.mkdir(parents=True)
    (folder / "film.mp4").write_bytes(b"film")
    refused = problem(await relay.http.delete(relay.run(run_id)), 409)
    assert refused["detail"] == f"run {run_id!r} is queued: only an ended run can be deleted"
    assert folder.exists()
    await producer.say(run_id, "END", attempt=1)
    answer = await relay.http.delete(relay.run(run_id))
    assert (answer.status_code, answer.content) == (204, b"")
    assert not folder.exists()
    for path in ("", "/logs", "/files/film.mp4"):
        problem(await relay.http.get(relay.run(run_id, path)), 404)
    assert (await relay.http.get("/api/runs")).json()["runs"] == []
    problem(await relay.http.delete(relay.run(run_id)), 404)


async def test_who_watches_a_deleted_run_is_told_at_once_by_every_relay(
    start_relay: StartRelay, producer: Producer, run_id: str
) -> None:
    """Else its page shows a run for seconds that another page has just deleted."""
    one, other = [await start_relay(check_s=3600.0, end_after_s=3600.0) for _ in range(2)]
    await producer.say(run_id, "END")
    async with watch(one.ws(run_id), run_id) as here, watch(other.ws(run_id), run_id) as there:
        for client in (here, there):
            await client.frame("initial_state")
        assert (await one.http.delete(one.run(run_id))).status_code == 204
        for client in (here, there):
            await client.frame("stale", run_id=run_id)


async def test_head_is_get_without_a_body(relay: Served, producer: Producer, run_id: str) -> None:
    """Link checks, proxies and monitors got 404 for what is there. A stream must not be held open by one."""
    await producer.say(run_id, "RENDERING", 0.5)
    for path in ("/healthz", "/readyz", "/api/runs", relay.run(run_id), relay.run(run_id, "/events"), "/metrics"):
        async with asyncio.timeout(10):
            answer = await relay.http.head(path)
        assert (answer.status_code, answer.content) == (200, b""), path
    got = await relay.http.get(relay.run(run_id))
    head = await relay.http.head(relay.run(run_id))
    assert head.headers["etag"] == got.headers["etag"]
    assert head.headers["content-type"] == got.headers["content-type"]
    assert (await relay.http.head(relay.run("nobody"))).status_code == 404
    assert (await relay.http.head(relay.run(run_id, "/cancel"))).status_code == 405
    await eventually(lambda: relay.relay.limits.total == 0, "the stream is gone")


async def test_what_a_deletion_left_can_be_deleted_again(
    relay: Served, producer: Producer, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log deleted but not the files, because Redis went away just then: nobody could get at them any more."""
    folder = run_folder(tmp_path / "files", run_id)

    async def away(*args: object) -> None:
        raise RunlogUnavailable("away")

    for expired in (False, True):
        folder.mkdir(parents=True)
        await producer.say(run_id, "END")
        with monkeypatch.context() as without:
            if expired:
                await producer.runlog.redis.delete(*producer.keys.run(run_id))
            else:
                without.setattr(relay.relay.runlog, "unlist", away)
                without.setattr(relay.relay.listener, "send", away)
            assert (await relay.http.delete(relay.run(run_id))).status_code == 204
        assert not folder.exists()
        problem(await relay.http.delete(relay.run(run_id)), 404)


async def test_a_run_is_not_cancelled_before_its_work_can_be(
    relay: Served, works: Works, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended, it cannot be cancelled again (409), and its work would go on to its end."""
    await start_run(relay, run_id)

    async def away(*args: object, **more: object) -> None:
        raise RunlogUnavailable("away")

    with monkeypatch.context() as without:
        without.setattr(relay.relay.runlog, "read", away)
        problem(await relay.http.post(relay.run(run_id, "/cancel")), 503)
    assert (await relay.http.post(relay.run(run_id, "/cancel"))).status_code == 202
    assert works.cancelled == [(run_id, 1)]
