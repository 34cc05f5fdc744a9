"""Celery tasks as runs: `install(app)` once, then `send(task.s(…), run_id)`. Needs the extra `celery`."""

from ..errors import without_extra

try:
    from .canvas import cancel, canvas, run_headers, send, step, step_names, task_id, task_ids
    from .signals import install
except ModuleNotFoundError as error:
    raise without_extra("runrelay.celery", "celery", error) from None

__all__ = ["cancel", "canvas", "install", "run_headers", "send", "step", "step_names", "task_id", "task_ids"]
