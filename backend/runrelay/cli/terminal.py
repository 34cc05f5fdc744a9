"""Shared by the commands: the two streams, one-line errors, the settings, and text that is safe to print."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from ..relay import Settings

__all__ = ["STYLES", "check_redis_url", "clean", "err", "fail", "forget_empty", "out", "settings"]

# Without rich's emoji: a log line is shown as it was written, `:ok:` included.
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

STYLES = {
    "queued": "dim", "running": "cyan", "retrying": "yellow", "stalled": "yellow",
    "succeeded": "green", "failed": "red", "cancelled": "magenta", "unknown": "dim",
}  # fmt: skip
"""Rich styles by status."""

_USUAL_NAMES = {"redis_url": "REDIS_URL", "port": "PORT"}
_OURS = re.compile(r"REDIS_URL|PORT|CELERY_BROKER_URL|RUNRELAY_\w+")
# C0 without tab and newline, DEL and C1. A terminal obeys them, and a log line is untrusted text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def fail(message: object) -> typer.Exit:
    """Print an error in one line. Returns the exception to raise."""
    err.print(f"runrelay: {escape(clean(str(message)))}", style="red", soft_wrap=True)
    return typer.Exit(1)


def clean(text: str) -> str:
    """Return `text` with its control characters escaped, so that it cannot control the terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def forget_empty(environ: MutableMapping[str, str]) -> None:
    """Delete empty variables of ours: a compose file's `REDIS_URL=${REDIS_URL:-}` makes an empty one.

    Except `RUNRELAY_JWT_SECRET`: a deployment that sets it wants tokens to be required, so an empty one is an error.
    """
    for name in [name for name, value in environ.items() if not value and _OURS.fullmatch(name)]:
        if name != "RUNRELAY_JWT_SECRET":
            del environ[name]


def settings() -> Settings:
    """The relay's settings. If the environment is wrong, a line is printed for each wrong or unknown variable.

    Raises:
        typer.Exit: a variable is wrong.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from ..environment import unknown_names
    from ..relay import Settings

    for sentence in unknown_names(os.environ):
        err.print(escape(clean(sentence)), style="yellow", soft_wrap=True)
    try:
        found = Settings()
    except ValidationError as error:
        for each in error.errors():
            what = each["msg"][:1].lower() + each["msg"][1:]
            exit_ = fail(f"{_variable(str(each['loc'][0]))}: {what}, got {each['input']!r}")
        raise exit_ from None
    except SettingsError as error:
        # lists are JSON; if one is not, pydantic-settings raises this before it checks any value
        field = re.search(r'field "(\w+)"', str(error))
        name = _variable(field[1]) if field else "RUNRELAY_…"
        raise fail(f'{name} must be a JSON list, as in ["https://example.org"], got {os.environ.get(name)!r}') from None
    check_redis_url(found.redis_url)
    return found


def check_redis_url(url: str) -> None:
    """Check a Redis URL.

    Raises:
        typer.Exit: no server can be reached under it.
    """
    from ..runlog.topology import check_url

    try:
        check_url(url)
    except ValueError as error:
        raise fail(error) from None


def _variable(field: str) -> str:
    return _USUAL_NAMES.get(field, f"RUNRELAY_{field.upper()}")
