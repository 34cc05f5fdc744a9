"""Celery tasks as runs: `install(app)` once, then `send(task.s(…), run_id)`. Needs the extra `celery`."""

try:
    from .publisher.celery_canvas import cancel, canvas, run_headers, send, step, step_names, task_id, task_ids
    from .publisher.celery_signals import install
except ModuleNotFoundError as error:
    if error.name is None or error.name.startswith("runrelay"):
        raise
    raise ModuleNotFoundError(
        f"runrelay.celery needs the extra 'celery' ({error.name} is missing): pip install 'runrelay[celery]'",
        name=error.name,
    ) from None

__all__ = ["cancel", "canvas", "install", "run_headers", "send", "step", "step_names", "task_id", "task_ids"]
