"""Publishes events: an input line is a JSON list of `publish_progress` arguments. Answers when they are committed."""

import json
import sys

from runrelay import flush, publish_progress

for line in sys.stdin:
    for event in json.loads(line):
        publish_progress(**event)
    sys.stdout.write("committed\n" if flush(timeout_s=30.0) else "late\n")
    sys.stdout.flush()
