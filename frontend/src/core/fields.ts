/** Fields of runs and events. Written by scripts/client_fields.py from progress/fields.py: no edits. */

import { isJsonObject } from "./mergePatch.js";
import { level, list, number, readStepSpec, status, text } from "./readers.js";
import type { Json, JsonObject, LogLevel, RunStatus, StepSpec } from "./types.js";

/** A run without its log: what the list shows. */
export interface RunSummary {
  readonly runId: string;
  readonly state: string | null;
  readonly progress: number | null;
  readonly status: RunStatus;
  readonly attempt: number;
  readonly title: string | null;
  readonly pipeline: string | null;
  readonly error: string | null;
  readonly createdAt: number | null;
  readonly startedAt: number | null;
  readonly updatedAt: number | null;
  readonly finishedAt: number | null;
  /** The state that the run was in when it ended: where it failed. */
  readonly endedIn: string | null;
  /** The run's metadata: the `data` of all its events, merged. Null while there is none, and in lists that leave it out. */
  readonly data: JsonObject | null;
  readonly seq: number;
  /** The cursor `<epoch>-<seq>`; `0-0` for a run without a log. */
  readonly cursor: string;
  readonly stale: boolean;
}

/** The summary of a run without a log, but for its id. */
export const NO_SUMMARY: Omit<RunSummary, "runId"> = {
  state: null,
  progress: null,
  status: "unknown",
  attempt: 1,
  title: null,
  pipeline: null,
  error: null,
  createdAt: null,
  startedAt: null,
  updatedAt: null,
  finishedAt: null,
  endedIn: null,
  data: null,
  seq: 0,
  cursor: "0-0",
  stale: false,
};

/** A summary's fields, each as its type says or empty; null when the value names no run. */
export function readSummaryFields(value: Readonly<Record<string, unknown>>): RunSummary | null {
  const runId = text(value.run_id);
  if (runId === null) return null;
  return {
    runId,
    state: text(value.state),
    progress: number(value.progress),
    status: status(value.status) ?? "unknown",
    attempt: number(value.attempt) ?? 1,
    title: text(value.title),
    pipeline: text(value.pipeline),
    error: text(value.error),
    createdAt: number(value.created_at),
    startedAt: number(value.started_at),
    updatedAt: number(value.updated_at),
    finishedAt: number(value.finished_at),
    endedIn: text(value.ended_in),
    data: isJsonObject(value.data) ? value.data : null,
    seq: number(value.seq) ?? 0,
    cursor: text(value.id) ?? "0-0",
    stale: value.stale === true,
  };
}

/** An event of a run, as a `progress` frame brings it. */
export interface ProgressEvent {
  readonly runId: string;
  readonly cursor: string;
  readonly seq: number;
  readonly state: string | null;
  readonly progress: number | null;
  /** "" when the event carries no log line. */
  readonly message: string;
  readonly level: LogLevel;
  readonly status: RunStatus;
  readonly ts: number;
  readonly attempt: number;
  /** A JSON object, merged into the run's data by RFC 7386 (null removes a key). */
  readonly data: JsonObject | null;
  /** What the run, or the step, has made. */
  readonly result: Json | undefined;
  /** Why the run, or the step, failed. */
  readonly error: string | null;
  /** The run's title. */
  readonly title: string | null;
  /** The pipeline that the run is of. */
  readonly pipeline: string | null;
  /** The declaration of the run's steps. */
  readonly steps: readonly StepSpec[] | null;
  readonly step: string | null;
  readonly stepStatus: RunStatus | null;
  readonly stepProgress: number | null;
  readonly stepAttempt: number | null;
  /** The run's data would have been too large with this event's: it stayed as it was. */
  readonly dataIgnored: boolean;
}

/** The fields of a run that are what the last event with such a field said. */
export function keepLast(run: RunSummary, event: ProgressEvent): Pick<RunSummary, "title" | "pipeline"> {
  return {
    title: event.title ?? run.title,
    pipeline: event.pipeline ?? run.pipeline,
  };
}

/** An event's fields, each as its type says or empty; null when the value has no place in a log. */
export function readEventFields(value: Readonly<Record<string, unknown>>): ProgressEvent | null {
  const runId = text(value.run_id);
  const cursor = text(value.id);
  const seq = number(value.seq);
  if (runId === null || cursor === null || seq === null) return null;
  return {
    runId,
    cursor,
    seq,
    state: text(value.state),
    progress: number(value.progress),
    message: text(value.message) ?? "",
    level: level(value.level),
    status: status(value.status) ?? "unknown",
    ts: number(value.ts) ?? 0,
    attempt: number(value.attempt) ?? 1,
    data: isJsonObject(value.data) ? value.data : null,
    result: value.result as Json | undefined,
    error: text(value.error),
    title: text(value.title),
    pipeline: text(value.pipeline),
    steps: Array.isArray(value.steps) ? list(value.steps, readStepSpec) : null,
    step: text(value.step),
    stepStatus: status(value.step_status),
    stepProgress: number(value.step_progress),
    stepAttempt: number(value.step_attempt),
    dataIgnored: value.data_ignored === true,
  };
}
