/** The types of the client's state. Times are Unix milliseconds; progress is 0..1 or null. */

import type { RunSummary } from "./fields.js";

export type { RunSummary } from "./fields.js";

export const STATUSES = [
  "queued",
  "running",
  "retrying",
  "stalled",
  "succeeded",
  "failed",
  "cancelled",
  "unknown",
] as const;
export type RunStatus = (typeof STATUSES)[number];

export type LogLevel = "debug" | "info" | "warning" | "error";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [name: string]: Json };

/** A step as declared: its name and its share of the whole. */
export interface StepSpec {
  readonly name: string;
  readonly weight: number;
}

export interface Step {
  readonly name: string;
  readonly status: RunStatus;
  readonly progress: number | null;
  readonly attempt: number;
  readonly weight: number;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
  readonly error: string | null;
}

export interface LogLine {
  /** Unique and growing within one store: a list key. */
  readonly key: number;
  /** The number of the line's event; null for a line of an initial state, which is text only. */
  readonly seq: number | null;
  readonly ts: number | null;
  readonly level: LogLevel | null;
  readonly step: string | null;
  readonly attempt: number | null;
  readonly message: string;
}

/** A point of the progress curve. `ts` is in Unix ms, by the clock of the publisher. */
export interface ProgressSample {
  readonly ts: number;
  readonly progress: number;
}

/** The run's axis of the client's state. */
export interface RunState extends RunSummary {
  /** False until the first frame about this run. */
  readonly known: boolean;
  readonly steps: readonly Step[];
  readonly logs: readonly LogLine[];
  /** Number of the run's lines before those in `logs`: the first of `logs` has the number `logsTruncated + 1`. */
  readonly logsTruncated: number;
  /** Number of them that the server no longer kept when it last sent the whole state. */
  readonly logsTrimmed: number;
  readonly result: Json;
  /** False after an initial state that did not continue from the client's cursor: some events were not received. */
  readonly recovered: boolean;
  readonly samples: readonly ProgressSample[];
}

/** The transports that there are, the best first: the order in which they are tried. */
export const TRANSPORT_KINDS = ["websocket", "sse", "polling"] as const;
export type TransportKind = (typeof TRANSPORT_KINDS)[number];

export type ConnectionStatus =
  | "idle" // no subscriber
  | "connecting" // first try
  | "connected"
  | "reconnecting" // lost; `retryInMs` until the next try
  | "offline" // the browser says so, and the connection did break
  | "paused" // the page has been hidden for a long time
  | "failed" // all retries are used up; `retry()` starts again
  | "closed"; // refused by a terminal code, or the run has ended

export type Quality = "excellent" | "good" | "poor" | "critical";

export interface ConnectionStatistics {
  readonly reconnects: number;
  readonly lastReconnectAt: number | null;
  readonly connectedSince: number | null;
  readonly missedHeartbeats: number;
  readonly averageLatencyMs: number | null;
  readonly latencyMs: number | null;
  readonly lastHeartbeatAt: number | null;
}

export interface ConnectionError {
  readonly code: number | null;
  readonly message: string;
}

/** The connection's axis of the client's state. */
export interface ConnectionState {
  readonly status: ConnectionStatus;
  readonly transport: TransportKind | null;
  readonly quality: Quality;
  /** Number of the current or next retry; 0 while connected. */
  readonly attempt: number;
  /** The length of the wait before the next retry in ms, and its end in Unix ms. */
  readonly retryInMs: number | null;
  readonly retryAt: number | null;
  /** Whether the relay can reach its Redis. */
  readonly upstream: "up" | "down";
  readonly error: ConnectionError | null;
  readonly statistics: ConnectionStatistics;
}

/** The two sets of statuses that a list of runs can be filtered by. The relay has the same (a test compares them). */
export const STATUS_SETS = {
  active: ["queued", "running", "retrying", "stalled"],
  ended: ["succeeded", "failed", "cancelled"],
} as const satisfies Readonly<Record<string, readonly RunStatus[]>>;

/** What a list of runs can be filtered by: a set of statuses, or one status. */
export type StatusFilter = keyof typeof STATUS_SETS | Exclude<RunStatus, "unknown">;

/** Whether a run of this status has ended. */
export function isEnded(status: RunStatus): boolean {
  return STATUS_SETS.ended.some((ended) => ended === status);
}

/** Whether a run of this status belongs in a list with this filter. */
export function isInFilter(status: RunStatus, filter: StatusFilter): boolean {
  const wanted: readonly RunStatus[] =
    filter === "active" || filter === "ended" ? STATUS_SETS[filter] : [filter];
  return wanted.includes(status);
}
