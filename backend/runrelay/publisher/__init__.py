"""The worker side: publish_progress and what is built on it. Needs redis and orjson, nothing else."""

from .lifecycle import Publisher
from .loghandler import RunLogHandler
from .publishing import configure, flush, publish_progress
from .runs import RunProgress, run_progress
from .spans import Span
from .tracking import track

__all__ = [
    "Publisher",
    "RunLogHandler",
    "RunProgress",
    "Span",
    "configure",
    "flush",
    "publish_progress",
    "run_progress",
    "track",
]
