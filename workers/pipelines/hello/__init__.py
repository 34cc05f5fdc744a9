"""The smallest pipeline, to be copied: it greets a person, one letter at a time. See docs/pipelines.md."""

from pydantic import BaseModel, Field

from runrelay.pipelines import Pipeline


class HelloInput(BaseModel):  # makes the start form
    name: str = Field("World", min_length=1, max_length=100, description="Who is greeted.")


def _start(run_id: str, request: HelloInput, attempt: int) -> None:
    from pipelines.hello.tasks import greet  # imported here: a relay that only shows runs does not load Celery
    from runrelay.celery import send

    send(greet.si(run_id, request.name), run_id, attempt=attempt)


def _cancel(run_id: str, attempt: int) -> None:
    from pipelines.app import app
    from runrelay.celery import cancel

    cancel(app, run_id, attempt)


pipeline = Pipeline(name="hello", title="Hello", input_model=HelloInput, start=_start, cancel=_cancel)
