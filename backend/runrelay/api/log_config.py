"""Logging: no tokens, no control characters, no floods; and the configuration for `runrelay serve`."""

from __future__ import annotations

import asyncio
import copy
import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from .problems import StreamCutOff

__all__ = ["guarded_logs", "log_config", "one_line_per_connection"]

log = logging.getLogger(__name__)

_TOKEN: Final = re.compile(r"(?<=[?&]token=)[^&\s\"]+")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_BUT_LINES: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_ACCESS: Final = "uvicorn.access"
_REQUESTS: Final = (_ACCESS, "uvicorn.error")
"""Loggers whose lines contain URLs of requests."""
_SERVERS: Final = ("uvicorn.error", "hypercorn.error")
"""Loggers that log an exception of the application with its traceback."""
_FLOODED: Final = ("uvicorn.error", "asyncio")
"""Loggers, apart from our own, whose lines a client can cause. Not the access log: there every line is wanted."""

_BURST_S: Final = 5.0
_SUMMARY_S: Final = 5.0
_MOST_KINDS: Final = 1_000

_OF_ONE_CONNECTION: Final = frozenset(
    ('%s - "WebSocket %s" [accepted]', "connection open", "connection rejected (%d %s)")
)
"""Lines of uvicorn and websockets about each connection, which our own line makes superfluous."""


def _escape(text: str) -> str:
    return _CONTROL.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


class _Harmless(logging.Filter):
    """Removes tokens from URLs, and escapes control characters.

    With a line break or an ANSI sequence in a run id, a client could forge lines of the log, or control the terminal on
    which the log is read.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; it is always logged."""
        if isinstance(record.args, tuple):
            record.args = tuple(_TOKEN.sub("…", arg) if isinstance(arg, str) else arg for arg in record.args)
        if record.name == _ACCESS:  # its formatter needs the arguments
            record.args = tuple(_escape(arg) if isinstance(arg, str) else arg for arg in record.args or ())
        elif _CONTROL.search(message := record.getMessage().rstrip("\n")):
            record.msg, record.args = _escape(message), None
        if record.exc_info and not record.exc_text:
            text = logging.Formatter().formatException(record.exc_info)
            record.exc_text = _CONTROL_BUT_LINES.sub(_escaped, text)
        return True


class _Floods(logging.Filter):
    """Rate limit: lets `lines_per_s` lines of one kind through, and counts the rest.

    A kind is a logger, a level and a template. A burst of five seconds' worth goes through. How many lines were left
    out is logged within five seconds, in one line for each kind.
    """

    def __init__(self, lines_per_s: float) -> None:
        super().__init__()
        self._lines_per_s = lines_per_s
        self._burst = max(1.0, lines_per_s * _BURST_S)
        self._kinds: dict[tuple[str, int, str], list[float]] = {}
        """By kind: how many lines may come, when that was computed (s), how many were left out."""
        self._left_out = False
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        kind, now = (record.name, record.levelno, str(record.msg)), time.monotonic()
        with self._lock:
            state = self._kinds.pop(kind, None) or [self._burst, now, 0]
            self._kinds[kind] = state  # at the end, so that the kind that was silent for longest is dropped first
            if len(self._kinds) > _MOST_KINDS:
                del self._kinds[next(iter(self._kinds))]
            state[0] = min(self._burst, state[0] + (now - state[1]) * self._lines_per_s)
            state[1] = now
            if state[0] >= 1:
                state[0] -= 1
                return True
            state[2] += 1
            self._left_out = True
            return False

    async def report_forever(self) -> None:
        """Report every five seconds, until cancelled."""
        while True:
            await asyncio.sleep(_SUMMARY_S)
            self.report()

    def report(self) -> None:
        """Log how many lines were left out, if any were."""
        if not self._left_out:
            return
        with self._lock:
            left_out = [(kind, int(state[2])) for kind, state in self._kinds.items() if state[2]]
            for kind, _ in left_out:
                self._kinds[kind][2] = 0
            self._left_out = False
        for (name, level, template), count in left_out:
            log.log(level, "%d more lines like this were left out: %s: %s", count, name, template[:200])


class _OneLine(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.msg not in _OF_ONE_CONNECTION


class _NoCutOffs(logging.Filter):
    """Leaves out the traceback of streams that were cut off on purpose: they have a line of their own."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], StreamCutOff))


_no_cut_offs: Final = _NoCutOffs()
_harmless: Final = _Harmless()
_one_line: Final = _OneLine()


@contextmanager
def guarded_logs(lines_per_s: float) -> Iterator[None]:
    """Keep tokens, control characters and floods out of what we and uvicorn log in this process, within the block.

    Browsers can send a token only in a WebSocket's URL, and logs are kept. Log lines contain text from clients. A
    client that causes a line with each packet could fill the disk. Enter it after uvicorn has configured logging, that
    is, in the lifespan, in the loop's thread.

    Args:
        lines_per_s: lines of one kind; 0: no bound.
    """
    own = [name for name in logging.Logger.manager.loggerDict if name.startswith("runrelay.")]
    for name in (*_REQUESTS, *own):
        logging.getLogger(name).addFilter(_harmless)
    for name in _SERVERS:
        logging.getLogger(name).addFilter(_no_cut_offs)
    if not lines_per_s:
        yield
        return
    floods = _Floods(lines_per_s)
    # First, as a line that is left out need not be escaped. Not for this module, which logs how many were left out.
    flooded = [logging.getLogger(name) for name in (*_FLOODED, *own) if name != __name__]
    for logger in flooded:
        logger.filters.insert(0, floods)
    reporting = asyncio.create_task(floods.report_forever(), name="log floods")
    try:
        yield
    finally:
        reporting.cancel()
        for logger in flooded:
            logger.removeFilter(floods)
        floods.report()


def one_line_per_connection() -> None:
    """Leave out the lines of uvicorn and websockets about each WebSocket; for a process that is the relay's own."""
    filters = logging.getLogger("uvicorn.error").filters
    if _one_line not in filters:
        filters.insert(0, _one_line)  # before the rate limit, so that these lines are not counted


def log_config(level: str) -> dict[str, Any]:
    """The configuration for `logging.config.dictConfig`: uvicorn's own, and all other loggers at `level`."""
    from uvicorn.config import LOGGING_CONFIG

    config = copy.deepcopy(LOGGING_CONFIG)
    config["formatters"]["named"] = {**config["formatters"]["default"], "fmt": "%(levelprefix)s %(name)s %(message)s"}
    config["handlers"]["named"] = {**config["handlers"]["default"], "formatter": "named"}
    # With --reload it logs each changed file, even those of the embedded server's log.
    config["loggers"]["watchfiles"] = {"level": "WARNING"}
    config["root"] = {"handlers": ["named"], "level": level.upper()}
    return config
