"""The worker side: publish_progress, and the helpers that are built on it. Needs redis and orjson, nothing else.

publish.py        publish_progress, flush, and the process' publisher
run_progress.py   a block of code as a run, or as one of its steps
spans.py          a part of a run with its own progress 0..1
track.py          the progress of a loop
tqdm.py           a tqdm-compatible bar (needs tqdm)
log_handler.py    a logging handler that publishes records as log lines
"""

from ..outbox.publisher import Publisher
from .log_handler import RunLogHandler
from .publish import configure, current_run, flush, publish_progress
from .run_progress import RunProgress, run_progress
from .spans import Span
from .track import track

__all__ = [
    "Publisher",
    "RunLogHandler",
    "RunProgress",
    "Span",
    "configure",
    "current_run",
    "flush",
    "publish_progress",
    "run_progress",
    "track",
]
