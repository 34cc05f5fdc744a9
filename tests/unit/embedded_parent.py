"""A process that owns an embedded Valkey until its input ends: the parent that test_embedded.py kills.

Arguments: the data folder; `--unleashed` for the negative control.
"""

import sys

from runrelay import leash
from runrelay.embedded import EmbeddedValkey


def main() -> None:
    if "--unleashed" in sys.argv:
        leash.command = lambda program, signal_number: program
    with EmbeddedValkey(sys.argv[1], None) as valkey:
        sys.stdout.write(f"{valkey.pid} {valkey.port}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
