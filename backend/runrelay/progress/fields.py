"""The one table of fields: what an event says, what is kept of a run, and what a frame carries.

A field is one line here; its meaning (how the commit script or the client's reducer folds it) is the only other thing
to write. Everything that repeats the fields is derived from this table when it is imported, never per event:

- `Event` itself, and the slices of it that the hot paths compare (`QUICK`, `BEYOND_PROGRESS`, `CONTROLS`)
- `make_event` and its checks, the raw messages that are adopted, the options of `runrelay publish`
- what the commit script is given (runlog/commits.py), and what a read asks for (runlog/reads.py)
- `initial_state`, the polled snapshot and the summary (snapshots.py), and the optional fields of a progress frame
- the example in the OpenAPI schema, and frontend/src/core/fields.ts (written by scripts/client_fields.py)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple, get_type_hints

from .checks import (
    StepSpec,
    check_attempt,
    check_data,
    check_error,
    check_level,
    check_log,
    check_progress,
    check_result,
    check_state,
    check_step,
)
from .states import TERMINAL_STATES, Level, Status

__all__ = [
    "BEYOND_PROGRESS",
    "CONTROLS",
    "DEFAULTS",
    "EVENT_FIELDS",
    "FRAME_FIELDS",
    "GIVEN",
    "MESSAGE_FIELDS",
    "QUICK",
    "RUN_FIELDS",
    "WIRE_FIELDS",
    "Event",
    "Field",
    "FieldType",
    "Kept",
    "Kind",
    "RunFields",
    "Shown",
    "leading",
]

FieldType = Literal["text", "number", "whole", "flag", "status", "level", "object", "json", "specs"]
"""What a field is in JSON; `number` is a float, `whole` an integer up to 2^53, `specs` a declaration of steps."""

Kind = Literal["event", "queue", "unsent", "start", "step_start", "retrying", "stalled", "finish"]
"""What an event does beside carrying its fields.

event:      nothing more
queue:      the run (or a new attempt of it) waits for a worker
unsent:     the work of a queued attempt could not be sent; if a worker receives it all the same, it does not begin
start:      a single-task run begins; the commit allocates its attempt
step_start: a member of a canvas begins; the commit allocates the step's attempt
retrying:   the task failed and will be tried again
stalled:    the worker is gone; only if its heartbeat is older than `stale_before_ms`
finish:     the run ends, but only if none of its steps runs or will run; as succeeded if all have succeeded
"""


class Field(NamedTuple):
    """What the table says of a field of an event, beside its name, its Python type and its default."""

    check: Callable[[Any], Any] | None = None
    """A publisher may give the field. Checks the value, and returns it as the event keeps it."""
    type: FieldType = "text"
    wire: bool = False
    """An optional field of the message: written there if it is not the default. JSON that is encoded goes as it is."""
    control: bool = False
    """The script is given it as control: an event that has one costs more. All control fields are the last ones."""
    large: bool = False
    """Its value can take more memory than all the rest: it counts for the outbox's bound."""
    about: str = ""
    """One sentence for the command line's help and the TypeScript type."""


class Event(NamedTuple):
    """One event of one run, as its producer sees it. A tuple, because each call of `publish_progress` makes one.

    `ts_ms` is the producer's clock (Unix milliseconds). `data`, `result` and `input` are encoded JSON. `attempt` and
    `step_attempt` are fences: an event of an older attempt is counted and not delivered.
    """

    ts_ms: Annotated[int, Field(type="whole")]
    state: Annotated[
        str | None, Field(check_state, about="The pipeline's own label; END, FAILED and CANCELLED end the run.")
    ] = None
    progress: Annotated[float | None, Field(check_progress, "number", about="0..1.")] = None
    log: Annotated[str | None, Field(check_log, large=True, about="A line for the run's log.")] = None
    level: Annotated[
        Level, Field(check_level, "level", wire=True, about="Of the log line: debug, info, warning or error.")
    ] = "info"
    step: Annotated[str | None, Field(check_step, about="The step that this is about.")] = None

    attempt: Annotated[
        int | None, Field(check_attempt, "whole", about="The attempt that this belongs to; by default the current one.")
    ] = None
    step_attempt: Annotated[int | None, Field(type="whole")] = None

    data: Annotated[
        bytes | None,
        Field(
            check_data, "object", wire=True, large=True,
            about="A JSON object, merged into the run's data by RFC 7386 (null removes a key).",
        ),
    ] = None  # fmt: skip

    result: Annotated[
        bytes | None,
        Field(check_result, "json", wire=True, control=True, large=True, about="What the run, or the step, has made."),
    ] = None
    error: Annotated[
        str | None, Field(check_error, wire=True, control=True, large=True, about="Why the run, or the step, failed.")
    ] = None
    kind: Annotated[Kind, Field(control=True)] = "event"
    title: Annotated[str | None, Field(wire=True, control=True, about="The run's title.")] = None
    pipeline: Annotated[str | None, Field(wire=True, control=True, about="The pipeline that the run is of.")] = None
    steps: Annotated[
        tuple[StepSpec, ...] | None,
        Field(type="specs", wire=True, control=True, about="The declaration of the run's steps."),
    ] = None
    precondition: Annotated[Literal["absent", "ended", "unfinished", "unbegun"] | None, Field(control=True)] = None
    """Refuse the commit unless the run is so."""
    base_attempt: Annotated[int | None, Field(type="whole", control=True)] = None
    """Of a start: the attempt that its task was sent for. A start that a retry has replaced is fenced."""
    reopen: Annotated[bool, Field(type="flag", control=True)] = False
    """Of a start: begin a new attempt even after END. For a program that is run again by hand, not for a redelivery."""
    only_if_not_superseded: Annotated[bool, Field(type="flag", control=True)] = False
    """Only for a start that is replayed from the spool of a process that died: ignore it if another attempt has
    started since."""
    only_if_unbegun: Annotated[bool, Field(type="flag", control=True)] = False
    """Ignore the event if a start has begun the run: whoever has begun it says what becomes of it."""
    stale_before_ms: Annotated[int | None, Field(type="whole", control=True)] = None
    """Of a stalled: only if the worker's last heartbeat is older (Unix ms, Redis' clock)."""
    input: Annotated[bytes | None, Field(type="json", control=True)] = None
    """Of a queue: what the run was asked to do, as JSON. It is kept, so that a retry can ask for the same."""
    more_steps: Annotated[int | None, Field(type="whole", control=True)] = None
    """Beside `steps`: how many steps there are beyond the limit. They are not kept; each has weight 1. `finish` waits
    for them too."""
    more_step: Annotated[int | None, Field(type="whole", control=True)] = None
    """Of an event with `step`: the number of this step among those beyond the limit, from 1."""
    continues: Annotated[int | None, Field(type="whole", control=True)] = None
    """Of the start of a task that another one was replaced by (`Task.replace`): the attempt that it goes on with."""
    nesting: Annotated[int | None, Field(type="whole", control=True)] = None
    """Beside `continues`: how many tasks have taken each other's place. Such a start continues the attempt if the
    number is higher than that of the start before it; else it was delivered again, and begins another attempt."""
    lost: Annotated[bytes | None, Field(type="json", control=True)] = None
    """Of the end of a canvas' member: the parts of the canvas that will not run because of it, as JSON: of each part
    the name of its first member, and how many members it has."""

    @property
    def is_progress_only(self) -> bool:
        """Whether a later event of the same run, step, attempt and state may take this one's place."""
        return (
            self.progress is not None
            and self.log is None
            and self[BEYOND_PROGRESS] == NOTHING_BEYOND
            and self.state not in TERMINAL_STATES
        )


def _fields(table: Any) -> dict[str, Any]:
    """The metadata of each field of a class, by name, in order."""
    hints = get_type_hints(table, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}


EVENT_FIELDS: Final[dict[str, Field]] = _fields(Event)
GIVEN: Final = {name: field for name, field in EVENT_FIELDS.items() if field.check is not None}
"""Those that a publisher may give, in order."""
WIRE_FIELDS: Final = tuple(name for name, field in EVENT_FIELDS.items() if field.wire)
"""The optional fields of a message that come from the event, in the order in which they are written: the level is the
first and the data the second, as the script expects them there."""


def leading(*names: str) -> slice:
    """The first fields of an event, by name, as a slice of it.

    Raises:
        TypeError: the table begins with others. Whoever unpacks such a slice must be changed with the table.
    """
    if Event._fields[: len(names)] != names:
        raise TypeError(f"an event begins with {Event._fields[: len(names)]}, not with {names}")
    return slice(len(names))


def _trailing(name: str) -> slice:
    return slice(Event._fields.index(name), None)


QUICK: Final = leading("ts_ms", "state", "progress", "log", "level", "step")
"""What `publish_progress` says of an event in the common case."""
BEYOND_PROGRESS: Final = _trailing("data")
"""What an event that only reports progress does not have: its data and all control fields."""
CONTROLS: Final = _trailing("result")
LARGE: Final = slice(Event._fields.index("data"), Event._fields.index("error") + 1)
"""What can be large of an event, beside its log line."""

DEFAULTS: Final = Event(0)
NOTHING_BEYOND: Final[Any] = DEFAULTS[BEYOND_PROGRESS]
NO_CONTROLS: Final[Any] = DEFAULTS[CONTROLS]
NOTHING_LARGE: Final[Any] = DEFAULTS[LARGE]
"""The control fields of an event that has none: one comparison instead of one for each of them."""

if tuple(name for name, field in EVENT_FIELDS.items() if field.control) != tuple(Event._fields)[CONTROLS]:
    raise TypeError("the control fields must be the last ones of the table, from `result` on")
if tuple(name for name, field in EVENT_FIELDS.items() if field.large) != ("log", *tuple(Event._fields)[LARGE]):
    raise TypeError("the large fields must be the log line, and those from `data` to `error`")
if WIRE_FIELDS[:2] != ("level", "data"):
    raise TypeError("the level and the data must be the first optional fields of a message: the script looks there")
if not all(EVENT_FIELDS[name].control for name in WIRE_FIELDS[2:]):
    raise TypeError("an optional field of a message, but for the level and the data, must be a control field")


class Kept(NamedTuple):
    """What the table says of a field of a run: it is kept in the run's hash under the same name."""

    type: FieldType = "text"
    summary: Literal["always", "by setting", "never"] = "always"
    """Whether the list of runs shows it. All are in `initial_state`, but for `polled` ones."""
    polled: bool = False
    """Only in the polled snapshot."""
    last: bool = False
    """It is what the last event with a field of this name said; the client keeps it so, too (`keepLast`)."""
    example: Any = None
    about: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFields:
    """What the log keeps of a run and shows as it is. Times are Unix milliseconds, Redis' clock."""

    state: Annotated[str | None, Kept(example="PLOT_GENERATION")] = None
    progress: Annotated[float | None, Kept("number", example=0.15)] = None
    status: Annotated[Status, Kept("status", example="running")] = "unknown"
    attempt: Annotated[int, Kept("whole", example=1)] = 1
    title: Annotated[str | None, Kept(last=True, example="우주여행 고양이")] = None
    pipeline: Annotated[str | None, Kept(last=True, example="shorts")] = None
    error: Annotated[str | None, Kept()] = None
    created_at: Annotated[int | None, Kept("whole", example=1762300000000)] = None
    started_at: Annotated[int | None, Kept("whole", example=1762300000100)] = None
    updated_at: Annotated[int | None, Kept("whole", example=1762300003000)] = None
    finished_at: Annotated[int | None, Kept("whole")] = None
    ended_in: Annotated[
        str | None, Kept(example="RENDERING", about="The state that the run was in when it ended: where it failed.")
    ] = None
    data: Annotated[
        Any,
        Kept(
            "object", "by setting", example={"model": "small"},
            about="The run's metadata: the `data` of all its events, merged. Null while there is none, and in lists"
            " that leave it out.",
        ),
    ] = None  # fmt: skip
    result: Annotated[Any, Kept("json", "never")] = None
    fenced: Annotated[int, Kept("whole", "never", polled=True, example=0)] = 0
    """Events that were counted and not delivered: of an older attempt, or after the end."""


RUN_FIELDS: Final[dict[str, Kept]] = _fields(RunFields)


class Shown(NamedTuple):
    """A field of a progress frame."""

    name: str
    type: FieldType
    message: str | None = None
    """The field of the message that it is, where that has another name; frames add what has none."""
    always: bool = True
    """False: only in frames of messages that have it."""
    key: str | None = None
    """Its name in TypeScript, where that is not the same in camel case."""
    about: str = ""


MESSAGE_FIELDS: Final = ("run_id", "state", "progress", "log", "status", "seq", "epoch", "ts", "attempt")
"""The fields that every message has, in this order: the original format's four come first."""

FRAME_FIELDS: Final = (
    Shown("run_id", "text"),
    Shown("state", "text"),
    Shown("progress", "number"),
    Shown("message", "text", "log", about='"" when the event carries no log line.'),
    Shown("level", "level"),
    Shown("status", "status"),
    Shown("seq", "whole"),
    Shown("id", "text", key="cursor"),
    Shown("ts", "whole"),
    Shown("attempt", "whole"),
    *(
        Shown(name, EVENT_FIELDS[name].type, always=False, about=EVENT_FIELDS[name].about)
        for name in WIRE_FIELDS
        if name != "level"
    ),
    Shown("step", "text", always=False),
    Shown("step_status", "status", always=False),
    Shown("step_progress", "number", always=False),
    Shown("step_attempt", "whole", always=False),
    Shown(
        "data_ignored", "flag", always=False,
        about="The run's data would have been too large with this event's: it stayed as it was.",
    ),
)  # fmt: skip
"""The fields of a progress frame but for `type`: first those of every frame, then the optional ones in the order of the
message, so that a frame has the same bytes whether it is cut from the message or made here (fanout/frame_cutting.py).
"""
