"""Celery tasks as runs: `install(app)` once, then `send(task.s(…), run_id)`. Needs the extra `celery`.

signals.py       install: Celery's signals become events of a run
ends.py          what a task's end publishes, also where Celery does not signal it
canvas.py        a task or canvas as a run: headers, step names, task ids; cancelling it
sending.py       a task or canvas is sent as a run, also while Redis is away
stopping.py      stops the other members of a canvas when one has failed, if that is wanted
shapes.py        the shape of a canvas: its members, the first, the last, what comes after each
header.py        the header of a task's message
gate.py          a task whose work is no longer wanted does not begin
headerless.py    tasks whose message names no run, and which publish all the same
log_capture.py   what a task logs becomes lines of its run's log
task_classes.py  a method of every task of an application is replaced
unknown_tasks.py a message for which a worker has no task
"""

from ..errors import without_extra

try:
    from .canvas import cancel, canvas, run_headers, step, step_names, task_id, task_ids
    from .sending import asend, send
    from .signals import install
except ModuleNotFoundError as error:
    raise without_extra("runrelay.celery", "celery", error) from None

__all__ = ["asend", "cancel", "canvas", "install", "run_headers", "send", "step", "step_names", "task_id", "task_ids"]
