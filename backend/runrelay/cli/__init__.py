"""The command line: `runrelay dev | serve | worker | tail | runs | publish | demo`."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

__all__ = ["main"]


def main() -> None:
    """Run the command line; without the extra that it needs, say so in one line."""
    _accept_any_encoding()
    try:
        from .commands import app
        from .terminal import forget_empty
    except ModuleNotFoundError as error:
        print(
            f"runrelay: this needs the extra 'server' ({error.name} is missing): pip install 'runrelay[server]'",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    forget_empty(os.environ)
    app()


def _accept_any_encoding() -> None:
    """Let a terminal without Unicode show the rest, and name Hangul run ids all the same.

    There Python keeps the bytes of an argument as lone surrogates, and refuses to print what has no place.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.argv[1:] = [os.fsencode(argument).decode("utf-8", "surrogateescape") for argument in sys.argv[1:]]
