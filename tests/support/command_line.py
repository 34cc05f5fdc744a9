"""The command line in this process, without what it leaves in a process of its own."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping

import uvicorn.config
from typer.testing import CliRunner, Result

from runrelay.cli.commands import app


def invoke(*arguments: str, env: Mapping[str, str] | None = None) -> Result:
    """Run `runrelay` with the arguments; how logging is set up is as before when it returns.

    Without that, what a command sets for its whole process (no warnings; uvicorn's configuration, which takes the
    root logger's handlers away) is missing in the log of the tests that come later.
    """
    level, config = logging.getLogger("runrelay").level, copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    try:
        return CliRunner().invoke(app, arguments, env=env)
    finally:
        logging.getLogger("runrelay").setLevel(level)
        uvicorn.config.LOGGING_CONFIG.clear()
        uvicorn.config.LOGGING_CONFIG.update(config)
