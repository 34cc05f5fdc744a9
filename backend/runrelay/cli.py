"""The command line: `runrelay dev | serve | worker | tail | runs | publish | demo`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; without the extra that it needs, say so in one line."""
    try:
        from .commands import app
    except ModuleNotFoundError as error:
        print(
            f"runrelay: this needs the extra 'server' ({error.name} is missing): pip install 'runrelay[server]'",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    app()


if __name__ == "__main__":
    main()
