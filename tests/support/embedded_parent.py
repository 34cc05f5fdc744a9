"""A process that owns an embedded Valkey until its input ends: the parent that test_embedded_valkey.py kills.

Arguments: the data folder; `--no-parent-death-signal` for the negative control.
"""

import sys

from runrelay.cli import parent_death
from runrelay.cli.embedded_valkey import EmbeddedValkey


def main() -> None:
    if "--no-parent-death-signal" in sys.argv:
        parent_death.command = lambda program, signal_number: program
    with EmbeddedValkey(sys.argv[1], None) as valkey:
        sys.stdout.write(f"{valkey.pid} {valkey.port}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
