/** From the wire to types. Every frame is checked once, here. Unknown types and fields are ignored. */

import { isJsonObject } from "./mergePatch.js";
import type { Json, JsonObject, LogLevel, RunStatus, RunSummary, Step } from "./types.js";
import { STATUSES } from "./types.js";

type Fields = Readonly<Record<string, unknown>>;

export interface WireLogLine {
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
  readonly recovered: boolean;
}

export interface ProgressEvent {
  readonly runId: string;
  readonly cursor: string;
  readonly seq: number;
  readonly ts: number;
  readonly state: string | null;
  readonly progress: number | null;
  readonly status: RunStatus;
  readonly attempt: number;
  /** "" when the event carries no log line. */
  readonly message: string;
  readonly level: LogLevel;
  readonly step: string | null;
  readonly stepStatus: RunStatus | null;
  readonly stepProgress: number | null;
  readonly stepAttempt: number | null;
  readonly title: string | null;
  readonly pipeline: string | null;
  readonly error: string | null;
  /** undefined when the event does not set it. */
  readonly result: Json | undefined;
  /** The change of the run's data, a JSON Merge Patch (RFC 7386). Null when the event does not change it. */
  readonly data: JsonObject | null;
  /** True when `data` was not merged, because the run's data would have become too large. */
  readonly dataIgnored: boolean;
  /** The declaration of the run's steps. */
  readonly steps: readonly { readonly name: string; readonly weight: number }[] | null;
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

const LEVELS: readonly LogLevel[] = ["debug", "info", "warning", "error"];

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function status(value: unknown): RunStatus | null {
  return STATUSES.find((known) => known === value) ?? null;
}

function level(value: unknown): LogLevel {
  return LEVELS.find((known) => known === value) ?? "info";
}

/** The items that `read` accepts; empty when the value is not a list. */
export function list<T>(value: unknown, read: (item: unknown) => T | null): T[] {
  if (!Array.isArray(value)) return [];
  return value.map(read).filter((item): item is T & {} => item !== null);
}

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

function readLogLine(value: unknown): WireLogLine | null {
  if (!isFields(value)) return null;
  const message = text(value.message);
  const seq = number(value.seq);
  if (message === null || seq === null) return null;
  return { seq, ts: number(value.ts), level: level(value.level), step: text(value.step), message };
}

/** A run's summary, or null when the value is not one. */
export function readSummary(value: unknown): RunSummary | null {
  if (!isFields(value)) return null;
  const runId = text(value.run_id);
  if (runId === null) return null;
  return {
    runId,
    state: text(value.state),
    status: status(value.status) ?? "unknown",
    progress: number(value.progress),
    attempt: number(value.attempt) ?? 1,
    seq: number(value.seq) ?? 0,
    cursor: text(value.id) ?? "0-0",
    title: text(value.title),
    pipeline: text(value.pipeline),
    error: text(value.error),
    data: isJsonObject(value.data) ? value.data : null,
    createdAt: number(value.created_at),
    startedAt: number(value.started_at),
    updatedAt: number(value.updated_at),
    finishedAt: number(value.finished_at),
    stale: value.stale === true,
  };
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
    recovered: value.recovered !== false,
  };
}

function readDeclaration(value: unknown): { name: string; weight: number } | null {
  if (!isFields(value)) return null;
  const name = text(value.name);
  return name === null ? null : { name, weight: number(value.weight) ?? 1 };
}

/** A progress frame, or null when the value is not one. */
export function readEvent(value: unknown): ProgressEvent | null {
  if (!isFields(value)) return null;
  const runId = text(value.run_id);
  const cursor = text(value.id);
  const seq = number(value.seq);
  if (runId === null || cursor === null || seq === null) return null;
  return {
    runId,
    cursor,
    seq,
    ts: number(value.ts) ?? 0,
    state: text(value.state),
    progress: number(value.progress),
    status: status(value.status) ?? "unknown",
    attempt: number(value.attempt) ?? 1,
    message: text(value.message) ?? "",
    level: level(value.level),
    step: text(value.step),
    stepStatus: status(value.step_status),
    stepProgress: number(value.step_progress),
    stepAttempt: number(value.step_attempt),
    title: text(value.title),
    pipeline: text(value.pipeline),
    error: text(value.error),
    result: value.result as Json | undefined,
    data: isJsonObject(value.data) ? value.data : null,
    dataIgnored: value.data_ignored === true,
    steps: Array.isArray(value.steps) ? list(value.steps, readDeclaration) : null,
  };
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
