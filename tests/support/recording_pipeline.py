"""A pipeline for tests of the API, which remembers what it was asked to do; and how the API is asked."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from runrelay.pipelines import Pipeline
from tests.support.relay import Served

__all__ = ["Input", "Works", "problem", "start_run"]


class Input(BaseModel):
    """What it is started with."""

    prompt: str = Field(min_length=1, max_length=100)
    scenes: int = Field(3, ge=1, le=10)


class Works:
    """A pipeline that remembers what it was asked to do."""

    def __init__(self) -> None:
        self.started: list[tuple[str, Input, int]] = []
        self.cancelled: list[tuple[str, int]] = []
        self.fails: Exception | None = None

    def start(self, run_id: str, value: Input, attempt: int) -> None:
        if self.fails is not None:
            raise self.fails
        self.started.append((run_id, value, attempt))

    def cancel(self, run_id: str, attempt: int) -> None:
        self.cancelled.append((run_id, attempt))

    def pipeline(self) -> Pipeline:
        return Pipeline(
            name="test",
            title="A test",
            input_model=Input,
            start=self.start,
            cancel=self.cancel,
            description="Does nothing.",
            steps={"plan": 1, "render": 3},
            title_of=lambda value: value.prompt,
        )


def problem(answer: Any, status: int) -> dict[str, Any]:
    """The problem document that an answer must be."""
    body: dict[str, Any] = answer.json()
    assert answer.status_code == status, body
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(body) >= {"type", "title", "status", "detail"}
    assert body["status"] == status
    assert "Traceback" not in answer.text
    return body


async def start_run(relay: Served, run_id: str | None = None, **more: Any) -> Any:
    """Ask for a run of `test`."""
    body = {
        "pipeline": "test",
        "input": {"prompt": "우주여행 고양이"},
        **({"run_id": run_id} if run_id else {}),
        **more,
    }
    return await relay.http.post("/api/runs", json=body)
