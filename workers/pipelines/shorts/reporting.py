"""The function by which a step reports its progress. The step does not know about runs or Redis."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Report"]


class Report(Protocol):
    """Called by a step while it works. `progress` is the step's progress, 0..1."""

    def __call__(
        self,
        *,
        state: str | None = None,
        progress: float | None = None,
        log: str | None = None,
        level: str = "info",
        data: dict[str, Any] | None = None,
    ) -> None: ...
