"""The pure core: fields, events, snapshots, cursors, states. No I/O; it imports no other package of runrelay."""

from .checks import StepSpec, step_specs
from .cursors import START, Cursor, new_epoch, parse_cursor
from .events import make_event
from .fields import Event
from .run_ids import check_run_id
from .sizes import MAX_SNAPSHOT_BYTES, fitted
from .snapshots import LogLine, Snapshot, Step
from .states import ACTIVE, ENDED, STATUSES, TERMINAL_STATES, Level, Status, is_ended

__all__ = [
    "ACTIVE",
    "ENDED",
    "MAX_SNAPSHOT_BYTES",
    "START",
    "STATUSES",
    "TERMINAL_STATES",
    "Cursor",
    "Event",
    "Level",
    "LogLine",
    "Snapshot",
    "Status",
    "Step",
    "StepSpec",
    "check_run_id",
    "fitted",
    "is_ended",
    "make_event",
    "new_epoch",
    "parse_cursor",
    "step_specs",
]
