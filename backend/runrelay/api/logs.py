"""What is logged: no token, in any application; and by `runrelay serve` the relay's lines beside uvicorn's."""

from __future__ import annotations

import copy
import logging
import re
from typing import Any, Final

__all__ = ["keep_tokens_out", "log_config"]

_TOKEN: Final = re.compile(r"(?<=[?&]token=)[^&\s\"]+")
_LOGGERS: Final = ("uvicorn.access", "uvicorn.error")
"""Those that tell of requests, and of WebSockets."""


class _NoTokens(logging.Filter):
    """Takes tokens out of the URLs that are logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; it is always logged."""
        if isinstance(record.args, tuple):
            record.args = tuple(_TOKEN.sub("…", arg) if isinstance(arg, str) else arg for arg in record.args)
        return True


_no_tokens: Final = _NoTokens()


def keep_tokens_out() -> None:
    """Keep tokens out of what uvicorn logs in this process: browsers can send them only in the URL, and logs are kept.

    To be called when uvicorn has set its logging up, that is, from the lifespan; again does nothing.
    """
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_no_tokens)


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
