"""Pipelines: the kinds of runs that can be started through the API. They are found by their entry points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["ENTRY_POINT_GROUP", "Pipeline", "load_pipelines"]

ENTRY_POINT_GROUP = "runrelay.pipelines"


@dataclass(frozen=True)
class Pipeline:
    """One kind of run. An entry point of the group `runrelay.pipelines` names an object of this class.

    Args:
        name: as in `POST /api/runs {"pipeline": name}`.
        title: for people.
        input_model: a pydantic model; its JSON schema makes the start form.
        start: `start(run_id, input, attempt)` sends the work. The run is already queued, as this attempt, when it is
            called. It may block; an exception ends the run as FAILED.
        cancel: `cancel(run_id, attempt)` stops the work of an attempt. The run is already CANCELLED when it is called,
            so later events of the work are not shown.
        description: a sentence for people.
        steps: the steps by name, with their weights (any positive unit).
        title_of: a run's title from its input; by default the pipeline's own.
    """

    name: str
    title: str
    input_model: type[BaseModel]
    start: Callable[[str, Any, int], object]
    cancel: Callable[[str, int], object] | None = None
    description: str = ""
    steps: Mapping[str, float] = field(default_factory=dict)
    title_of: Callable[[Any], str] | None = None


def load_pipelines() -> dict[str, Pipeline]:
    """All installed pipelines, by name.

    Raises:
        TypeError: an entry point is not a `Pipeline`.
    """
    found = {}
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name):
        pipeline = entry.load()
        if not isinstance(pipeline, Pipeline):
            raise TypeError(f"entry point {entry.value} must be a Pipeline, got {type(pipeline).__name__}")
        found[pipeline.name] = pipeline
    return found
