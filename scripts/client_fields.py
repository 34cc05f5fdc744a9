"""Write frontend/src/core/fields.ts, the client's types and readers, from the table in progress/fields.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from runrelay.progress.fields import FRAME_FIELDS, RUN_FIELDS, FieldType

ROOT = Path(__file__).resolve().parent.parent
TARGET = "frontend/src/core/fields.ts"


class Type(NamedTuple):
    """How a field's type is said in TypeScript, and how a value is read from JSON that may be anything."""

    name: str
    read: str
    empty: str = "null"


NULLABLE: dict[FieldType, Type] = {
    "text": Type("string | null", "text({})"),
    "number": Type("number | null", "number({})"),
    "whole": Type("number | null", "number({})"),
    "flag": Type("boolean", "{} === true", "false"),
    "status": Type("RunStatus | null", "status({})"),
    "level": Type("LogLevel", "level({})", '"info"'),
    "object": Type("JsonObject | null", "isJsonObject({0}) ? {0} : null"),
    "json": Type("Json | undefined", "{} as Json | undefined", "undefined"),
    "specs": Type("readonly StepSpec[] | null", "Array.isArray({0}) ? list({0}, readStepSpec) : null"),
}
REQUIRED: dict[str, Type] = {
    "status": Type("RunStatus", 'status({}) ?? "unknown"', '"unknown"'),
    "message": Type("string", 'text({}) ?? ""', '""'),
    "attempt": Type("number", "number({}) ?? 1", "1"),
    "ts": Type("number", "number({}) ?? 0", "0"),
    "seq": Type("number", "number({}) ?? 0", "0"),
    "id": Type("string", 'text({}) ?? "0-0"', '"0-0"'),
    "stale": Type("boolean", "{} === true", "false"),
}
"""Fields that the client always has a value for."""
KEYS = {"id": "cursor"}
CURSOR = "The cursor `<epoch>-<seq>`; `0-0` for a run without a log."


def key_of(name: str) -> str:
    """A field's name in TypeScript."""
    return KEYS.get(name) or re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def lines_of(fields: list[tuple[str, FieldType, str]]) -> tuple[list[str], list[str], list[str]]:
    """The lines of an interface, of a reader and of an empty value for fields: name, type, what it is."""
    types, reads, empty = [], [], []
    for name, kind, about in fields:
        given = REQUIRED.get(name) or NULLABLE[kind]
        if about:
            types.append(f"  /** {about} */")
        types.append(f"  readonly {key_of(name)}: {given.name};")
        reads.append(f"    {key_of(name)}: {given.read.format(f'value.{name}')},")
        empty.append(f"  {key_of(name)}: {given.empty},")
    return types, reads, empty


def _union(keys: list[str]) -> str:
    return " | ".join(f'"{key}"' for key in keys)


def source() -> str:
    """The file's text."""
    kept: list[tuple[str, FieldType, str]] = [
        (name, field.type, field.about) for name, field in RUN_FIELDS.items() if field.summary != "never"
    ]
    summary = lines_of([*kept, ("seq", "whole", ""), ("id", "text", CURSOR), ("stale", "flag", "")])
    last = [key_of(name) for name, field in RUN_FIELDS.items() if field.last]
    event = lines_of([(f.name, f.type, f.about) for f in FRAME_FIELDS if f.name not in ("run_id", "seq", "id")])
    return "\n".join(
        [
            "/** Fields of runs and events. Written by scripts/client_fields.py from progress/fields.py: no edits. */",
            "",
            'import { isJsonObject } from "./mergePatch.js";',
            'import { level, list, number, readStepSpec, status, text } from "./readers.js";',
            'import type { Json, JsonObject, LogLevel, RunStatus, StepSpec } from "./types.js";',
            "",
            "/** A run without its log: what the list shows. */",
            "export interface RunSummary {",
            "  readonly runId: string;",
            *summary[0],
            "}",
            "",
            "/** The summary of a run without a log, but for its id. */",
            'export const NO_SUMMARY: Omit<RunSummary, "runId"> = {',
            *summary[2],
            "};",
            "",
            "/** A summary's fields, each as its type says or empty; null when the value names no run. */",
            "export function readSummaryFields(value: Readonly<Record<string, unknown>>): RunSummary | null {",
            "  const runId = text(value.run_id);",
            "  if (runId === null) return null;",
            "  return {",
            "    runId,",
            *summary[1],
            "  };",
            "}",
            "",
            "/** An event of a run, as a `progress` frame brings it. */",
            "export interface ProgressEvent {",
            "  readonly runId: string;",
            "  readonly cursor: string;",
            "  readonly seq: number;",
            *event[0],
            "}",
            "",
            "/** The fields of a run that are what the last event with such a field said. */",
            f"export function keepLast(run: RunSummary, event: ProgressEvent): Pick<RunSummary, {_union(last)}> {{",
            "  return {",
            *(f"    {key}: event.{key} ?? run.{key}," for key in last),
            "  };",
            "}",
            "",
            "/** An event's fields, each as its type says or empty; null when the value has no place in a log. */",
            "export function readEventFields(value: Readonly<Record<string, unknown>>): ProgressEvent | null {",
            "  const runId = text(value.run_id);",
            "  const cursor = text(value.id);",
            "  const seq = number(value.seq);",
            "  if (runId === null || cursor === null || seq === null) return null;",
            "  return {",
            "    runId,",
            "    cursor,",
            "    seq,",
            *event[1],
            "  };",
            "}",
            "",
        ]
    )


if __name__ == "__main__":
    (ROOT / TARGET).write_text(source(), encoding="utf-8")
