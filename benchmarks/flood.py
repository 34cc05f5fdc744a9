"""The trivial sender's process: `python -m benchmarks.flood LISTENER CLIENTS FRAME_HEX JOINED WRITES`."""

from __future__ import annotations

import sys

from .generator import native_library

__all__ = ["main"]


def main() -> None:
    """Serve until every client has all."""
    listener, clients, frame, joined, writes = sys.argv[1:]
    block = bytes.fromhex(frame) * int(joined)
    if native_library().flood(int(listener), int(clients), block, len(block), int(writes)):
        raise SystemExit("a client left before it had everything")


if __name__ == "__main__":
    main()
