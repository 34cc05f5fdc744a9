"""Publishes what it reads, publish_progress' arguments as JSON a line; answers a line once it is committed."""

import json
import sys

from runrelay import flush, publish_progress

for line in sys.stdin:
    for event in json.loads(line):
        publish_progress(**event)
    sys.stdout.write("committed\n" if flush(timeout_s=30.0) else "late\n")
    sys.stdout.flush()
