"""How the API describes itself, its figures, its errors and who may use it."""

from __future__ import annotations

import jwt
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from tests.support.clients import watch
from tests.support.recording_pipeline import Works, problem, start_run
from tests.support.relay import Producer, Served, StartRelay


@pytest.fixture
def relay(working_relay: Served) -> Served:
    """The relay that is asked."""
    return working_relay


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
    await start_run(relay)
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
    problem(await relay.http.request(method, path), status)


async def test_tokens_over_http(start_relay: StartRelay, works: Works, producer: Producer, run_id: str) -> None:
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
        problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    other = jwt.encode({"exp": 1 << 33, "runs": ["other"]}, secret, "HS256")
    for method, url in guarded:
        answer = await relay.http.request(
            method, url, headers={"Authorization": f"Bearer {other}"}, json=json if method == "POST" else None
        )
        problem(answer, 403)
    own = {"Authorization": "Bearer " + jwt.encode({"exp": 1 << 33, "runs": [run_id]}, secret, "HS256")}
    assert (await relay.http.get(relay.run(run_id), headers=own)).status_code == 200
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await relay.http.get(path)).status_code == 200
    assert works.started == []
