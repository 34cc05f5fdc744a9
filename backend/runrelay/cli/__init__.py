"""The command line: `runrelay dev | serve | worker | tail | runs | publish | demo`.

commands.py          the commands and their options
dev.py               `dev`: everything on one machine, as child processes
tail.py              `tail`: a run in the terminal
demo.py              `demo`: a sample run
terminal.py          output streams, one-line errors, settings
embedded_valkey.py   the Valkey that `dev` starts without REDIS_URL
parent_death.py      a program that ends when its parent dies
ports.py             whether a port is free, and which server is behind it
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

__all__ = ["main"]


def main() -> None:
    """Run the command line. Without the extra that it needs, print one line and exit with code 2."""
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
    """Make Hangul run ids work in a terminal without Unicode (an ASCII locale).

    There Python decodes an argument's bytes to lone surrogates, and refuses to print characters that the encoding does
    not have. The arguments are decoded as UTF-8 here; characters that cannot be printed are printed as escapes.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.argv[1:] = [os.fsencode(argument).decode("utf-8", "surrogateescape") for argument in sys.argv[1:]]
