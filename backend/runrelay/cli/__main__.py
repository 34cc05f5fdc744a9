"""`python -m runrelay.cli`."""

from . import main

main()
