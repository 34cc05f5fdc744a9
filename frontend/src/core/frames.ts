/** From the wire to types. Every frame is checked once, here. Unknown types and fields are ignored. */

import type { ProgressEvent, RunSummary } from "./fields.js";
import { readEventFields, readSummaryFields } from "./fields.js";
import { isFields, level, list, number, status, text } from "./readers.js";
import type { Json, LogLevel, Step } from "./types.js";

export type { ProgressEvent } from "./fields.js";
export { list } from "./readers.js";

export interface WireLogLine {
  /** Its number in the run; 0 where the frame does not say it. */
  readonly n: number;
  readonly seq: number;
  readonly ts: number | null;
  readonly level: LogLevel;
  readonly step: string | null;
  readonly message: string;
}

/** A run at one position: an `initial_state` frame, or the polled snapshot (which has `logLines`). */
export interface Snapshot extends RunSummary {
  readonly steps: readonly Step[];
  readonly result: Json;
  readonly logs: readonly string[];
  readonly logLines: readonly WireLogLine[] | null;
  readonly logsTruncated: number;
  readonly logsTrimmed: number;
  readonly recovered: boolean;
}

export type Frame =
  | { readonly type: "initial_state"; readonly snapshot: Snapshot }
  | { readonly type: "progress"; readonly event: ProgressEvent }
  | { readonly type: "resumed"; readonly runId: string }
  | { readonly type: "stale"; readonly runId: string }
  | { readonly type: "end"; readonly runId: string }
  | { readonly type: "upstream"; readonly status: "up" | "down" }
  | { readonly type: "error"; readonly code: number; readonly message: string; readonly runId: string | null }
  | { readonly type: "pong" }
  | { readonly type: "subscribed" }
  | { readonly type: "run"; readonly summary: RunSummary }
  | { readonly type: "run_deleted"; readonly runId: string };

function readStep(value: unknown): Step | null {
  if (!isFields(value)) return null;
  const name = text(value.name);
  if (name === null) return null;
  return {
    name,
    status: status(value.status) ?? "queued",
    progress: number(value.progress),
    attempt: number(value.attempt) ?? 1,
    weight: number(value.weight) ?? 1,
    startedAt: number(value.started_at),
    finishedAt: number(value.finished_at),
    error: text(value.error),
  };
}

export function readLogLine(value: unknown): WireLogLine | null {
  if (!isFields(value)) return null;
  const message = text(value.message);
  const seq = number(value.seq);
  if (message === null || seq === null) return null;
  return {
    n: number(value.n) ?? 0,
    seq,
    ts: number(value.ts),
    level: level(value.level),
    step: text(value.step),
    message,
  };
}

/** A run's summary, or null when the value is not one. */
export function readSummary(value: unknown): RunSummary | null {
  return isFields(value) ? readSummaryFields(value) : null;
}

/** An initial state or a polled snapshot, or null when the value is neither. */
export function readSnapshot(value: unknown): Snapshot | null {
  const summary = readSummary(value);
  if (summary === null || !isFields(value)) return null;
  return {
    ...summary,
    steps: list(value.steps, readStep),
    result: (value.result ?? null) as Json, // it came out of JSON.parse
    logs: list(value.logs, text),
    logLines: Array.isArray(value.log_lines) ? list(value.log_lines, readLogLine) : null,
    logsTruncated: number(value.logs_truncated) ?? 0,
    logsTrimmed: number(value.logs_trimmed) ?? 0,
    recovered: value.recovered !== false,
  };
}

/** A progress frame, or null when the value is not one. */
export function readEvent(value: unknown): ProgressEvent | null {
  return isFields(value) ? readEventFields(value) : null;
}

/** The frame of a message, over any transport; null for a type that this client does not know (of a newer server). */
export function readFrame(raw: string): Frame | null {
  let value: unknown;
  try {
    value = JSON.parse(raw);
  } catch {
    return null; // not a relay's frame: the deadline for the first frame decides about the transport
  }
  if (!isFields(value)) return null;
  const runId = text(value.run_id);
  switch (value.type) {
    case "progress": {
      const event = readEvent(value);
      return event && { type: "progress", event };
    }
    case "initial_state": {
      const snapshot = readSnapshot(value);
      return snapshot && { type: "initial_state", snapshot };
    }
    case "resumed":
    case "end":
    case "stale":
    case "run_deleted":
      return runId === null ? null : { type: value.type, runId };
    case "upstream":
      return { type: "upstream", status: value.status === "down" ? "down" : "up" };
    case "error":
      return {
        type: "error",
        code: number(value.code) ?? 0,
        message: text(value.message) ?? "",
        runId,
      };
    case "pong":
    case "subscribed":
      return { type: value.type };
    case "run": {
      const summary = readSummary(value);
      return summary && { type: "run", summary };
    }
    default:
      return null;
  }
}
