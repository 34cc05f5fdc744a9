"""The worker side: publish_progress, and the helpers that are built on it. Needs redis and orjson, nothing else."""

from ..outbox.publisher import Publisher
from .log_handler import RunLogHandler
from .publish import configure, flush, publish_progress
from .run_progress import RunProgress, run_progress
from .spans import Span
from .track import track

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
