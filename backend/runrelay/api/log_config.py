"""What is logged: no token, no control characters, no floods; and by `runrelay serve` the relay's lines beside
uvicorn's.
"""

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
"""Those that tell of requests, and of WebSockets."""
_FLOODED: Final = ("uvicorn.error", "asyncio")
"""Those beside our own whose lines a client can cause; not the access log, in which every line is wanted."""

_BURST_S: Final = 5.0
_SUMMARY_S: Final = 5.0
_MOST_KINDS: Final = 1_000

_OF_ONE_CONNECTION: Final = frozenset(
    ('%s - "WebSocket %s" [accepted]', "connection open", "connection rejected (%d %s)")
)
"""What uvicorn and websockets say of each connection beside our own line, or beside uvicorn's of a refusal."""


def _escape(text: str) -> str:
    return _CONTROL.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


class _Harmless(logging.Filter):
    """Takes tokens out of URLs, and escapes control characters: with a line break or an ANSI sequence in a name, a
    client could write lines of its own into the log, or on the terminal of whoever reads it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; it is always logged."""
        if isinstance(record.args, tuple):
            record.args = tuple(_TOKEN.sub("…", arg) if isinstance(arg, str) else arg for arg in record.args)
        if record.name == _ACCESS:  # its formatter wants the arguments
            record.args = tuple(_escape(arg) if isinstance(arg, str) else arg for arg in record.args or ())
        elif _CONTROL.search(message := record.getMessage().rstrip("\n")):
            record.msg, record.args = _escape(message), None
        if record.exc_info and not record.exc_text:
            text = logging.Formatter().formatException(record.exc_info)
            record.exc_text = _CONTROL_BUT_LINES.sub(_escaped, text)
        return True


class _Floods(logging.Filter):
    """Lets so many lines of one kind through a second, and counts the rest. One kind: a logger, a level, a template.

    A burst of five seconds' worth goes through. What was left out is told five seconds later, in one line a kind.
    """

    def __init__(self, lines_per_s: float) -> None:
        super().__init__()
        self._lines_per_s = lines_per_s
        self._burst = max(1.0, lines_per_s * _BURST_S)
        self._kinds: dict[tuple[str, int, str], list[float]] = {}
        """Of each kind: how many may come, when that was so (s), how many were left out."""
        self._left_out = False
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        kind, now = (record.name, record.levelno, str(record.msg)), time.monotonic()
        with self._lock:
            state = self._kinds.pop(kind, None) or [self._burst, now, 0]
            self._kinds[kind] = state  # last: the one that was silent for longest is forgotten first
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
        """Tell every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(_SUMMARY_S)
            self.tell()

    def tell(self) -> None:
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
    """Keep tokens, control characters and floods out of what we and uvicorn log in this process.

    Browsers can send tokens only in the URL, and logs are kept; what clients say is in them; and a client that costs a
    line with each of its packets could fill the disk. To be entered when uvicorn has set its logging up, that is, in
    the lifespan, and in the loop's thread.

    Args:
        lines_per_s: lines of one kind; 0: no bound.
    """
    own = [name for name in logging.Logger.manager.loggerDict if name.startswith("runrelay.")]
    for name in (*_REQUESTS, *own):
        logging.getLogger(name).addFilter(_harmless)
    logging.getLogger("uvicorn.error").addFilter(_no_cut_offs)
    if not lines_per_s:
        yield
        return
    floods = _Floods(lines_per_s)
    # first: what is left out need not be made harmless. Not the lines that tell how many there were.
    flooded = [logging.getLogger(name) for name in (*_FLOODED, *own) if name != __name__]
    for logger in flooded:
        logger.filters.insert(0, floods)
    telling = asyncio.create_task(floods.report_forever(), name="log floods")
    try:
        yield
    finally:
        telling.cancel()
        for logger in flooded:
            logger.removeFilter(floods)
        floods.tell()


def one_line_per_connection() -> None:
    """Leave out what uvicorn and websockets say of each WebSocket beside our own line; for a process of our own."""
    filters = logging.getLogger("uvicorn.error").filters
    if _one_line not in filters:
        filters.insert(0, _one_line)  # before the floods' one: these lines are not counted either


def log_config(level: str) -> dict[str, Any]:
    """The configuration for `logging.config.dictConfig`: uvicorn's own, and all other loggers at `level`."""
    from uvicorn.config import LOGGING_CONFIG

    config = copy.deepcopy(LOGGING_CONFIG)
    config["formatters"]["named"] = {**config["formatters"]["default"], "fmt": "%(levelprefix)s %(name)s %(message)s"}
    config["handlers"]["named"] = {**config["handlers"]["default"], "formatter": "named"}
    # With --reload it tells of each file that changes, those of the embedded server's log included.
    config["loggers"]["watchfiles"] = {"level": "WARNING"}
    config["root"] = {"handlers": ["named"], "level": level.upper()}
    return config
