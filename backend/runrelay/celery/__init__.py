"""Celery tasks as runs: `install(app)` once, then `send(task.s(…), run_id)`. Needs the extra `celery`.

signals.py   install: Celery's signals become events of a run
canvas.py    a task or canvas as a run: headers, step names, task ids; cancelling it
gate.py      a task whose work is no longer wanted does not begin
"""

from ..errors import without_extra

try:
    from .canvas import cancel, canvas, run_headers, send, step, step_names, task_id, task_ids
    from .signals import install
except ModuleNotFoundError as error:
    raise without_extra("runrelay.celery", "celery", error) from None

__all__ = ["cancel", "canvas", "install", "run_headers", "send", "step", "step_names", "task_id", "task_ids"]
