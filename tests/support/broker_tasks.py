"""A Celery application whose broker is one server and whose run log another; `-m … RUN_ID…` sends its task."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from celery import Celery

from runrelay import publish_progress
from runrelay.celery import install, send

app = Celery("broker-tasks", broker=os.environ["CELERY_BROKER_URL"])
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 3600},
)
install(app)


@app.task()  # type: ignore[untyped-decorator]
def tell(run_id: str) -> Any:
    """A hundred numbered lines in five seconds."""
    for number in range(100):
        publish_progress(run_id, "WORKING", log=f"0 {number}")
        time.sleep(0.05)  # a task's work
    return number


if __name__ == "__main__":
    from tests.support import broker_tasks

    for run in sys.argv[1:]:
        send(broker_tasks.tell.si(run), run)
