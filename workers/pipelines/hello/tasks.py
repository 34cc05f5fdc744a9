import time

from pipelines.app import task
from runrelay import publish_progress, track


@task("hello.greet", ignore_result=True)
def greet(run_id: str, name: str) -> dict[str, str]:
    """Say hello to `name`. The return value is the run's result."""
    for letter in track(name, run_id):
        publish_progress(run_id, "GREETING", log=letter)
        time.sleep(0.2)  # the work
    return {"greeting": f"Hello, {name}!"}
