"""What `runrelay serve` logs: the relay's lines beside uvicorn's, in every process, and no token in any of them."""

from __future__ import annotations

import copy
import logging
import re
from typing import Any

__all__ = ["NoTokens", "log_config"]

_TOKEN = re.compile(r"(?<=[?&]token=)[^&\s\"]+")


class NoTokens(logging.Filter):
    """Takes tokens out of the URLs that uvicorn logs: browsers can send them nowhere else, and logs are kept."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; it is always logged."""
        if isinstance(record.args, tuple):
            record.args = tuple(_TOKEN.sub("…", arg) if isinstance(arg, str) else arg for arg in record.args)
        return True


def log_config(level: str) -> dict[str, Any]:
    """The configuration for `logging.config.dictConfig`: uvicorn's own, and all other loggers at `level`."""
    from uvicorn.config import LOGGING_CONFIG

    config = copy.deepcopy(LOGGING_CONFIG)
    config["filters"] = {"no_tokens": {"()": f"{__name__}.NoTokens"}}
    config["formatters"]["named"] = {**config["formatters"]["default"], "fmt": "%(levelprefix)s %(name)s %(message)s"}
    config["handlers"]["named"] = {**config["handlers"]["default"], "formatter": "named"}
    for handler in config["handlers"].values():
        handler["filters"] = ["no_tokens"]
    # With --reload it tells of each file that changes, those of the embedded server's log included.
    config["loggers"]["watchfiles"] = {"level": "WARNING"}
    config["root"] = {"handlers": ["named"], "level": level.upper()}
    return config
