"""g) What publishing costs the task that does it: the publisher's own measurement, in a process of its own."""

from __future__ import annotations

from ..figures import Figures
from ..plan import Plan
from ..session import Stage

__all__ = ["publish_cost"]


def publish_cost(stage: Stage, plan: Plan, figures: Figures) -> None:
    del stage, plan, figures
