"""What can be asked of runs over HTTP: the list, logs, files."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import pytest_asyncio

from runrelay.files import run_folder
from runrelay.progress import make_event
from tests.support.recording_pipeline import problem, start_run
from tests.support.relay import Producer, Served


@pytest.fixture
def relay(working_relay: Served) -> Served:
    """The relay that is asked."""
    return working_relay


# The list


async def test_the_list_newest_first_with_filters_and_pages(relay: Served, producer: Producer) -> None:
    """Ten thousand runs are not one page."""
    for n in range(7):
        await producer.say(f"run {n}", "RENDERING", 0.5)
    await producer.say("run 3", "FAILED", error="renderer died")
    await producer.say("run 5", "END")
    await start_run(relay, "started Übung")
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
    problem(answer, answer.status_code)


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
    problem(await relay.http.get(relay.run("never seen", "/logs")), 404)


async def test_the_log_as_a_file_says_what_its_lines_are(relay: Served, producer: Producer) -> None:
    """Two logs in a folder of downloads could not be told apart, and their lines have neither a time nor a level."""
    run_id = 'a "cat"; 우주여행고양이'
    said = make_event(log="slow\nvery slow", level="warning", step="plan")
    await producer.commit(run_id, [said, make_event(log="done")])
    answer = await relay.http.get(relay.run(run_id, "/logs?details=true"))
    named, _, extended = answer.headers["content-disposition"].partition("; filename*=UTF-8''")
    assert named == 'attachment; filename="a _cat__ _______.log"'
    assert unquote(extended) == f"{run_id}.log"
    first, second, third = answer.text.splitlines()
    moment, rest = first.split(" ", 1)
    assert rest == "WARNING [plan] slow"
    assert datetime.fromisoformat(moment).timestamp() * 1000 == pytest.approx(said.ts_ms or 0, abs=60_000)
    assert second == "very slow"
    assert third.split(" ", 1)[1] == "INFO    done"
    assert (await relay.http.get(relay.run(run_id, "/logs"))).text == "slow\nvery slow\ndone\n"


async def test_the_log_page_by_page(relay: Served, producer: Producer, run_id: str) -> None:
    """A log of 10,000 lines is larger than an `initial_state`; the reader scrolls up, and a line keeps its number."""
    for n in range(1, 1_301, 100):
        await producer.commit(run_id, [make_event(log=f"line {m}", level="error") for m in range(n, n + 100)])
    snapshot = (await relay.http.get(relay.run(run_id))).json()
    assert (snapshot["logs_truncated"], snapshot["logs"][0]) == (300, "line 301")
    assert "logs_trimmed" not in snapshot
    body = (await relay.http.get(relay.run(run_id, "/logs?before=301&limit=250"))).json()
    assert [(line["n"], line["message"]) for line in body["lines"]] == [(n, f"line {n}") for n in range(51, 301)]
    assert {"run_id": run_id, "logs_trimmed": 0, "total": 1300}.items() <= body.items()
    line = body["lines"][0]
    assert set(line) == {"n", "seq", "ts", "level", "step", "message"}
    assert (line["seq"], line["level"]) == (51, "error")
    newest = (await relay.http.get(relay.run(run_id, "/logs?limit=2"))).json()
    assert [line["n"] for line in newest["lines"]] == [1299, 1300]
    assert (await relay.http.get(relay.run(run_id, "/logs?before=1"))).json()["lines"] == []
    problem(await relay.http.get(relay.run("never seen", "/logs?limit=5")), 404)
    for wrong in ("before=0", "before=x", "limit=0", "limit=1001", f"before={1 << 70}"):
        problem(await relay.http.get(relay.run(run_id, f"/logs?{wrong}")), 422)


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
    assert "10240 bytes" in problem(beyond, 416)["detail"]
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
    problem(answer, answer.status_code)


async def test_each_run_has_its_own_files(relay: Served, film: bytes, run_id: str) -> None:
    """Two ids that some file system takes for one."""
    for other in {run_id + " ", unicodedata.normalize("NFD", run_id), run_id.upper(), "other"} - {run_id}:
        problem(await relay.http.get(relay.run(other, "/files/film.mp4")), 404)
