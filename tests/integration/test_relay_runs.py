"""What can be done to runs over HTTP: start, list, cancel, retry, delete, logs, files; and how it is described."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, Field, SecretStr

from runrelay.errors import RunlogUnavailable
from runrelay.files import run_folder
from runrelay.pipelines import Pipeline
from runrelay.progress import make_event
from tests.relays import Producer, Served, StartRelay
from tests.watching import watch

pytest_plugins = ["tests.relay_rig"]


class _Input(BaseModel):
    prompt: str = Field(min_length=1, max_length=100)
    scenes: int = Field(3, ge=1, le=10)


class _Works:
    """A pipeline that remembers what it was asked to do."""

    def __init__(self) -> None:
        self.started: list[tuple[str, _Input, int]] = []
        self.cancelled: list[tuple[str, int]] = []
        self.fails: Exception | None = None

    def start(self, run_id: str, value: _Input, attempt: int) -> None:
        if self.fails is not None:
            raise self.fails
        self.started.append((run_id, value, attempt))

    def cancel(self, run_id: str, attempt: int) -> None:
        self.cancelled.append((run_id, attempt))

    def pipeline(self) -> Pipeline:
        return Pipeline(
            name="test",
            title="A test",
            input_model=_Input,
            start=self.start,
            cancel=self.cancel,
            description="Does nothing.",
            steps={"plan": 1, "render": 3},
            title_of=lambda value: value.prompt,
        )


@pytest.fixture
def works() -> _Works:
    return _Works()


@pytest_asyncio.fixture
async def relay(start_relay: StartRelay, works: _Works, tmp_path: Path) -> AsyncIterator[Served]:
    bare = Pipeline("bare", "Bare", _Input, lambda run_id, value, attempt: None)
    yield await start_relay({"test": works.pipeline(), "bare": bare}, end_after_s=0.2, files=tmp_path / "files")


def _problem(answer: Any, status: int) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert answer.status_code == status, body
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(body) >= {"type", "title", "status", "detail"}
    assert body["status"] == status
    assert "Traceback" not in answer.text
    return body


async def _start(relay: Served, run_id: str | None = None, **more: Any) -> Any:
    body = {
        "pipeline": "test",
        "input": {"prompt": "우주여행 고양이"},
        **({"run_id": run_id} if run_id else {}),
        **more,
    }
    return await relay.http.post("/api/runs", json=body)


# Start


async def test_a_start_queues_and_then_sends(relay: Served, works: _Works, run_id: str) -> None:
    """A worker that is quicker than the commit would be overtaken by `queued`."""
    answer = await _start(relay, run_id)
    assert answer.status_code == 202
    name = quote(run_id, safe="")
    links = {"ws": f"/ws/{name}", "events": f"/api/runs/{name}/events", "self": f"/api/runs/{name}"}
    assert answer.json() == {"run_id": run_id, "links": links}
    assert answer.headers["location"] == links["self"]
    assert works.started == [(run_id, _Input(prompt="우주여행 고양이", scenes=3), 1)]
    body = (await relay.http.get(links["self"])).json()
    assert (body["status"], body["state"], body["attempt"]) == ("queued", "QUEUED", 1)
    assert (body["title"], body["pipeline"]) == ("우주여행 고양이", "test")
    assert [(step["name"], step["weight"]) for step in body["steps"]] == [("plan", 1.0), ("render", 3.0)]
    async with watch(f"ws://127.0.0.1:{relay.port}{links['ws']}", run_id) as client:
        assert (await client.frame("initial_state"))["status"] == "queued"


async def test_a_run_id_is_made_if_absent(relay: Served, works: _Works) -> None:
    """Two starts are two runs."""
    one, two = (await _start(relay)).json()["run_id"], (await _start(relay)).json()["run_id"]
    assert one != two
    assert [run for run, _, _ in works.started] == [one, two]


async def test_an_existing_run_is_a_conflict(relay: Served, works: _Works, run_id: str) -> None:
    """A double click must not make a run of a run."""
    answers = await asyncio.gather(*(_start(relay, run_id) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]
    assert run_id in _problem(await _start(relay, run_id), 409)["detail"]
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
async def test_a_wrong_start_is_refused(relay: Served, works: _Works, body: Any, status: int, word: str) -> None:
    """The form shows the message beside the field."""
    assert word in str(_problem(await relay.http.post("/api/runs", json=body), status))
    assert works.started == []
    assert (await relay.http.get("/api/runs")).json()["runs"] == []


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"null", b'"x"', b"[" * 100_000])
async def test_a_start_that_is_no_json(relay: Served, raw: bytes) -> None:
    """A client with a mistake gets an answer that it can read."""
    answer = await relay.http.post("/api/runs", content=raw, headers={"content-type": "application/json"})
    _problem(answer, answer.status_code)
    assert answer.status_code in (400, 422)


async def test_an_input_that_is_too_large(start_relay: StartRelay) -> None:
    """It is kept with the run, in Redis."""

    class Any_(BaseModel):
        text: str

    relay = await start_relay({"any": Pipeline("any", "Any", Any_, lambda run_id, value, attempt: None)})
    answer = await relay.http.post("/api/runs", json={"pipeline": "any", "input": {"text": "x" * 70_000}})
    assert "65536" in _problem(answer, 413)["detail"]


async def test_work_that_cannot_be_sent_fails_the_run(relay: Served, works: _Works, run_id: str) -> None:
    """A run that waits for ever, because the broker was away for a second."""
    works.fails = ConnectionError("no broker")
    answer = await _start(relay, run_id)
    body = _problem(answer, 503)
    assert "no broker" in body["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    snapshot = (await relay.http.get(relay.run(run_id))).json()
    assert (snapshot["status"], snapshot["state"]) == ("failed", "FAILED")
    assert "no broker" in snapshot["error"]


# Cancel, retry, delete


async def test_a_cancelled_run_shows_nothing_more(
    relay: Served, works: _Works, producer: Producer, run_id: str
) -> None:
    """Work does not stop in the moment in which it is told to."""
    await _start(relay, run_id)
    await producer.say(run_id, "RENDERING", 0.5, attempt=1)
    answer = await relay.http.post(relay.run(run_id, "/cancel"))
    assert (answer.status_code, answer.json()) == (202, {"run_id": run_id, "status": "cancelled"})
    assert works.cancelled == [(run_id, 1)]
    await producer.say(run_id, "RENDERING", 0.9, "too late", attempt=1)
    body = (await relay.http.get(relay.run(run_id))).json()
    assert (body["status"], body["state"], body["progress"], body["fenced"]) == ("cancelled", "CANCELLED", 0.5, 1)
    assert "too late" not in body["logs"]
    _problem(await relay.http.post(relay.run(run_id, "/cancel")), 409)
    _problem(await relay.http.post(relay.run("never seen", "/cancel")), 404)


async def test_a_retry_is_the_next_attempt_of_the_same_input(
    relay: Served, works: _Works, producer: Producer, run_id: str
) -> None:
    """A new run would lose the log, the link and the watchers."""
    await _start(relay, run_id)
    _problem(await relay.http.post(relay.run(run_id, "/retry")), 409)
    await producer.say(run_id, "RENDERING", 0.5, "first try", attempt=1)
    await producer.say(run_id, "FAILED", error="renderer died", attempt=1)
    before = (await relay.http.get(relay.run(run_id))).json()
    answers = await asyncio.gather(*(relay.http.post(relay.run(run_id, "/retry")) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    (done,) = [answer for answer in answers if answer.status_code == 202]
    assert done.json() == {"run_id": run_id, "attempt": 2}
    assert works.started == [
        (run_id, _Input(prompt="우주여행 고양이", scenes=3), 1),
        (run_id, _Input(prompt="우주여행 고양이", scenes=3), 2),
    ]
    body = (await relay.http.get(relay.run(run_id))).json()
    assert (body["attempt"], body["status"], body["progress"], body["error"]) == (2, "queued", None, None)
    assert body["seq"] == before["seq"] + 1
    assert body["epoch"] == before["epoch"]
    assert body["logs"] == before["logs"]
    assert {step["status"] for step in body["steps"]} == {"queued"}
    await producer.say(run_id, log="a zombie of the first attempt", attempt=1)
    assert (await relay.http.get(relay.run(run_id))).json()["fenced"] == 1
    _problem(await relay.http.post(relay.run("never seen", "/retry")), 404)


async def test_what_was_not_started_here_cannot_be_retried(relay: Served, producer: Producer, run_id: str) -> None:
    """Nobody knows what to do again."""
    await producer.say(run_id, "FAILED")
    assert "not started here" in _problem(await relay.http.post(relay.run(run_id, "/retry")), 409)["detail"]


async def test_a_deleted_run_is_gone_with_its_files(
    relay: Served, producer: Producer, run_id: str, tmp_path: Path
) -> None:
    """What a person deletes must not be there any more."""
    await _start(relay, run_id)
    folder = run_folder(tmp_path / "files", run_id)
    folder.mkdir(parents=True)
    (folder / "film.mp4").write_bytes(b"film")
    refused = _problem(await relay.http.delete(relay.run(run_id)), 409)
    assert refused["detail"] == f"run {run_id!r} is queued: only an ended run can be deleted"
    assert folder.exists()
    await producer.say(run_id, "END", attempt=1)
    answer = await relay.http.delete(relay.run(run_id))
    assert (answer.status_code, answer.content) == (204, b"")
    assert not folder.exists()
    for path in ("", "/logs", "/files/film.mp4"):
        _problem(await relay.http.get(relay.run(run_id, path)), 404)
    assert (await relay.http.get("/api/runs")).json()["runs"] == []
    _problem(await relay.http.delete(relay.run(run_id)), 404)


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
                without.setattr(relay.relay.listener, "say", away)
            assert (await relay.http.delete(relay.run(run_id))).status_code == 204
        assert not folder.exists()
        _problem(await relay.http.delete(relay.run(run_id)), 404)


async def test_a_run_is_not_cancelled_before_its_work_can_be(
    relay: Served, works: _Works, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended, it cannot be cancelled again (409), and its work would go on to its end."""
    await _start(relay, run_id)

    async def away(*args: object, **more: object) -> None:
        raise RunlogUnavailable("away")

    with monkeypatch.context() as without:
        without.setattr(relay.relay.runlog, "read", away)
        _problem(await relay.http.post(relay.run(run_id, "/cancel")), 503)
    assert (await relay.http.post(relay.run(run_id, "/cancel"))).status_code == 202
    assert works.cancelled == [(run_id, 1)]


# The list


async def test_the_list_newest_first_with_filters_and_pages(relay: Served, producer: Producer) -> None:
    """Ten thousand runs are not one page."""
    for n in range(7):
        await producer.say(f"run {n}", "RENDERING", 0.5)
    await producer.say("run 3", "FAILED", error="renderer died")
    await producer.say("run 5", "END")
    await _start(relay, "started Übung")
    listed = (await relay.http.get("/api/runs")).json()
    assert listed["next_cursor"] is None
    order = [(run["updated_at"], run["run_id"].encode()) for run in listed["runs"]]
    assert order == sorted(order, reverse=True)
    assert len(order) == 8
    assert "logs" not in listed["runs"][0]

    async def ids(**params: Any) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            query = {**params, **({"cursor": cursor} if cursor else {})}
            page = (await relay.http.get("/api/runs", params=query)).json()
            assert len(page["runs"]) <= params.get("limit", 50)
            found += [run["run_id"] for run in page["runs"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    everything = [run["run_id"] for run in listed["runs"]]
    for limit in (1, 2, 3, 8):
        assert await ids(limit=limit) == everything, "no run twice, none left out"
    assert await ids(status="failed") == ["run 3"]
    assert set(await ids(status="ended")) == {"run 3", "run 5"}
    assert set(await ids(status="active")) == {"started Übung", *(f"run {n}" for n in (0, 1, 2, 4, 6))}
    assert await ids(status="queued", limit=1) == ["started Übung"]
    assert await ids(pipeline="test") == ["started Übung"]
    assert await ids(pipeline="other") == []
    assert await ids(q="RUN 3") == ["run 3"]
    assert await ids(q="übung") == ["started Übung"]
    assert await ids(q="우주여행") == ["started Übung"], "the title is looked at too"


async def test_what_has_expired_leaves_the_list(relay: Served, producer: Producer, run_id: str) -> None:
    """A list of links to nothing."""
    await producer.say(run_id, "RENDERING")
    await producer.runlog.redis.delete(*producer.keys.run(run_id))
    assert (await relay.http.get("/api/runs")).json()["runs"] == []
    assert await producer.runlog.redis.zcard(producer.keys.runs) == 0


async def test_an_empty_question_is_none(relay: Served, producer: Producer, run_id: str) -> None:
    """`?status=active&pipeline=&q=&limit=&cursor=` is how the contract writes it, and how a form sends it."""
    await producer.say(run_id, "RENDERING")
    for query in ("status=active&pipeline=&q=&limit=&cursor=", "status=&limit=10"):
        body = (await relay.http.get(f"/api/runs?{query}")).json()
        assert [run["run_id"] for run in body["runs"]] == [run_id]
        assert body["next_cursor"] is None


@pytest.mark.parametrize(
    "params",
    [
        {"status": "nope"}, {"limit": "0"}, {"limit": "201"}, {"limit": "x"}, {"cursor": "nonsense"}, {"cursor": "W10"},
        {"cursor": "bnVsbA"}, {"cursor": "é"}, {"q": "x" * 201},
    ],
)  # fmt: skip
async def test_a_wrong_question_to_the_list(relay: Served, params: dict[str, str]) -> None:
    """Said, not guessed."""
    answer = await relay.http.get("/api/runs", params=params)
    assert answer.status_code in (400, 422)
    _problem(answer, answer.status_code)


# Logs and files


async def test_the_log_as_a_file(relay: Served, producer: Producer, run_id: str) -> None:
    """More than a frame holds: all lines that are kept."""
    for n in range(60):
        await producer.commit(run_id, [make_event(log=f"{n} " + "로그" * 2500)])
    answer = await relay.http.get(relay.run(run_id, "/logs"))
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    lines = answer.text.splitlines()
    assert [line.split()[0] for line in lines] == [str(n) for n in range(60)]
    snapshot = (await relay.http.get(relay.run(run_id))).json()
    assert snapshot["logs_truncated"] > 0
    assert snapshot["logs"][-1] == lines[-1]
    _problem(await relay.http.get(relay.run("never seen", "/logs")), 404)


@pytest_asyncio.fixture
async def film(relay: Served, tmp_path: Path, run_id: str) -> bytes:
    """A run with files, and a file beside it that nobody may read."""
    folder = run_folder(tmp_path / "files", run_id)
    folder.mkdir(parents=True)
    content = bytes(range(256)) * 40
    (folder / "film.mp4").write_bytes(content)
    (folder / "page.html").write_text("<script>alert(1)</script>")
    (folder / ".hidden").write_text("hidden")
    (tmp_path / "secret").write_text("for nobody's eyes")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").mkdir()
    return content


async def test_a_film_plays(relay: Served, film: bytes, run_id: str) -> None:
    """A browser plays by ranges; without them one cannot jump."""
    url = relay.run(run_id, "/files/film.mp4")
    whole = await relay.http.get(url)
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, film, "video/mp4")
    assert whole.headers["accept-ranges"] == "bytes"
    for asked, start, end in (("0-99", 0, 100), ("100-", 100, None), ("-50", -50, None), ("10239-20000", 10239, None)):
        part = await relay.http.get(url, headers={"Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, film[start:end]), asked
        assert part.headers["content-range"].endswith(f"/{len(film)}")
    beyond = await relay.http.get(url, headers={"Range": "bytes=20000-"})
    assert "10240 bytes" in _problem(beyond, 416)["detail"]
    assert beyond.headers["content-range"] == "bytes */10240"
    for nonsense in ("items=0-5", "bytes=x", "bytes=9-2", "bytes", ""):  # RFC 9110, section 14.2: ignored
        assert (await relay.http.get(url, headers={"Range": nonsense})).status_code == 200, nonsense
    assert (await relay.http.get(url, headers={"If-None-Match": whole.headers["etag"]})).status_code in (200, 304)


async def test_a_page_that_a_run_made_is_no_page_of_ours(relay: Served, film: bytes, run_id: str) -> None:
    """Its scripts would run with the rights of the dashboard."""
    answer = await relay.http.get(relay.run(run_id, "/files/page.html"))
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name",
    [
        "..%2fsecret", "%2e%2e%2f%2e%2e%2fsecret", "..%5csecret", "%2e%2e", ".hidden", "link", "folder", "film.mp4%00",
        "%2fetc%2fpasswd", "nope", "x" * 300, "film.mp4%2f..%2f..%2f..%2fsecret", "%0a", "",
    ],
)  # fmt: skip
async def test_no_file_outside_the_run_s_folder(relay: Served, film: bytes, run_id: str, name: str) -> None:
    """The secret of the machine."""
    answer = await relay.http.get(relay.run(run_id, f"/files/{name}"))
    assert answer.status_code in (400, 404), answer.text
    assert "for nobody's eyes" not in answer.text
    _problem(answer, answer.status_code)


async def test_each_run_has_its_own_files(relay: Served, film: bytes, run_id: str) -> None:
    """Two ids that some file system takes for one."""
    for other in {run_id + " ", unicodedata.normalize("NFD", run_id), run_id.upper(), "other"} - {run_id}:
        _problem(await relay.http.get(relay.run(other, "/files/film.mp4")), 404)


# How it is described


async def test_pipelines_and_their_schemas(relay: Served) -> None:
    """The start form is made of them."""
    body = (await relay.http.get("/api/pipelines")).json()
    found = {pipeline["name"]: pipeline for pipeline in body["pipelines"]}
    assert set(found) == {"test", "bare"}
    assert found["test"]["title"] == "A test"
    assert found["test"]["description"] == "Does nothing."
    assert found["test"]["input_schema"]["properties"]["prompt"]["minLength"] == 1


async def test_stats_and_metrics_tell_the_same(relay: Served, producer: Producer, run_id: str) -> None:
    """What is not counted cannot be watched over."""
    async with watch(relay.ws(run_id), run_id) as client:
        await client.frame("initial_state")
        await client.reached(await producer.lines(run_id, 1, 5))
        stats = (await relay.http.get("/api/stats")).json()
        answer = await relay.http.get("/metrics")
    assert stats["connections"] == stats["runs_watched"] == stats["link_up"] == 1
    assert stats["ready"] is True
    assert stats["messages"] >= 5
    assert stats["joins"] == 1
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert families["runrelay_connections"].samples[0].value == 1
    assert families["runrelay_messages"].type == "counter"
    assert families["runrelay_deliveries"].samples[0].value >= 5
    assert "process_resident_memory_bytes" in families


async def test_openapi_has_examples(relay: Served) -> None:
    """Someone reads it before they write a client."""
    schema = (await relay.http.get("/openapi.json")).json()
    assert set(schema["paths"]) >= {
        "/api/runs", "/api/runs/{run_id}", "/api/runs/{run_id}/events", "/api/runs/{run_id}/logs",
        "/api/runs/{run_id}/files/{name}", "/api/runs/{run_id}/cancel", "/api/runs/{run_id}/retry", "/api/pipelines",
        "/api/stats", "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    for path, method in (("/api/runs/{run_id}", "get"), ("/api/runs", "get"), ("/api/runs", "post")):
        operation = schema["paths"][path][method]
        success = next(code for code in operation["responses"] if code.startswith("2"))
        assert operation["responses"][success]["content"]["application/json"]["example"]
        assert operation["summary"]
        for status, response in operation["responses"].items():
            if status.startswith(("4", "5")):
                assert "application/problem+json" in response["content"], (path, method, status)
    example = schema["paths"]["/api/runs"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    await _start(relay)
    (listed,) = (await relay.http.get("/api/runs")).json()["runs"]
    assert set(example["runs"][0]) == set(listed) - {"error", "finished_at"}, "nulls are left out of the document"
    assert "413" in schema["paths"]["/api/runs"]["post"]["responses"]
    start = schema["components"]["schemas"]["StartRequest"]["properties"]
    assert start["pipeline"]["examples"] == ["shorts"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nope", 404), ("PUT", "/api/runs", 405), ("POST", "/healthz", 405), ("GET", "/ws/x", 404),
        ("GET", "/api/runs/a%7Bb", 400), ("GET", "/api/runs/a%0Ab", 400), ("GET", f"/api/runs/{'x' * 201}", 422),
        ("GET", "/api/runs/%2e%2e/logs", 400), ("PATCH", "/api/runs/x", 405), ("GET", "/", 404),
    ],
)  # fmt: skip
async def test_every_error_is_a_problem_document(relay: Served, method: str, path: str, status: int) -> None:
    """One shape for every client to read."""
    _problem(await relay.http.request(method, path), status)


async def test_tokens_over_http(start_relay: StartRelay, works: _Works, producer: Producer, run_id: str) -> None:
    """Every route that tells or does something asks for one; health does not."""
    secret = "a secret of thirty-two characters"
    relay = await start_relay({"test": works.pipeline()}, jwt_secret=SecretStr(secret))
    await producer.say(run_id, "RENDERING")
    guarded = [
        ("GET", relay.run(run_id)), ("GET", relay.run(run_id, "/events")), ("GET", relay.run(run_id, "/logs")),
        ("GET", relay.run(run_id, "/files/x")), ("GET", "/api/runs"), ("POST", "/api/runs"), ("GET", "/api/pipelines"),
        ("POST", relay.run(run_id, "/cancel")), ("POST", relay.run(run_id, "/retry")), ("DELETE", relay.run(run_id)),
        ("GET", "/api/stats"),
    ]  # fmt: skip
    json = {"pipeline": "test", "input": {"prompt": "x"}}
    for method, url in guarded:
        answer = await relay.http.request(method, url, json=json if url == "/api/runs" and method == "POST" else None)
        _problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    other = jwt.encode({"exp": 1 << 33, "runs": ["other"]}, secret, "HS256")
    for method, url in guarded:
        answer = await relay.http.request(
            method, url, headers={"Authorization": f"Bearer {other}"}, json=json if method == "POST" else None
        )
        _problem(answer, 403)
    own = {"Authorization": "Bearer " + jwt.encode({"exp": 1 << 33, "runs": [run_id]}, secret, "HS256")}
    assert (await relay.http.get(relay.run(run_id), headers=own)).status_code == 200
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await relay.http.get(path)).status_code == 200
    assert works.started == []
