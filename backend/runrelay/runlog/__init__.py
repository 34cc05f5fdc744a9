"""The run log: a run's snapshot, events and log lines in Redis, committed and read atomically."""

from .aio import AsyncRunLog
from .commits import Batch, Committed, ProducerSequence, Retention
from .given_up import GivenUp
from .keys import Keys
from .listing import LATEST_MS
from .mac import Signer
from .pipelined import Pipelined, take_over
from .reads import RunView
from .sync import RunLog
from .troubles import DeniedCommand, denied_in_words, trouble_of

__all__ = [
    "LATEST_MS",
    "AsyncRunLog",
    "Batch",
    "Committed",
    "DeniedCommand",
    "GivenUp",
    "Keys",
    "Pipelined",
    "ProducerSequence",
    "Retention",
    "RunLog",
    "RunView",
    "Signer",
    "denied_in_words",
    "take_over",
    "trouble_of",
]
